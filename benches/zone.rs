//! What a record takes in memory, what building zones takes, and one changed record in a zone of a million, in CPU time:
//! `cargo bench --bench zone`.

use std::time::Duration;

use privatelink_dns::dns::{Name, RecordSet, RecordType, Ttl};
use privatelink_dns::zone::{Change, ChangeSet, Offer, Origin, Snapshot, ZoneHeader};

const RECORDS: u32 = 1_000_000;
const SIZES: [u32; 3] = [1_000, 100_000, RECORDS];
const ZONES: [u32; 2] = [1, 60];
const CHANGES: u32 = 10_000;

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

fn main() {
    for zones in ZONES {
        for records in SIZES {
            let before = resident_bytes();
            let (snapshot, built) = filled(zones, records);
            let bytes = resident_bytes().saturating_sub(before) / records as usize;
            drop(snapshot);
            println!("{zones:2} zones, {records:7} records: built in {built:9.1?}, {bytes:3} bytes a record");
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
