//! Names that are answered here and never asked upstream (RFC 6761, RFC 6303), unless a rule forwards them.

use std::sync::LazyLock;

use crate::dns::{Name, NameRef, RecordSet, RecordType, SuffixMap, Ttl, rdata};
use crate::zone::{Change, ChangeSet, Offer, Origin, Snapshot, ZoneHeader};

/// RFC 6303 §3 gives these times for the empty zones.
const SOA: &str = "@ nobody.invalid. 1 3600 1200 604800 10800";
const TTL_SECS: u32 = 10_800;

/// Names that do not exist: RFC 6761 (`test`, `invalid`), RFC 7686, RFC 8375, RFC 9462 §6.4.
const EMPTY: [&str; 5] = ["test.", "invalid.", "onion.", "home.arpa.", "resolver.arpa."];

/// RFC 6303 §4 but for the ranges that are counted out below.
const REVERSE: [&str; 16] = [
    "10.in-addr.arpa.",
    "168.192.in-addr.arpa.",
    "0.in-addr.arpa.",
    "254.169.in-addr.arpa.",
    "2.0.192.in-addr.arpa.",
    "100.51.198.in-addr.arpa.",
    "113.0.203.in-addr.arpa.",
    "255.255.255.255.in-addr.arpa.",
    "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.",
    "d.f.ip6.arpa.",
    "8.e.f.ip6.arpa.",
    "9.e.f.ip6.arpa.",
    "a.e.f.ip6.arpa.",
    "b.e.f.ip6.arpa.",
    "8.b.d.0.1.0.0.2.ip6.arpa.",
    "127.in-addr.arpa.",
];

/// Those of them whose addresses an upstream may know: RFC 1918 and unique local addresses (RFC 4193); the others of
/// RFC 1918 and the shared address space are counted out below.
const PRIVATE_REVERSE: [&str; 3] = ["10.in-addr.arpa.", "168.192.in-addr.arpa.", "d.f.ip6.arpa."];

const LOOPBACK_V6: &str = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.";

/// All special zones; made once, they are the same for every config.
pub(super) fn zones() -> &'static Snapshot {
    static ZONES: LazyLock<Snapshot> = LazyLock::new(make_zones);
    &ZONES
}

/// The zones that upstream may be asked about before they answer: those of private addresses that hosts have.
pub(super) fn is_private_reverse(apex: NameRef<'_>) -> bool {
    static APEXES: LazyLock<SuffixMap<()>> = LazyLock::new(|| {
        let fixed = PRIVATE_REVERSE.iter().map(|apex| (*apex).to_owned());
        let all = fixed.chain(counted()).map(|apex| apex.parse().expect("the name is well formed"));
        all.map(|apex: Name| (apex, ())).collect()
    });
    APEXES.exact(apex).is_some()
}

/// 172.16/12 of RFC 1918, and 100.64/10, the shared address space of RFC 7793.
fn counted() -> impl Iterator<Item = String> {
    let private_172 = (16..32).map(|second| format!("{second}.172.in-addr.arpa."));
    private_172.chain((64..128).map(|second| format!("{second}.100.in-addr.arpa.")))
}

fn make_zones() -> Snapshot {
    let mut changes = Vec::new();
    let empty = EMPTY.iter().chain(&REVERSE).map(|apex| (*apex).to_owned());
    for apex in empty.chain(counted()).chain(["localhost.".into(), LOOPBACK_V6.into()]) {
        let apex: Name = apex.parse().expect("the name is well formed");
        changes.push(Change::SetZone(ZoneHeader::plain(apex.clone())));
        changes.push(put(apex.borrow(), "@", RecordType::SOA, SOA));
        changes.push(put(apex.borrow(), "@", RecordType::NS, "@"));
    }
    // RFC 6761 §6.3: `localhost` and all below it are this host.
    for owner in ["@", "*"] {
        let apex: Name = "localhost.".parse().expect("the name is well formed");
        changes.push(put(apex.borrow(), owner, RecordType::A, "127.0.0.1"));
        changes.push(put(apex.borrow(), owner, RecordType::AAAA, "::1"));
    }
    for (apex, owner) in [("127.in-addr.arpa.", "1.0.0"), (LOOPBACK_V6, "@")] {
        let apex: Name = apex.parse().expect("the name is well formed");
        changes.push(put(apex.borrow(), owner, RecordType::PTR, "localhost."));
    }
    // RFC 9462 §4: where no encrypted transport is told there are no data; and a name is there for what lies below it.
    let apex: Name = "resolver.arpa.".parse().expect("the name is well formed");
    changes.push(put(apex.borrow(), "nothing._dns", RecordType::TXT, "\"\""));
    let made = ChangeSet { changes }.apply(&Snapshot::default());
    made.expect("the special zones are well formed").0
}

fn put(apex: NameRef<'_>, owner: &str, rtype: RecordType, data: &str) -> Change {
    let data = rdata::from_text(rtype, data, apex).expect("the data is well formed");
    let ttl = Ttl::from_secs(TTL_SECS).expect("three hours are a lifetime");
    let set = RecordSet::new(rtype, ttl, [data]).expect("one record is no large set");
    let name = Name::parse(owner, apex).expect("the name is well formed");
    Change::Put { zone: apex.to_name(), name, offer: Offer { set, origin: Origin::BuiltIn } }
}
