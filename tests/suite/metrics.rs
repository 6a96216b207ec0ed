//! What `/metrics` says of the running server.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::client::ask_from;
use crate::support::served::{Place, Served, config, wait_until};
use crate::support::skip::skip_outside_ci;
use crate::support::upstream::Upstream;

fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("privatelink_dns_{series} ")));
    line.unwrap_or_else(|| panic!("no {series} in\n{page}")).parse().unwrap()
}

fn page(served: &Served) -> String {
    let (status, page) = served.get("/metrics");
    assert_eq!(status, 200);
    page
}

/// A server whose upstream knows `www.example.`, and its zone `corp.test.`.
fn place(more: &str) -> (Place, Upstream) {
    let upstream = Upstream::answering(|name, _| {
        (name.to_string() == "www.example.").then(|| vec![format!("{name} 60 A 192.0.2.1")])
    });
    let place = Place::new(&format!(
        "[forward]\nupstreams = [\"{}\"]\n[[zone]]\nname = \"corp.test\"\nfile = \"corp.zone\"\n{more}",
        upstream.address
    ));
    let zone = "@ 300 SOA ns hostmaster 1 2 3 4 5\n@ 300 NS ns\nns 300 A 10.0.0.1\n";
    fs::write(place.folder.path().join("corp.zone"), zone).unwrap();
    (place, upstream)
}

#[test]
fn the_graphs_that_everyone_starts_with_can_be_drawn() {
    let (place, upstream) = place("");
    let served = place.serve();
    for (name, rtype) in [
        ("ns.corp.test.", "A"),
        ("ns.corp.test.", "AAAA"),
        ("no.corp.test.", "A"),
        ("www.example.", "A"),
        ("www.example.", "A"),
    ] {
        served.dns(name, rtype);
    }
    let upstream = format!("upstream=\"{}\"", upstream.address);
    wait_until("all is counted", || {
        page(&served).contains("privatelink_dns_responses_total{rcode=\"NOERROR\",path=\"cached\"} 1\n")
    });
    let page = page(&served);
    let value = |series: &str| value(&page, series);
    assert_eq!(value("requests_total{transport=\"udp\",family=\"ipv4\",type=\"A\"}"), 4.0);
    assert_eq!(value("requests_total{transport=\"udp\",family=\"ipv4\",type=\"AAAA\"}"), 1.0);
    assert_eq!(value("responses_total{rcode=\"NOERROR\",path=\"authoritative\"}"), 2.0);
    assert_eq!(value("responses_total{rcode=\"NXDOMAIN\",path=\"authoritative\"}"), 1.0);
    assert_eq!(value("responses_total{rcode=\"NOERROR\",path=\"forwarded\"}"), 1.0);
    assert_eq!(value("request_duration_seconds_count{path=\"authoritative\"}"), 3.0);
    assert_eq!(value("request_duration_seconds_count{path=\"forwarded\"}"), 1.0);
    assert_eq!(value("cache_lookups_total{result=\"hit\"}"), 1.0);
    assert_eq!(value("cache_lookups_total{result=\"miss\"}"), 1.0);
    assert_eq!(value(&format!("upstream_up{{{upstream}}}")), 1.0);
    assert_eq!(value(&format!("upstream_duration_seconds_count{{{upstream}}}")), 1.0);
    assert_eq!(value(&format!("upstream_failures_total{{{upstream},reason=\"SERVFAIL\"}}")), 0.0);
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert_eq!(value("config_last_reload_successful"), 1.0);
    assert!(page.contains("privatelink_dns_build_info{version=\"") && page.contains("\"} 1\n"), "{page}");
    // What clients choose, and the names of zones, stand nowhere.
    for word in ["corp.test", "www.example", "127.0.0.1\""] {
        assert!(!page.contains(word), "{word} is in\n{page}");
    }
}

#[test]
fn a_reload_that_fails_is_told_and_counts_go_on() {
    let (place, _upstream) = place("");
    let served = place.serve();
    served.dns("ns.corp.test.", "A");
    let good = fs::read_to_string(place.config()).unwrap();
    fs::write(place.config(), "nonsense = true\n").unwrap();
    wait_until("the reload failed", || value(&page(&served), "config_last_reload_successful") == 0.0);
    fs::write(place.config(), format!("{good}\n[telemetry]\nzone_names = true\n")).unwrap();
    wait_until("the reload succeeded", || value(&page(&served), "config_last_reload_successful") == 1.0);
    let page = page(&served);
    assert!(
        value(&page, "config_failed_reloads_total") >= 1.0 && value(&page, "config_reloads_total") >= 1.0
    );
    assert_eq!(value(&page, "responses_total{rcode=\"NOERROR\",path=\"authoritative\"}"), 1.0);
    assert_eq!(value(&page, "udp_queries_total"), 1.0);
    // The keys of monitors apply at once.
    assert_eq!(value(&page, "zone_record_sets{zone=\"corp.test.\"}"), 1.0);
}

#[test]
fn monitors_have_a_listener_without_token() {
    let (place, _upstream) = place("[telemetry]\nlisten = [\"127.0.0.1:0\"]\n");
    let (served, log) = place.serve_logged();
    let line = log.line("Numbers for monitors are at ");
    let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let get = |path: &str| {
        let url = url.replace("/metrics", path);
        runtime.block_on(async {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            // Monitors may call it by any name.
            let answer = client.get(url).header("host", "dns1.monitored.example").send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        })
    };
    assert_eq!(get("/livez"), (200, "{\"status\":\"ok\"}\n".to_owned()));
    assert_eq!(get("/readyz").0, 200);
    assert_eq!(value(&get("/metrics").1, "ready"), 1.0);
    for path in ["/api/v1/zones", "/api/docs", "/api/openapi.json"] {
        assert_eq!(get(path).0, 404, "{path}");
    }
    drop(served);
}

#[test]
fn addresses_of_monitors_are_checked() {
    let check = |more: &str| {
        let place = Place::new("");
        fs::write(place.config(), format!("{}{more}", config(""))).unwrap();
        place.run(&["check"])
    };
    let (code, out, err) =
        check("[telemetry]\nlisten = [\"127.0.0.1:9153\", \"127.0.0.1:9153\", \"nowhere\"]\n");
    let said = format!("{out}{err}");
    assert_ne!(code, 0, "{said}");
    assert!(said.contains("telemetry.listen[1]: 127.0.0.1:9153 is there already"), "{said}");
    assert!(said.contains("telemetry.listen[2]: "), "{said}");
}

#[test]
fn promtool_has_nothing_to_say() {
    let (place, _upstream) = place("[telemetry]\nzone_names = true\n");
    let served = place.serve();
    served.dns("www.example.", "A");
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match spawned {
        Ok(promtool) => promtool,
        Err(error) => {
            return skip_outside_ci(format!("promtool is not installed (Debian: prometheus): {error}"));
        }
    };
    promtool.stdin.take().unwrap().write_all(page(&served).as_bytes()).unwrap();
    let out = promtool.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.is_empty(), "{said}");
}

/// Every counter that a part keeps is on the page.
#[test]
fn all_counters_are_on_the_page() {
    let (place, _upstream) = place("");
    let page = page(&place.serve());
    let mut missing = Vec::new();
    let mut declared = BTreeSet::new();
    for (file, text) in sources() {
        for block in text.split("\ncounters! {").skip(1) {
            let block = block.split("\n}\n").next().unwrap();
            let (_, rest) = block.split_once(" in \"").expect("a set of counters has a name");
            let (prefix, fields) = rest.split_once('"').unwrap();
            let fields = fields.lines().map(str::trim).filter(|line| !line.starts_with("//"));
            for field in fields.filter_map(|line| line.strip_suffix(',')) {
                declared.insert(format!("{prefix}_{field}"));
                let series = match (prefix, field) {
                    ("cache", "hits") => "cache_lookups_total{result=\"hit\"} ".to_owned(),
                    ("cache", "misses") => "cache_lookups_total{result=\"miss\"} ".to_owned(),
                    ("cache", "stale") => "cache_lookups_total{result=\"stale\"} ".to_owned(),
                    _ => format!("{prefix}_{field}_total "),
                };
                if !page.contains(&format!("\nprivatelink_dns_{series}")) {
                    missing.push(format!("{file}: {series}"));
                }
            }
        }
        // A counter by itself would be told nowhere. An upstream's carry its name as label.
        let served = text.split("#[cfg(test)]").next().unwrap();
        let is_alone = served.contains(": Counter,") || served.contains(": AtomicU64,");
        let is_known = ["forward/upstream.rs", "telemetry/counter.rs", "telemetry/histogram.rs"];
        let holds_no_counts = [
            "cache/life.rs",
            "cache/store.rs",
            "answer/rules.rs",
            "listen/limits.rs",
            "forward/open_ports.rs",
            "daemon/signals.rs",
        ];
        let is_known = is_known.iter().chain(&holds_no_counts).any(|known| file == *known);
        assert!(!is_alone || is_known, "{file} counts outside of counters!");
    }
    assert!(missing.is_empty(), "{missing:#?} are not in\n{page}");
    assert!(declared.len() > 60, "only {declared:?} are declared");
}

#[test]
fn the_documentation_lists_all_metrics() {
    let (place, _upstream) = place("[telemetry]\nzone_names = true\n");
    let served = place.serve();
    served.dns("www.example.", "A");
    let documented = include_str!("../../docs/metrics.md");
    for line in page(&served).lines().filter_map(|line| line.strip_prefix("# HELP ")) {
        let (name, help) = line.split_once(' ').unwrap();
        let row = documented.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/metrics.md has no row of {name}"));
        assert!(row.contains(help.trim_end_matches('.')), "{row}\nis not: {help}");
    }
}

/// The program's files by their names below `src`, with their texts.
fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut files) = (vec![src.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(&src).unwrap().display().to_string();
                    files.push((name, fs::read_to_string(path).unwrap()));
                }
            }
        }
    }
    files
}

#[test]
fn queries_are_counted_by_network_and_replies_by_zone() {
    let network =
        |name: &str, client: &str| format!("[[network]]\nname = \"{name}\"\nclients = [\"{client}\"]\n");
    let (hub, spoke) = (network("hub", "127.0.0.1/32"), network("spoke", "127.0.0.2/32"));
    let (place, upstream) = place(&format!("{hub}{spoke}[telemetry]\nzone_names = true\n"));
    let served = place.serve();
    let ask = |client: u8, name: &str| {
        ask_from(Ipv4Addr::new(127, 0, 0, client), served.dns, name, "A");
    };
    for (client, name) in [
        (1, "ns.corp.test."),
        (1, "ns.corp.test."),
        (1, "no.corp.test."),
        (1, "www.example."),
        (2, "ns.corp.test."),
        (3, "www.example."),
        (3, "ns.corp.test."),
    ] {
        ask(client, name);
    }
    let of =
        |page: &str, network: &str| value(page, &format!("network_requests_total{{network=\"{network}\"}}"));
    // A batch is counted when it is answered.
    let counted = |replies: u64| {
        let line = format!("zone_responses_total{{zone=\"corp.test.\"}} {replies}\n");
        wait_until("all is counted", || page(&served).contains(&line));
        page(&served)
    };
    let first = counted(5);
    assert_eq!(["hub", "spoke", "(none)"].map(|network| of(&first, network)), [4.0, 1.0, 2.0]);
    // Another order, one more and one less: each keeps what was counted of it.
    let more = format!(
        "[forward]\nupstreams = [\"{}\"]\n[[zone]]\nname = \"corp.test\"\nfile = \"corp.zone\"\n{}{}[telemetry]\n\
         zone_names = true\n",
        upstream.address,
        network("new", "127.0.0.3/32"),
        hub
    );
    fs::write(place.config(), config(&more)).unwrap();
    served.signal("HUP");
    wait_until("the new network is there", || page(&served).contains("network=\"new\""));
    ask(3, "no.corp.test.");
    ask(1, "ns.corp.test.");
    let second = counted(7);
    assert_eq!(["hub", "spoke", "new", "(none)"].map(|network| of(&second, network)), [5.0, 1.0, 1.0, 2.0]);
}
