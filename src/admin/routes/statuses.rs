//! What each operation of the description may answer besides what its handler says: from its shape.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::admin::problem::{Kind, PROBLEM_JSON};

/// Where schemas refer to.
const PROBLEM: &str = "#/components/schemas/Problem";
const PLAN: &str = "#/components/schemas/Plan";

/// Adds to an operation its refusals, the role it needs, and a name of its own.
pub(super) fn complete(path: &str, method: &str, operation: &mut Value) {
    let id = operation_id(path, operation["operationId"].as_str().unwrap_or_default());
    operation["operationId"] = id.into();
    let said = operation["description"].as_str().unwrap_or_default().to_owned();
    let said = [said, role(path, method, operation).to_owned()];
    let said: Vec<String> = said.into_iter().filter(|text| !text.is_empty()).collect();
    operation["description"] = said.join("\n\n").into();
    if has_parameter(operation, "query", "dry_run") {
        add_plan(&mut operation["responses"]["200"]["content"]["application/json"]["schema"]);
    }
    let found = match path.starts_with("/api/v1") {
        true => statuses(path, method, operation),
        // Of what goes without a token only who calls the server what it is not is refused.
        false => [421].into(),
    };
    if let Some(responses) = operation["responses"].as_object_mut() {
        for status in found {
            responses.entry(status.to_string()).or_insert_with(|| refusal(status));
        }
    }
}

/// What an operation is called by programs that are made from the description: `record_sets_write`.
fn operation_id(path: &str, own: &str) -> String {
    let is_fixed = |segment: &&str| !segment.is_empty() && !segment.starts_with('{');
    let resource = path.rsplit('/').find(is_fixed).unwrap_or_default().replace('-', "_");
    if resource == own { resource } else { format!("{resource}_{own}") }
}

/// Who may call it.
fn role(path: &str, method: &str, operation: &Value) -> &'static str {
    if operation["security"] == json!([{}]) {
        return "No token is needed.";
    }
    match (path.trim_start_matches("/api/v1"), method) {
        ("/events", _) => "It needs the secret of events, or the role `operator`.",
        (path, _) if path.starts_with("/tokens") => "It needs the role `admin` for all names.",
        (_, "get") => "It needs the role `reader`.",
        (path, _) if path.starts_with("/zones") || path == "/changes" => {
            "It needs the role `operator`, and a scope that has all the names that are changed."
        }
        _ => "It needs the role `operator`.",
    }
}

fn has_parameter(operation: &Value, place: &str, name: &str) -> bool {
    let mut parameters = operation["parameters"].as_array().into_iter().flatten();
    parameters.any(|it| it["in"] == place && (name.is_empty() || it["name"] == name))
}

/// With `dry_run` the answer is a plan.
fn add_plan(schema: &mut Value) {
    if !schema.is_null() && schema["$ref"] != PLAN {
        *schema = json!({"oneOf": [schema.take(), {"$ref": PLAN}]});
    }
}

fn statuses(path: &str, method: &str, operation: &Value) -> BTreeSet<u16> {
    let is_write = method != "get";
    // Of everybody: who is not known, who calls the server what it is not, who has guessed too often, and a server that
    // cannot for now.
    let mut found: BTreeSet<u16> = [401, 421, 429, 500, 503].into();
    let is_for_some = path.starts_with("/api/v1/tokens") || ["/api/v1/backup", "/api/v1/top"].contains(&path);
    if is_write || is_for_some {
        found.insert(403);
    }
    if has_parameter(operation, "path", "") {
        found.extend([404, 422]);
    }
    if has_parameter(operation, "query", "") {
        found.insert(422);
    }
    if operation["requestBody"].is_object() {
        found.extend([400, 408, 413, 415, 422]);
    }
    let is_conditional = has_parameter(operation, "header", "If-Match");
    if is_conditional {
        found.extend([400, 412, 428]);
    }
    if operation["responses"]["304"].is_object() {
        found.insert(400);
    }
    if has_parameter(operation, "header", "Idempotency-Key") {
        found.extend([400, 409]);
    }
    if is_write && is_conditional {
        found.insert(409);
    }
    match path {
        "/api/v1/events" => found.extend([400]),
        "/api/v1/changes" if is_write => found.extend([404, 412]),
        "/api/v1/sync" if is_write => found.extend([404, 409]),
        "/api/v1/zones" if is_write => found.extend([404, 412]),
        path if path.starts_with("/api/v1/tokens/") && is_write => found.extend([409]),
        _ => {}
    }
    found
}

/// A response with the problems of one status.
fn refusal(status: u16) -> Value {
    let kinds = Kind::ALL.iter().filter(|kind| kind.status().as_u16() == status);
    let texts: Vec<String> = kinds.map(|kind| format!("`{}`: {}", kind.slug(), kind.title())).collect();
    json!({
        "description": texts.join("; "),
        "content": {PROBLEM_JSON: {"schema": {"$ref": PROBLEM}}},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_has_the_name_of_its_resource_and_the_refusals_of_its_shape() {
        let mut operation = json!({
            "operationId": "write",
            "parameters": [
                {"in": "path", "name": "zone"}, {"in": "header", "name": "If-Match"}, {"in": "query", "name": "dry_run"},
            ],
            "requestBody": {"content": {}},
            "responses": {"200": {"content": {"application/json": {"schema": {"$ref": "#/x"}}}}},
        });
        complete("/api/v1/zones/{zone}/record-sets/{name}", "put", &mut operation);
        assert_eq!(operation["operationId"], "record_sets_write");
        assert!(operation["description"].as_str().unwrap().contains("`operator`"));
        let statuses: Vec<&String> = operation["responses"].as_object().unwrap().keys().collect();
        assert_eq!(
            statuses,
            [
                "200", "400", "401", "403", "404", "408", "409", "412", "413", "415", "421", "422", "428",
                "429", "500", "503"
            ]
        );
        let plan = &operation["responses"]["200"]["content"]["application/json"]["schema"]["oneOf"];
        assert_eq!(*plan, json!([{"$ref": "#/x"}, {"$ref": PLAN}]));
        let mut export = json!({"operationId": "export", "responses": {}});
        complete("/api/v1/zones/{zone}/export", "get", &mut export);
        assert_eq!(export["operationId"], "export");
    }
}
