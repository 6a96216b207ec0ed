//! The description as a page: all of it is in the HTML, and a script only filters what is shown.

use std::fmt::Write;

use serde_json::Value;

use crate::admin::problem::Kind;

/// What stands around the routes.
const FRAME: &str = include_str!("docs/page.html");
/// In the order in which people look for them.
const METHODS: [&str; 6] = ["get", "post", "put", "patch", "delete", "options"];
/// References and schemas that lie within each other; ours are far flatter.
const DEPTH_MAX: usize = 12;

/// The page.
pub(super) fn page(spec: &Value) -> String {
    let title = format!("{} {}", text(&spec["info"]["title"]), text(&spec["info"]["version"]));
    let (mut links, mut routes) = (String::new(), String::new());
    for tag in spec["tags"].as_array().into_iter().flatten() {
        let name = text(&tag["name"]);
        let id = name.replace(' ', "-");
        let _ = write!(links, "<a href=\"#{}\">{}</a> ", escaped(&id), escaped(name));
        let _ = writeln!(
            routes,
            "<section id=\"{}\"><h2>{}</h2><p class=\"about\">{}</p>",
            escaped(&id),
            escaped(name),
            prose(text(&tag["description"]))
        );
        for (path, item) in spec["paths"].as_object().into_iter().flatten() {
            for method in METHODS {
                let operation = &item[method];
                if operation["tags"][0] == tag["name"] {
                    Route { spec, path, method, operation }.write(&mut routes);
                }
            }
        }
        routes.push_str("</section>\n");
    }
    FRAME
        .replace("{{title}}", &escaped(&title))
        .replace("{{about}}", &prose(text(&spec["info"]["description"])))
        .replace("{{links}}", links.trim_end())
        .replace("{{problems}}", &problems())
        .replace("{{routes}}", &routes)
}

/// All sorts of problems.
fn problems() -> String {
    let row = |kind: &Kind| {
        let (status, slug, title) = (kind.status().as_u16(), kind.slug(), kind.title());
        let title = escaped(title);
        format!(
            "<tr><td>{status}</td><td><code>urn:privatelink-dns:problem:{slug}</code></td><td>{title}</td></tr>"
        )
    };
    Kind::ALL.iter().map(row).collect::<Vec<_>>().join("\n")
}

/// One operation.
struct Route<'s> {
    spec: &'s Value,
    path: &'s str,
    method: &'s str,
    operation: &'s Value,
}

impl Route<'_> {
    fn write(&self, out: &mut String) {
        let Route { path, method, operation, .. } = self;
        let (path, summary) = (escaped(path), text(&operation["summary"]).replace('\n', " "));
        let id = escaped(text(&operation["operationId"]));
        let _ = writeln!(
            out,
            "<details id=\"{id}\"><summary><span class=\"method {method}\">{}</span><code>{path}</code>\
             <span class=\"about\">{}</span></summary><div>",
            method.to_uppercase(),
            prose(&summary)
        );
        for paragraph in text(&operation["description"]).split("\n\n").filter(|text| !text.is_empty()) {
            let _ = writeln!(out, "<p>{}</p>", prose(&paragraph.replace('\n', " ")));
        }
        self.write_parameters(out);
        let _ = writeln!(out, "<h3>Example</h3><pre>{}</pre>", escaped(&self.curl()));
        out.push_str("<h3>Answers</h3>\n");
        for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
            let said = prose(text(&answer["description"]));
            let _ = writeln!(out, "<p><code>{}</code> {said}</p>", escaped(status));
            for (media_type, content) in answer["content"].as_object().into_iter().flatten() {
                if media_type == "application/json" {
                    let _ = writeln!(out, "<pre>{}</pre>", escaped(&self.body(content)));
                }
            }
        }
        out.push_str("</div></details>\n");
    }

    fn parameters(&self) -> impl Iterator<Item = &Value> {
        self.operation["parameters"].as_array().into_iter().flatten()
    }

    fn write_parameters(&self, out: &mut String) {
        if self.parameters().next().is_none() {
            return;
        }
        out.push_str(
            "<h3>Parameters</h3><table><tr><th>Name</th><th>In</th><th>Type</th><th>About</th></tr>\n",
        );
        for parameter in self.parameters() {
            let required = if parameter["required"] == true { ", required" } else { "" };
            let _ = writeln!(
                out,
                "<tr><td><code>{}</code></td><td>{}{required}</td><td>{}</td><td>{}</td></tr>",
                escaped(text(&parameter["name"])),
                escaped(text(&parameter["in"])),
                escaped(&self.type_of(&parameter["schema"])),
                prose(text(&parameter["description"]))
            );
        }
        out.push_str("</table>\n");
    }

    /// A request that works, as a command.
    fn curl(&self) -> String {
        let mut path = self.path.to_owned();
        let (mut query, mut headers) = (Vec::new(), Vec::new());
        for parameter in self.parameters() {
            let name = text(&parameter["name"]);
            let example = match &parameter["example"] {
                Value::String(example) => Some(example.clone()),
                Value::Null => None,
                other => Some(other.to_string()),
            };
            match (text(&parameter["in"]), example) {
                ("path", Some(example)) => path = path.replace(&format!("{{{name}}}"), &example),
                ("query", Some(example)) if parameter["required"] == true => {
                    query.push(format!("{name}={example}"))
                }
                ("header", Some(example)) => headers.push(format!("{name}: {example}")),
                _ => {}
            }
        }
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        let mut lines = vec![format!("curl \"$SERVER{path}{query}\"")];
        if self.method != "get" {
            lines.push(format!("-X {}", self.method.to_uppercase()));
        }
        // What opens without a token says so.
        let is_open = self.operation["security"]
            .as_array()
            .is_some_and(|all| all.iter().all(|one| one.as_object().is_some_and(serde_json::Map::is_empty)));
        if !is_open {
            lines.push("-H \"Authorization: Bearer $TOKEN\"".to_owned());
        }
        lines.extend(headers.iter().map(|header| format!("-H {}", quoted(header))));
        let contents = self.operation["requestBody"]["content"].as_object();
        if let Some((media_type, content)) = contents.and_then(|contents| contents.iter().next()) {
            lines.push(format!("-H {}", quoted(&format!("Content-Type: {media_type}"))));
            lines.push(format!("--data-binary {}", quoted(&self.body(content))));
        }
        lines.join(" \\\n  ")
    }

    /// A body, as its example is written or made from its schema.
    fn body(&self, content: &Value) -> String {
        let made = match &content["example"] {
            Value::Null => self.example(&content["schema"], 0),
            example => example.clone(),
        };
        match made {
            Value::String(text) => text,
            other => serde_json::to_string_pretty(&other).unwrap_or_default(),
        }
    }

    /// What a schema refers to.
    fn resolved<'v>(&'v self, schema: &'v Value) -> &'v Value {
        let mut found = schema;
        for _ in 0..DEPTH_MAX {
            let Some(to) = found["$ref"].as_str() else { break };
            found = self.spec.pointer(to.trim_start_matches('#')).unwrap_or(&Value::Null);
        }
        found
    }

    /// A value that fits a schema.
    fn example(&self, schema: &Value, depth: usize) -> Value {
        let schema = self.resolved(schema);
        let given = ["example", "default", "const"].iter().map(|key| &schema[*key]);
        let given = given.chain([&schema["examples"][0], &schema["enum"][0]]);
        if let Some(given) = given.into_iter().find(|value| !value.is_null()) {
            return given.clone();
        }
        if depth > DEPTH_MAX {
            return Value::Null;
        }
        let choices = schema["oneOf"].as_array().or(schema["anyOf"].as_array());
        if let Some(first) = choices.into_iter().flatten().find(|it| self.resolved(it)["type"] != "null") {
            return self.example(first, depth + 1);
        }
        if let Some(parts) = schema["allOf"].as_array() {
            let parts = parts.iter().map(|part| self.example(part, depth + 1));
            let members = parts.filter_map(|part| part.as_object().cloned()).flatten();
            return Value::Object(members.collect());
        }
        if let Some(properties) = schema["properties"].as_object() {
            let members = properties.iter().map(|(key, value)| (key.clone(), self.example(value, depth + 1)));
            return Value::Object(members.collect());
        }
        match type_name(schema) {
            "array" => Value::Array(vec![self.example(&schema["items"], depth + 1)]),
            "object" => Value::Object(serde_json::Map::new()),
            "integer" | "number" => 0.into(),
            "boolean" => true.into(),
            _ => "…".into(),
        }
    }

    fn type_of(&self, schema: &Value) -> String {
        let schema = match schema["oneOf"].as_array() {
            Some(choices) => choices.iter().find(|it| it["type"] != "null").unwrap_or(schema),
            None => schema,
        };
        let schema = self.resolved(schema);
        let words = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let words = words.collect::<Vec<_>>().join(" | ");
        if words.is_empty() { type_name(schema).to_owned() } else { words }
    }
}

/// The type of a schema, `null` apart.
fn type_name(schema: &Value) -> &str {
    match &schema["type"] {
        Value::Array(types) => {
            types.iter().filter_map(Value::as_str).find(|it| *it != "null").unwrap_or_default()
        }
        one => text(one),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Text as a word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Text as HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Text as HTML, what stands between backticks as code.
fn prose(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('`').enumerate() {
        let part = escaped(part);
        out.push_str(&if index % 2 == 1 { format!("<code>{part}</code>") } else { part });
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_route_is_shown_with_a_command_that_works_and_nothing_is_markup() {
        let spec = json!({
            "info": {"title": "t", "version": "1", "description": "a `b` <c>"},
            "tags": [{"name": "record sets", "description": "sets"}],
            "paths": {"/zones/{zone}": {"put": {
                "tags": ["record sets"], "operationId": "zones_write", "summary": "Writes <it>.",
                "parameters": [
                    {"in": "path", "name": "zone", "required": true, "example": "corp.internal"},
                    {"in": "header", "name": "If-Match", "example": "*"},
                    {"in": "query", "name": "dry_run"},
                ],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Set"}}}},
                "responses": {"200": {"description": "done"}},
            }}},
            "components": {"schemas": {"Set": {
                "type": "object", "properties": {"ttl": {"type": "integer", "example": 300}},
            }}},
        });
        let page = page(&spec);
        for part in [
            "a <code>b</code> &lt;c&gt;",
            "<section id=\"record-sets\">",
            "Writes &lt;it&gt;.",
            "curl &quot;$SERVER/zones/corp.internal&quot;",
            "-H 'If-Match: *'",
            "&quot;ttl&quot;: 300",
            "urn:privatelink-dns:problem:precondition-required",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        assert!(!page.contains("{{"), "{page}");
    }
}
