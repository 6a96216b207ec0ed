//! Azure that lies, stalls and breaks off: what is served is what was before a pass or what comes after it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use privatelink_dns::sync::azure::{Azure, CredentialSettings};
use serde_json::{Value, json};

use crate::azure::{World, other_names, published, settings};
use crate::support::fake_arm::{FIRST, FakeArm, Fault, SECOND, TOKEN_MARK, fixture, resources};

/// `{"value": []}`, packed.
const EMPTY_LIST: [u8; 33] = [
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 171, 86, 42, 75, 204, 41, 77, 85, 178, 82, 136, 142, 173, 5, 0, 215,
    253, 23, 73, 13, 0, 0, 0,
];

fn answer(status: u16, headers: &[&str], body: &[u8]) -> Fault {
    let headers = headers.iter().map(ToString::to_string).collect();
    Fault::Answer { status, headers, body: body.to_vec() }
}

fn raw(text: &str) -> Fault {
    Fault::Raw(text.as_bytes().to_vec())
}

/// Faults of HTTP and of what stands in for Azure; an empty list in many, as that is what must not be believed.
fn faults_of_http(elsewhere: &FakeArm) -> Vec<(String, Fault)> {
    let mut packed_wrong = EMPTY_LIST;
    packed_wrong[25] ^= 1;
    let mut faults = vec![
        ("hang-up".to_owned(), raw("")),
        ("cut in the status".to_owned(), raw("HTTP/1.1 20")),
        ("cut in the headers".to_owned(), raw("HTTP/1.1 200 OK\r\nContent-Le")),
        ("cut behind the headers".to_owned(), raw("HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n")),
        ("cut in the body".to_owned(), Fault::Cut),
        (
            "cut in a chunk".to_owned(),
            raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n{\"value\": ["),
        ),
        (
            "cut before the last chunk".to_owned(),
            raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n{\"value\": []}\r\n"),
        ),
        (
            "more promised than sent".to_owned(),
            raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"value\": []}"),
        ),
        (
            "less promised than sent".to_owned(),
            raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{\"value\": []}"),
        ),
        (
            "two lengths".to_owned(),
            raw("HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Length: 14\r\n\r\n{\"value\": []}"),
        ),
        ("no HTTP".to_owned(), raw("{\"value\": []}")),
        ("no content".to_owned(), answer(204, &[], b"")),
        ("a part".to_owned(), answer(206, &[], b"{\"value\": []}")),
        ("accepted".to_owned(), answer(202, &[], b"{\"value\": []}")),
        ("not modified".to_owned(), answer(304, &[], b"")),
        ("html".to_owned(), answer(200, &["Content-Type: text/html"], b"<html>Sign in</html>")),
        ("gzip that is none".to_owned(), answer(200, &["Content-Encoding: gzip"], b"{\"value\": []}")),
        ("gzip that is cut".to_owned(), answer(200, &["Content-Encoding: gzip"], &EMPTY_LIST[..22])),
        ("gzip of another content".to_owned(), answer(200, &["Content-Encoding: gzip"], &packed_wrong)),
        ("gzip of nothing".to_owned(), answer(200, &["Content-Encoding: gzip"], b"")),
        ("patience without end".to_owned(), answer(429, &["Retry-After: 18446744073709551615"], b"")),
        ("empty".to_owned(), Fault::page("")),
        ("no list".to_owned(), Fault::page("{}")),
        ("null".to_owned(), Fault::page("null")),
        ("no object".to_owned(), Fault::page("[]")),
        ("a list that is null".to_owned(), Fault::page(r#"{"value": null}"#)),
        ("a list that is none".to_owned(), Fault::page(r#"{"value": {}}"#)),
        (
            "an error with a list".to_owned(),
            Fault::page(r#"{"error": {"code": "x", "message": "y"}, "value": []}"#),
        ),
        ("more behind it".to_owned(), Fault::page(r#"{"value": []}{"value": []}"#)),
        ("not UTF-8".to_owned(), Fault::page(b"{\"value\": [\"\xff\"]}".to_vec())),
        ("deep".to_owned(), Fault::page("[".repeat(100_000))),
    ];
    for status in [301, 302, 303, 307, 308] {
        let to = |url: String| answer(status, &[&format!("Location: {url}/subscriptions")], b"");
        faults.push((format!("{status} elsewhere"), to(elsewhere.url())));
        faults.push((format!("{status} here"), to(String::new())));
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/arm/errors");
    for file in std::fs::read_dir(folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        faults.push((name.clone(), Fault::of_fixture(&format!("errors/{name}"))));
    }
    faults
}

/// Faults of a page's content.
fn faults_of_listings(arm: SocketAddr, elsewhere: &FakeArm) -> Vec<(String, Fault)> {
    let link = |link: Value| Fault::page(json!({"value": [], "nextLink": link}).to_string());
    let items = |items: Value| Fault::page(json!({"value": items}).to_string());
    let path = format!("/subscriptions/{FIRST}/providers/Microsoft.Network/privateEndpoints?$skiptoken=2");
    let provider = "resourceGroups/rg/providers/Microsoft.Network";
    vec![
        ("a link elsewhere".to_owned(), link(format!("{}{path}", elsewhere.url()).into())),
        (
            "a link with a name before the host".to_owned(),
            link(format!("http://{arm}@{}{path}", elsewhere.address).into()),
        ),
        (
            "a link back".to_owned(),
            link(format!("http://{arm}/subscriptions/{FIRST}/providers/Microsoft.Network/privateEndpoints?api-version=2024-05-01").into()),
        ),
        ("a link without host".to_owned(), link(path.clone().into())),
        ("a link of another scheme".to_owned(), link(format!("https://{}{path}", elsewhere.address).into())),
        ("a link that is a number".to_owned(), link(5.into())),
        ("a link that is an object".to_owned(), link(json!({"href": path}))),
        ("a link of blanks".to_owned(), link("  ".into())),
        ("a number".to_owned(), items(json!([5]))),
        ("no id".to_owned(), items(json!([{"name": "x"}]))),
        ("an id that is none".to_owned(), items(json!([{"id": "x"}]))),
        (
            "another subscription's endpoint".to_owned(),
            items(json!([{"id": format!("/subscriptions/{SECOND}/{provider}/privateEndpoints/x")}])),
        ),
        (
            "another subscription's interface".to_owned(),
            items(json!([{"id": format!("/subscriptions/{SECOND}/{provider}/networkInterfaces/x")}])),
        ),
        ("two lists".to_owned(), Fault::page(r#"{"value": [], "value": []}"#)),
    ]
}

/// Ends whoever looks at it, on a panic too.
struct End<'e>(&'e AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The first endpoints of the fixtures with other addresses.
fn moved(text: String) -> String {
    text.replace("10.1.0.", "10.99.0.").replace("10.1.9.", "10.99.9.")
}

fn relist(arm: &FakeArm, change: impl Fn(String) -> String) {
    for (resource_type, file) in
        [("privateEndpoints", "private-endpoints"), ("networkInterfaces", "network-interfaces")]
    {
        let page = |number: usize| {
            let text = fixture(&format!("lists/{file}-list-page{number}.json"));
            change(text.replace("https://management.azure.com", &arm.url()))
        };
        arm.list(FIRST, resource_type, [page(1), page(2)]);
    }
}

/// Every fault at every page of every listing and at the token, while all addresses are about to change, and while
/// somebody looks all the time.
#[test]
fn what_is_served_is_what_was_before_a_pass_or_what_comes_after_it() {
    let world = World::new("");
    world.arm.add(SECOND, other_names);
    world.pass();
    let before = world.published();
    let withheld = world.parts.store.snapshot().withheld_of("azure").to_vec();
    assert!(before.len() == 6 && !withheld.is_empty());
    relist(&world.arm, moved);
    let elsewhere = FakeArm::start();
    let (ended, looks) = (AtomicBool::new(false), AtomicUsize::new(0));
    let store = Arc::clone(&world.parts.store);
    let seen = thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let mut seen: Vec<BTreeSet<String>> = Vec::new();
            let mut revision = None;
            while !ended.load(Ordering::SeqCst) {
                let snapshot = store.snapshot();
                if revision.replace(snapshot.revision()) != Some(snapshot.revision()) {
                    seen.push(published(&snapshot));
                }
                looks.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_micros(200));
            }
            seen
        });
        // One client for all: its connections and what it remembers are what faults must not spoil. Where it was asked
        // for patience, or has no token yet, another one is needed.
        let azure = world.parts.sources.list()[0].live().unwrap().azure().unwrap();
        let pass = |what: &str| {
            let is_new = ["token", "429", "503", "patience"].iter().any(|it| what.contains(it));
            let source = &world.parts.sources.list()[0];
            match is_new {
                true => world.pass(),
                false => world.runtime.block_on(source.pass_with(&azure, &world.parts.store)),
            }
        };
        // However this ends, the looker does.
        let _end = End(&ended);
        let mut wrong = Vec::new();
        let mut check = |what: String| {
            pass(&what);
            let why = world.why();
            let held = world.parts.store.snapshot();
            if world.published() != before
                || held.withheld_of("azure") != withheld
                || why == "current"
                || why.contains(TOKEN_MARK)
            {
                wrong.push(format!("{what}: {why}"));
                // What was wrongly taken must not hide the next one.
                world.arm.heal();
                world.arm.spoil_tokens(None);
                relist(&world.arm, |text| text);
                world.pass();
                relist(&world.arm, moved);
            }
        };
        let (of_http, of_listings) =
            (faults_of_http(&elsewhere), faults_of_listings(world.arm.address, &elsewhere));
        for (name, fault) in &of_http {
            world.arm.spoil_tokens(Some(fault.clone()));
            check(format!("{name} for the token"));
            world.arm.spoil_tokens(None);
        }
        let places = [("", "subscriptions"), (FIRST, "privateEndpoints"), (FIRST, "networkInterfaces")];
        for (at, page) in places.iter().flat_map(|at| [(*at, 1), (*at, 2)]) {
            let of_listings = of_listings.iter().filter(|(name, _)| {
                // Interfaces of all kinds are listed, and none tells of a name that its endpoint does not.
                !(at.0.is_empty() || at.1 == "networkInterfaces" && name == "an id that is none")
            });
            for (name, fault) in of_http.iter().chain(of_listings) {
                world.arm.fault((at.0, at.1, page), fault.clone(), usize::MAX);
                check(format!("{name} at page {page} of {}", at.1));
                world.arm.heal();
            }
        }
        for (name, file) in [
            ("page 1 again", "private-endpoints-list-page1"),
            ("another listing", "network-interfaces-list-page2"),
        ] {
            let items = resources(&[&format!("lists/{file}.json")]);
            // As it is listed now: what is there twice does not differ.
            let fault = Fault::page(moved(json!({"value": items}).to_string()));
            world.arm.fault((FIRST, "privateEndpoints", 2), fault, usize::MAX);
            check(name.to_owned());
            world.arm.heal();
        }
        let long = "x".repeat(10_000_000);
        let long = format!(r#"{{"value": [{{"id": "{long}"}}]}}"#);
        for at in [("", "subscriptions", 1), (FIRST, "privateEndpoints", 2)] {
            world.arm.fault(at, Fault::page(long.clone()), usize::MAX);
            check("long text".to_owned());
            world.arm.heal();
        }
        world.arm.fault((FIRST, "privateEndpoints", 2), Fault::Endless, usize::MAX);
        check("endless pages".to_owned());
        world.arm.heal();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        world.pass();
        // Of two looks from now on the second began after the pass.
        looks.store(0, Ordering::SeqCst);
        while looks.load(Ordering::SeqCst) < 2 {
            thread::yield_now();
        }
        ended.store(true, Ordering::SeqCst);
        looker.join().unwrap()
    });
    let after = world.published();
    assert_eq!(world.why(), "current");
    assert_eq!(after.iter().filter(|line| line.contains("10.99.")).count(), 3, "{after:#?}");
    assert_eq!(seen, [before, after]);
    assert!(elsewhere.asked("").is_empty(), "the token went elsewhere");
}

/// The metadata service answers at once or not at all, and so does a page: a pass has an end.
#[test]
fn an_answer_that_never_comes_ends_the_pass_of_that_subscription_only() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let arm = FakeArm::start();
    arm.add(SECOND, other_names);
    let azure = Azure::new(settings(&arm, CredentialSettings::ManagedIdentity { assigned: None }), None);
    let azure = Arc::new(azure.unwrap());
    runtime.block_on(azure.pass()).unwrap();
    arm.fault((FIRST, "networkInterfaces", 2), Fault::Silence, usize::MAX);
    let stuck = || arm.asked(&format!("{FIRST}/providers/Microsoft.Network/networkInterfaces")).len();
    let before = stuck();
    let pass = runtime.block_on(async {
        let waits = async {
            // One healthy pass, then the first page and tries of the second.
            let mut tries = before + 1;
            loop {
                tokio::time::sleep(Duration::from_millis(2)).await;
                if stuck() > tries {
                    tries = stuck();
                    // All else is answered by now.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    tokio::time::pause();
                    tokio::time::advance(Duration::from_secs(66)).await;
                    tokio::time::resume();
                }
            }
        };
        tokio::select! {
            pass = azure.pass() => pass.unwrap(),
            () = waits => unreachable!(),
        }
    });
    assert!(pass.listed.contains_key(SECOND), "{:?}", pass.failed);
    let why = pass.failed[FIRST].to_string();
    assert!(why.contains("cannot be reached") || why.contains("took longer"), "{why}");
    assert!(stuck() - before <= 6, "{}", stuck() - before);
}
