//! What one changed record costs in a zone of a million, beside building the zone: `cargo bench --bench zone`.

use std::time::{Duration, Instant};

use privatelink_dns::dns::{Name, RecordSet, RecordType, Ttl};
use privatelink_dns::zone::{Change, ChangeSet, Offer, Origin, Outcome, Snapshot, ViewId, ZoneHeader};

const RECORDS: u32 = 1_000_000;
const CHANGES: u32 = 10_000;
const LOOKUPS: u32 = 1_000_000;

fn put(zone: &Name, number: u32, last: u8) -> Change {
    let name = Name::parse(&format!("account{number}"), zone.borrow()).expect("a name");
    let [_, high, middle, low] = number.to_be_bytes();
    let ttl = Ttl::from_secs(10).expect("a lifetime");
    let set = RecordSet::new(RecordType::A, ttl, [[10 + last, high, middle, low]]).expect("one record");
    Change::Put { zone: zone.clone(), name, offer: Offer { set, origin: Origin::Rest } }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() {
    let zone: Name = "privatelink.blob.core.windows.net.".parse().expect("a name");
    let mut changes = vec![Change::SetZone(ZoneHeader::private_link(zone.clone()))];
    changes.extend((0..RECORDS).map(|number| put(&zone, number, 0)));
    let begun = Instant::now();
    let (mut snapshot, _) = ChangeSet { changes }.apply(&Snapshot::default()).expect("a zone");
    let built = begun.elapsed();
    println!("build   {RECORDS} records: {built:?}");

    let mut times = Vec::new();
    for round in 0..CHANGES {
        let changes = ChangeSet { changes: vec![put(&zone, round * 97 % RECORDS, 1)] };
        let begun = Instant::now();
        snapshot = changes.apply(&snapshot).expect("a change").0;
        times.push(begun.elapsed());
    }
    let change = median(times);
    let ratio = built.as_secs_f64() / change.as_secs_f64();
    println!("change  1 record: {change:?} at the median, {ratio:.0} times less than building");

    let names: Vec<Name> = (0..1000)
        .map(|number| Name::parse(&format!("account{}", number * 991), zone.borrow()).expect("a name"))
        .collect();
    let begun = Instant::now();
    let mut hits = 0_u32;
    for round in 0..LOOKUPS {
        let name = names[round as usize % names.len()].borrow();
        let zone = snapshot.zone_for(name, ViewId::NONE).expect("the zone is served");
        hits += u32::from(matches!(zone.lookup(name, RecordType::A, ViewId::NONE), Outcome::Hit(_)));
    }
    assert_eq!(hits, LOOKUPS);
    println!("look-up 1 name: {:?} of {} names again and again", begun.elapsed() / LOOKUPS, names.len());
}
