//! What the API costs: one record of a zone of a million, many records at once, many writers: `cargo bench --bench admin`.
//! A disk that syncs slowly is told by the bare loop of `cargo bench --bench persist`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use privatelink_dns::admin::auth::{How, Identity, Role, Scope};
use privatelink_dns::admin::edit::{Edit, Place};
use privatelink_dns::admin::etag::{Need, Preconditions};
use privatelink_dns::admin::{Applier, Bases, Ledger, Mode, Neighbours, Outcome, Who, Write, Written};
use privatelink_dns::dns::{Name, RecordSet, RecordType, Ttl};
use privatelink_dns::forward::{RuleSettings, UpstreamHealth};
use privatelink_dns::persist::{self, Entry, Made, Persist, StoredChange, StoredZone};
use privatelink_dns::privatelink::{Catalogue, Cloud};
use privatelink_dns::zone::{Change, ChangeSet, Offer, Origin, Store, Unjournaled, ZoneKind};

const RECORDS: u32 = 1_000_000;
const SINGLE_WRITES: u32 = 200;
const AT_ONCE: u32 = 100_000;
const WRITERS: u32 = 64;
const WRITES_A_WRITER: u32 = 200;

struct Alone;

impl Neighbours for Alone {
    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::new(Catalogue::builtin(Cloud::Public))
    }

    fn configured_rules(&self) -> Vec<RuleSettings> {
        Vec::new()
    }

    fn upstreams(&self) -> Vec<UpstreamHealth> {
        Vec::new()
    }

    fn set_rules(&self, _: Vec<RuleSettings>) {}
}

fn set(number: u32) -> RecordSet {
    let ttl = Ttl::from_secs(10).expect("a lifetime");
    RecordSet::new(RecordType::A, ttl, [number.to_be_bytes()]).expect("one record")
}

fn put(zone: &Name, name: &str, number: u32) -> Edit {
    let name = Name::parse(name, zone.borrow()).expect("a name");
    let entry = Entry::RecordSet { zone: zone.clone(), name, set: set(number) };
    edit(StoredChange::Put(entry))
}

fn edit(change: StoredChange) -> Edit {
    Edit { change, place: Place::Item(0), conditions: Preconditions::default(), need: Need::Optional }
}

async fn write(ledger: &Arc<Ledger>, edits: Vec<Edit>) {
    let identity = Identity {
        name: "bench".into(),
        role: Role::Admin,
        scope: Scope::All,
        how: How::Token { id: "bench".into() },
    };
    let who = Who { identity, remote: [127, 0, 0, 1].into(), request_id: "bench".into() };
    let write = Write { who, edits, comment: None, mode: Mode::Do, once: None };
    let outcome = ledger.write(write).await.expect("the write holds");
    assert!(matches!(outcome, Outcome::Done(_)));
}

#[tokio::main]
async fn main() {
    let folder = std::env::temp_dir().join(format!("privatelink-dns-bench-{}", std::process::id()));
    let settings = persist::Settings { state_dir: folder.clone(), ..persist::Settings::default() };
    let persist = Persist::open(&settings).await.expect("a store");
    let store = Arc::new(Store::new(Box::new(Unjournaled)));
    let written = Arc::new(Written::of(&persist.load().await.expect("what is stored")));
    let applier = Applier::new(store.clone(), written, Arc::new(Alone));
    applier.rebase(Bases::default());
    let following = applier.start(persist.changes(0));
    let ledger = Ledger::new(persist.clone(), applier);

    let zone: Name = "corp.internal.".parse().expect("a name");
    let made = Made::ByRest(ZoneKind::Plain);
    let stored = StoredZone { apex: zone.clone(), made, on_missing: None, networks: None };
    write(&ledger, vec![edit(StoredChange::Put(Entry::Zone(stored)))]).await;
    // The million is there as if read from a file; only what is measured is stored.
    let changes = (0..RECORDS).map(|number| {
        let name = Name::parse(&format!("n{number}"), zone.borrow()).expect("a name");
        Change::Put { zone: zone.clone(), name, offer: Offer { set: set(number), origin: Origin::File } }
    });
    store.commit(ChangeSet { changes: changes.collect() }).expect("a zone of a million");

    let mut times: Vec<Duration> = Vec::new();
    for number in 0..SINGLE_WRITES {
        let begun = Instant::now();
        write(&ledger, vec![put(&zone, &format!("n{}", number * 4_999), number)]).await;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    println!("one     write to visible in a zone of {RECORDS}: {:?} at the median", times[times.len() / 2]);

    let edits: Vec<Edit> = (0..AT_ONCE).map(|number| put(&zone, &format!("m{number}"), number)).collect();
    let begun = Instant::now();
    write(&ledger, edits).await;
    println!("many    {AT_ONCE} records at once: {:?}", begun.elapsed());

    let begun = Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (ledger, zone) = (ledger.clone(), zone.clone());
            tokio::spawn(async move {
                for number in 0..WRITES_A_WRITER {
                    write(&ledger, vec![put(&zone, &format!("w{writer}-{number}"), number)]).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("the writer ends");
    }
    let rate = f64::from(WRITERS * WRITES_A_WRITER) / begun.elapsed().as_secs_f64();
    println!("writers {WRITERS} of them: {rate:.0} writes of one record a second");

    drop(following);
    persist.close().await;
    std::fs::remove_dir_all(&folder).expect("the folder goes");
}
