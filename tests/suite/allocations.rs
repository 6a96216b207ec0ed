//! What zones and cache know is answered without touching the heap.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use privatelink_dns::cache::UpstreamReply;
use privatelink_dns::config::Config;
use privatelink_dns::daemon::Parts;
use privatelink_dns::dns::{Message, Name, QueryFlags, Question, Rcode, RecordType};
use privatelink_dns::respond::{Attempt, Client, Transport};
use tokio::time::Instant;

use crate::support::client::packet;

/// The system's allocator, counting for each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; the counter is a plain number of this thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no counter any more.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, which is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Keeps a reply as if an upstream had given it.
fn cached(parts: &Parts, name: &str, records: &[&str]) {
    let question = Question { name: name.parse().unwrap(), rtype: RecordType::A };
    let answer = records.iter().map(|record| crate::support::client::record(record)).collect();
    let bytes = packet(name, "A");
    let message = Message { rcode: Rcode::NOERROR, answer, ..Message::read(&bytes).unwrap() };
    let reply = UpstreamReply::from_message(message, &question, |_| true).unwrap();
    parts.responder.serving().cache.put(&question, QueryFlags::default(), Arc::new(reply), Instant::now());
}

#[tokio::test]
async fn answers_that_need_no_upstream_allocate_nothing() {
    answers_allocate_nothing("splice");
}

#[tokio::test]
async fn public_names_answered_from_the_catalogue_allocate_nothing() {
    answers_allocate_nothing("local");
}

fn answers_allocate_nothing(public_names: &str) {
    let folder = tempfile::tempdir().unwrap();
    let inventory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/sample-inventory");
    let zone = "@ 60 SOA ns host 1 60 60 60 60\n*.w 60 A 10.0.0.1\nalias 60 CNAME x.w\nsub 60 NS ns.sub\nns.sub 60 A 10.0.0.2\n";
    std::fs::write(folder.path().join("corp.zone"), zone).unwrap();
    let text = format!(
        "[private_link]\npublic_names = \"{public_names}\"\n[forward]\nprivate_reverse = \"here\"\n[[sync.source]]\nkind = \"directory\"\npath = \"{}\"\n[[zone]]\nname = \"corp.internal\"\nfile = \"corp.zone\"\n",
        inventory.display()
    );
    let config =
        Config::parse(&text, &folder.path().join("config.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    let parts = Parts::load(&config).unwrap();
    cached(&parts, "www.example.", &["www.example. 60 CNAME web.example.", "web.example. 60 A 192.0.2.1"]);
    cached(
        &parts,
        "contosodata01.blob.core.windows.net.",
        &[
            "contosodata01.blob.core.windows.net. 60 CNAME contosodata01.privatelink.blob.core.windows.net.",
            "contosodata01.privatelink.blob.core.windows.net. 60 CNAME cluster.store.core.windows.net.",
            "cluster.store.core.windows.net. 60 A 20.60.1.1",
        ],
    );
    let view = parts.responder.view();
    let mut buffer = vec![0; 4096];
    let address = "127.0.0.1:4711".parse().unwrap();
    for (name, rtype, answers) in [
        ("contosodata01.privatelink.blob.core.windows.net.", "A", 1),
        ("contosodata01.privatelink.blob.core.windows.net.", "AAAA", 0),
        ("contosodata01.blob.core.windows.net.", "A", 2),
        ("www.example.", "A", 2),
        ("q.w.corp.internal.", "A", 1),
        ("alias.corp.internal.", "A", 2),
        ("nowhere.corp.internal.", "A", 0),
        ("x.sub.corp.internal.", "A", 0),
        ("localhost.", "AAAA", 1),
        ("4.3.2.10.in-addr.arpa.", "PTR", 0),
    ] {
        let message = packet(name, rtype);
        for transport in [Transport::Udp, Transport::Tcp] {
            let client = Client::new(address, transport);
            let mut attempt = Attempt::Drop;
            let mut allocations = 0;
            // The first round may fill what is made once, the second answers anew, the third with what it made.
            for round in 0..3 {
                if round == 1 {
                    // The answer that was kept finished is not good any more, the cache's entries are.
                    parts.responder.serving().cache.purge(Some("none.".parse::<Name>().unwrap().borrow()));
                }
                let before = ALLOCATIONS.get();
                attempt = parts.responder.try_answer(&view, None, &message, client, &mut buffer);
                allocations += if round == 0 { 0 } else { ALLOCATIONS.get() - before };
            }
            let Attempt::Reply(length) = attempt else { panic!("{name} {rtype}: {attempt:?}") };
            assert_eq!(Message::read(&buffer[..length]).unwrap().answer.len(), answers, "{name} {rtype}");
            assert_eq!(allocations, 0, "{name} {rtype} over {transport:?}");
        }
    }
}
