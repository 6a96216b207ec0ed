//! `docs/openapi.json` is what the server serves, and the rules of Redocly find nothing in it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::support::api::Api;
use super::support::skip::skip_outside_ci;

/// Set to anything, it makes the test below write the file that it compares otherwise.
const WRITE: &str = "PRIVATELINK_DNS_WRITE_OPENAPI";

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_description_in_the_tree_is_the_one_that_is_served() {
    let api = Api::start().await;
    let served = api.call("GET /api/openapi.json").nobody().send().await.json();
    let served = format!("{served:#}\n");
    if std::env::var_os(WRITE).is_some() {
        return std::fs::write(file(), served).unwrap();
    }
    let kept = std::fs::read_to_string(file()).unwrap_or_default();
    let differ = kept.lines().zip(served.lines()).enumerate().find(|(_, (kept, served))| kept != served);
    assert!(
        kept == served,
        "docs/openapi.json is not what is served, first at {differ:?}; to write it anew:\n\
         {WRITE}=1 cargo test --test suite -- openapi::the_description"
    );
}

#[test]
fn redocly_finds_nothing_in_the_description() {
    let folder = tempfile::tempdir().unwrap();
    let ran = Command::new("redocly")
        .args(["lint", "--extends=recommended", "--format=json"])
        .arg(file())
        // It would look for a config of its own, for a newer version, and tell its makers that it ran.
        .current_dir(folder.path())
        .env("REDOCLY_TELEMETRY", "off")
        .env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true")
        .output();
    let ran = match ran {
        Ok(ran) => ran,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return skip_outside_ci("redocly is not installed (npm: @redocly/cli)");
        }
        Err(error) => panic!("redocly cannot be run: {error}"),
    };
    let told: Value = serde_json::from_slice(&ran.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&ran.stderr)));
    let totals = &told["totals"];
    assert!(ran.status.success() && totals["errors"] == 0 && totals["warnings"] == 0, "{told:#}");
}
