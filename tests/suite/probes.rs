//! What sends clients here and elsewhere: `/readyz` of the real process.

use std::fs;

use serde_json::Value;

use crate::support::served::{NOTHING, Place, Served, config, wait_until};

fn ready(served: &Served) -> (u16, Value) {
    let (status, text) = served.get("/readyz");
    (status, serde_json::from_str(&text).unwrap())
}

fn reasons(served: &Served) -> Vec<String> {
    let (status, body) = ready(served);
    assert_eq!(status, 200, "{body}");
    let reasons = body["reasons"].as_array().cloned().unwrap_or_default();
    assert_eq!(body["status"], if reasons.is_empty() { "ok" } else { "degraded" });
    reasons.iter().map(|it| it["reason"].as_str().unwrap().to_owned()).collect()
}

/// Azure, upstream and state folder fail for all instances at once: each goes on serving what it knows.
#[test]
fn what_fails_for_all_instances_sends_nobody_elsewhere() {
    let nobody = "127.0.0.1:1";
    let source = format!(
        "[forward]\nupstreams = [\"{nobody}\"]\n[[sync.source]]\nkind = \"arm\"\nendpoint = \"http://{nobody}\"\n\
         authority = \"http://{nobody}\"\nidentity_endpoint = \"http://{nobody}\"\n"
    );
    let place = Place::new(&source);
    let served = place.serve();
    assert!(reasons(&served).contains(&"source-unread".to_owned()));
    wait_until("no upstream answers", || {
        served.dns("www.example.com.", "A");
        reasons(&served).contains(&"no-upstream".to_owned())
    });
    wait_until("it is in the numbers", || {
        let (_, numbers) = served.get("/metrics");
        numbers.contains("privatelink_dns_ready 1\n")
            && numbers.contains("privatelink_dns_degraded{reason=\"source-unread\"} 1\n")
            && numbers.contains("privatelink_dns_degraded{reason=\"no-upstream\"} 1\n")
            && numbers.contains("privatelink_dns_degraded{reason=\"store-full\"} 0\n")
    });
}

#[test]
fn sigterm_is_told_before_listeners_close() {
    let place = Place::new(NOTHING);
    fs::write(place.config(), format!("lame_duck_secs = 600\n{}", config(NOTHING))).unwrap();
    let served = place.serve();
    assert_eq!(ready(&served).0, 200);
    served.signal("TERM");
    wait_until("it is told", || ready(&served).0 == 503);
    assert_eq!(ready(&served).1["not_ready"][0]["part"], "server");
    assert_eq!(served.dns("localhost.", "A"), ["localhost. 10800 A 127.0.0.1"]);
    // The second one ends it at once.
    let log = served.terminate();
    assert!(log.contains("Stopping in 600 seconds"), "{log}");
}
