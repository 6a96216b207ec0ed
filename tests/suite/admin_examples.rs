//! Every request that the description gives as an example is sent, and works.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::api::Api;

/// In an order in which each finds what it needs.
const ORDER: &[&str] = &[
    "post /zones",
    "get /zones",
    "get /zones/{zone}",
    "put /zones/{zone}/record-sets/{name}/{type}",
    "get /zones/{zone}/record-sets/{name}/{type}",
    "get /zones/{zone}/record-sets",
    "patch /zones/{zone}",
    "post /changes",
    "get /changes",
    "get /changes/{revision}",
    "get /zones/{zone}/export",
    "post /zones/{zone}/import",
    "put /forwarders/{domain}",
    "get /forwarders",
    "get /forwarders/{domain}",
    "delete /forwarders/{domain}",
    "delete /zones/{zone}/record-sets/{name}/{type}",
    "delete /zones/{zone}",
    "post /tokens",
    "get /tokens",
    "get /tokens/{id}",
    "delete /tokens/{id}",
];

const TAGS: [&str; 5] = ["zones", "record sets", "changes", "forwarders", "tokens"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_of_the_description_works() {
    let api = Api::start().await;
    let spec = api.call("GET /api/openapi.json").nobody().send().await.json();
    let mut described = BTreeSet::new();
    for (path, operations) in spec["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if operation["tags"]
                .as_array()
                .is_some_and(|tags| tags.iter().any(|tag| TAGS.contains(&tag.as_str().unwrap())))
            {
                described.insert(format!("{method} {}", path.strip_prefix("/api/v1").unwrap()));
            }
        }
    }
    let sent: BTreeSet<String> = ORDER.iter().map(|it| (*it).to_owned()).collect();
    assert_eq!(described, sent, "each route that is described is sent");
    let mut token_id = String::new();
    for what in ORDER {
        let (method, path) = what.split_once(' ').unwrap();
        let operation = &spec["paths"][format!("/api/v1{path}")][method];
        let mut path = path.to_owned();
        let mut headers = Vec::new();
        let mut queries = vec![String::new()];
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            let example = &parameter["example"];
            let example = example
                .as_str()
                .map(str::to_owned)
                .or_else(|| (!example.is_null()).then(|| example.to_string()));
            match parameter["in"].as_str().unwrap() {
                "path" => {
                    let example =
                        if name == "id" { token_id.clone() } else { example.expect("a path has an example") };
                    path = path.replace(&format!("{{{name}}}"), &example);
                }
                "header" => headers.extend(example.map(|example| (name.to_owned(), example))),
                _ => queries.extend(example.map(|example| format!("?{name}={example}"))),
            }
        }
        let contents = operation["requestBody"]["content"].as_object();
        for query in queries {
            let mut call = api.call(&format!("{} {path}{query}", method.to_uppercase()));
            for (name, value) in &headers {
                call = call.header(name, value);
            }
            if let Some((media_type, content)) = contents.and_then(|contents| contents.iter().next()) {
                let example = &content["example"];
                assert!(!example.is_null(), "{what} has no example of its body");
                let text = match example {
                    Value::String(text) => text.clone(),
                    example => example.to_string(),
                };
                call = call.text(media_type, &text);
            }
            let answer = call.send().await;
            assert!(answer.status < 300, "{what}{query}: {} {}", answer.status, answer.text);
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.contains_key(&answer.status.to_string()), "{what} answers {}", answer.status);
            if *what == "post /tokens" {
                token_id = answer.json()["id"].as_str().unwrap().to_owned();
            }
        }
    }
}
