//! Client networks that met a limit of the running server.

use reqwest::Method;
use serde_json::Value;

use super::Finding;
use crate::commands::ConfigFile;
use crate::commands::client::{Client, OtherServer, ServerOptions};

/// Asks the running server, if there is one that answers: others have nothing to tell.
pub(super) fn of_running(config: &ConfigFile) -> Vec<Finding> {
    let options = ServerOptions::of_config(config.clone(), OtherServer::none().or_of_environment());
    let Ok(answer) = Client::of(&options).and_then(|client| client.call(Method::GET, &["limits"]).send())
    else {
        return Vec::new();
    };
    answer["met"].as_array().into_iter().flatten().map(finding).collect()
}

fn finding(met: &Value) -> Finding {
    let text = |key: &str| met[key].as_str().unwrap_or_default();
    let what = match text("limit") {
        "wait-limit" => "had as many queries wait for upstream as limits.wait_limit allows",
        "pace" => "would have got the replies to queries that waited in one pulse",
        _ => "had its share of all queries that waited for upstream",
    };
    let (network, queries, last) = (text("network"), &met["queries"], text("last"));
    Finding::note(
        format!(
            "client network {network} {what}: {queries} more were not asked or not answered, the last at {last}"
        ),
        "if a forwarder or NAT stands for many clients there, name its address in limits.exempt; else look at what asks \
         so much there",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_network_is_named_with_what_it_met_and_what_to_do() {
        let met = json!({"network": "10.1.2.0/24", "limit": "wait-limit", "queries": 17, "last": "2026-07-01T12:01:09Z"});
        let told = finding(&met).to_string();
        let told: Vec<&str> = told.lines().collect();
        assert_eq!(
            told[0],
            "note  client network 10.1.2.0/24 had as many queries wait for upstream as limits.wait_limit allows: 17 more were \
             not asked or not answered, the last at 2026-07-01T12:01:09Z"
        );
        assert!(told[1].contains("limits.exempt"));
    }
}
