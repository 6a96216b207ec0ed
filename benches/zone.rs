//! What a record takes in memory, what look-ups cost however many there are, and what one changed record costs in a zone
//! of a million, in CPU time: `cargo bench --bench zone`.

use std::hint::black_box;
use std::time::Duration;

use privatelink_dns::dns::{Name, NameBuf, RecordSet, RecordType, Ttl};
use privatelink_dns::zone::{Change, ChangeSet, Offer, Origin, Outcome, Snapshot, ViewId, Zone, ZoneHeader};

const RECORDS: u32 = 1_000_000;
const SIZES: [u32; 3] = [1_000, 100_000, RECORDS];
const ZONES: [u32; 2] = [1, 60];
const CHANGES: u32 = 10_000;
const LOOKUPS: u32 = 1_000_000;
/// As many questions as the server takes at once.
const BATCH: usize = 64;

fn apex(number: u32) -> Name {
    format!("privatelink.service{number}.core.windows.net.").parse().expect("a name")
}

fn put(zone: &Name, number: u32, last: u8) -> Change {
    let name = Name::parse(&format!("account{number}"), zone.borrow()).expect("a name");
    let [_, high, middle, low] = number.to_be_bytes();
    let ttl = Ttl::from_secs(10).expect("a lifetime");
    let set = RecordSet::new(RecordType::A, ttl, [[10 + last, high, middle, low]]).expect("one record");
    Change::Put { zone: zone.clone(), name, offer: Offer { set, origin: Origin::Rest } }
}

/// What an import does, a part at a time, so that what it needs besides does not count.
fn filled(zones: u32, records: u32) -> (Snapshot, Duration) {
    let apexes: Vec<Name> = (0..zones).map(apex).collect();
    let changes = apexes.iter().map(|apex| Change::SetZone(ZoneHeader::private_link(apex.clone()))).collect();
    let mut snapshot = ChangeSet { changes }.apply(&Snapshot::default()).expect("zones").0;
    let mut taken = Duration::ZERO;
    for first in (0..records).step_by(100_000) {
        let numbers = first..records.min(first + 100_000);
        let changes =
            ChangeSet { changes: numbers.map(|at| put(&apexes[(at % zones) as usize], at, 0)).collect() };
        let begun = cpu_time();
        snapshot = changes.apply(&snapshot).expect("records").0;
        taken += cpu_time() - begun;
    }
    (snapshot, taken)
}

/// CPU time of the process so far: other processes of the machine do not count.
fn cpu_time() -> Duration {
    let mut used = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec that outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut used) };
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}

/// Bytes of memory that the process has, what it has freed not counted where that can be given back.
fn resident_bytes() -> usize {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, and locks what it works on.
    unsafe {
        libc::malloc_trim(0);
    }
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Numbers in no order that caches could follow.
fn strewn(records: u32) -> impl Iterator<Item = u32> {
    let mut state = 1_u64;
    std::iter::from_fn(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some(((state >> 33) % u64::from(records)) as u32)
    })
}

/// `account{number}` as a label in wire form, made without the heap.
fn front(mut number: u32, out: &mut [u8; 32]) -> &[u8] {
    let mut digits = [0; 10];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    let length = 7 + digits.len() - at;
    out[0] = length as u8;
    out[1..8].copy_from_slice(b"account");
    out[8..=length].copy_from_slice(&digits[at..]);
    &out[..=length]
}

/// What a look-up takes one by one from the name, and in batches from the labels in front of the apex.
fn look_up(snapshot: &Snapshot, zones: u32, records: u32) -> (Duration, Duration) {
    let apexes: Vec<Name> = (0..zones).map(apex).collect();
    let mut buffer = [0; 32];
    let begun = cpu_time();
    let mut hits = 0_u32;
    for number in strewn(records).take(LOOKUPS as usize) {
        let apex = &apexes[(number % zones) as usize];
        let name = NameBuf::join(front(number, &mut buffer), apex.borrow()).expect("a name");
        let zone = snapshot.zone_for(name.borrow(), ViewId::NONE).expect("the zone is served");
        hits += u32::from(matches!(
            zone.lookup(name.borrow(), RecordType::A, ViewId::NONE),
            Outcome::Hit(offer) if offer.set.len() == 1
        ));
    }
    let one_by_one = (cpu_time() - begun) / LOOKUPS;
    assert_eq!(hits, LOOKUPS);

    let zones: Vec<&Zone> =
        apexes.iter().map(|apex| &**snapshot.zone(apex.borrow()).expect("a zone")).collect();
    let mut numbers = strewn(records);
    let begun = cpu_time();
    for _ in 0..LOOKUPS / BATCH as u32 {
        let batch: [_; BATCH] = std::array::from_fn(|_| numbers.next().expect("no end"));
        let of = |number: u32| zones[number as usize % zones.len()];
        let mut ways = Vec::with_capacity(BATCH);
        for number in batch {
            let way = of(number).look_ahead(front(number, &mut buffer));
            way.prefetch();
            ways.push(way);
        }
        ways.iter().for_each(|way| way.prefetch_node());
        for number in batch {
            let node = of(number).node_at(front(number, &mut buffer));
            let slot = node.and_then(|node| node.slot(RecordType::A)).expect("a record");
            black_box(slot.served(ViewId::NONE).set.records().next());
        }
    }
    (one_by_one, (cpu_time() - begun) / LOOKUPS)
}

fn main() {
    for zones in ZONES {
        for records in SIZES {
            let before = resident_bytes();
            let (snapshot, built) = filled(zones, records);
            let bytes = resident_bytes().saturating_sub(before) / records as usize;
            let (one_by_one, in_batches) = look_up(&snapshot, zones, records);
            println!(
                "{zones:2} zones, {records:7} records: built in {built:9.1?}, {bytes:3} bytes a record; \
                 look-up {one_by_one:?} one by one, {in_batches:?} in batches of {BATCH}"
            );
        }
    }

    let (mut snapshot, built) = filled(1, RECORDS);
    let apex = apex(0);
    let mut times = Vec::new();
    for round in 0..CHANGES {
        let changes = ChangeSet { changes: vec![put(&apex, round * 97 % RECORDS, 1)] };
        let begun = cpu_time();
        snapshot = changes.apply(&snapshot).expect("a change").0;
        times.push(cpu_time() - begun);
    }
    let change = median(times);
    let ratio = built.as_secs_f64() / change.as_secs_f64();
    println!("change  1 record of {RECORDS}: {change:?} at the median, {ratio:.0} times less than building");
}
