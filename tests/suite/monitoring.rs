//! Alerts, dashboard and the documents they lead to; and a real Prometheus that reads the server.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::served::{Place, wait_until};
use crate::support::skip::skip_outside_ci;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Runs a program of Debian's prometheus; `None` where it is not installed.
fn spawn(program: &mut Command) -> Option<Child> {
    match program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Ok(child) => Some(child),
        Err(error) => {
            let program = program.get_program().display();
            skip_outside_ci(format!("{program} is not installed (Debian: prometheus): {error}"));
            None
        }
    }
}

#[test]
fn the_alerts_do_what_their_tests_say() {
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let mut promtool = Command::new("promtool");
        promtool.args(arguments).current_dir(root().join("config/prometheus"));
        let Some(promtool) = spawn(&mut promtool) else { return };
        let out = promtool.wait_with_output().unwrap();
        assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stdout));
    }
}

#[test]
fn each_alert_leads_to_a_section_that_names_it() {
    let (alerts, operations) = (read("config/prometheus/alerts.yml"), read("docs/operations.md"));
    let anchor = |title: &str| title.to_lowercase().replace(' ', "-");
    let sections: Vec<(String, &str)> =
        operations.split("\n## ").skip(1).map(|text| (anchor(text.lines().next().unwrap()), text)).collect();
    let mut led_to = BTreeSet::new();
    for alert in alerts.split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap();
        let runbook = alert.lines().find_map(|line| line.trim().strip_prefix("runbook: docs/operations.md#"));
        let runbook = runbook.unwrap_or_else(|| panic!("{name} has no runbook"));
        let section = sections.iter().find(|(anchor, _)| anchor == runbook);
        let (anchor, text) =
            section.unwrap_or_else(|| panic!("{name} leads to #{runbook}, which is not there"));
        assert!(text.contains(&format!("`{name}`")), "#{runbook} does not name {name}");
        led_to.insert(anchor);
    }
    let unled: Vec<_> = sections.iter().map(|(anchor, _)| anchor).filter(|it| !led_to.contains(it)).collect();
    assert!(unled.is_empty(), "no alert leads to {unled:?}");
}

/// Names that no page has would be graphs without lines.
#[test]
fn alerts_and_dashboard_ask_for_metrics_that_there_are() {
    let documented = read("docs/metrics.md");
    let dashboard: Value = serde_json::from_str(&read("config/grafana/privatelink-dns.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut expressions: Vec<String> =
        targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect();
    assert!(expressions.len() > 12, "{expressions:?}");
    expressions.push(read("config/prometheus/alerts.yml"));
    expressions.push(read("docs/operations.md"));
    for expression in expressions {
        for rest in expression.split("privatelink_dns_").skip(1) {
            let name: String =
                rest.chars().take_while(|it| it.is_ascii_alphanumeric() || *it == '_').collect();
            let family = name.strip_suffix("_bucket").unwrap_or(&name);
            let row = format!("| `privatelink_dns_{family}` |");
            assert!(documented.contains(&row), "privatelink_dns_{name} is asked for and not documented");
        }
    }
}

/// A process that ends with the test.
struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_prometheus_reads_native_histograms() {
    let place = Place::new("");
    let served = place.serve();
    served.dns("localhost.", "A");
    let folder: PathBuf = place.folder.path().join("prometheus");
    fs::create_dir(&folder).unwrap();
    let target = served.client.api.split("//").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let config = format!(
        "scrape_configs: [{{job_name: dns, scrape_interval: 1s, static_configs: [{{targets: ['{target}']}}]}}]\n"
    );
    fs::write(folder.join("prometheus.yml"), config).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut prometheus = Command::new("prometheus");
    prometheus
        .arg("--enable-feature=native-histograms")
        .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null());
    let Some(_prometheus) = spawn(&mut prometheus).map(Prometheus) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let asked = |expression: &str| -> Option<f64> {
        let url = format!("http://127.0.0.1:{port}/api/v1/query");
        let answer = runtime.block_on(async {
            client.get(url).query(&[("query", expression)]).send().await.ok()?.json::<Value>().await.ok()
        })?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    };
    let series = "privatelink_dns_request_duration_seconds{path=\"authoritative\"}";
    // Without `_bucket` and `le` only a native histogram has a quantile.
    let quantile = format!("histogram_quantile(0.5, {series})");
    wait_until("Prometheus has the histogram", || asked(&quantile).is_some_and(|secs| secs.is_finite()));
    assert!(asked(&quantile).unwrap() > 0.0 && asked(&quantile).unwrap() < 1.0);
    assert_eq!(asked(&format!("histogram_count({series})")), Some(1.0));
}
