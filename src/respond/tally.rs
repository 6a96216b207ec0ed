//! What is counted of every query and reply: by each thread for itself, so that counting locks nothing.

use std::array;
use std::cell::Cell;
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use thread_local::ThreadLocal;

use super::client::{Client, Transport};
use super::reply::{RCODES, Reply, ReplyKind};
use crate::dns::{Rcode, RecordType};
use crate::observe::AnswerPath;
use crate::telemetry::{Durations, Histogram, add_all, add_alone, subtract_all};
use crate::zone::{NUMBERS, Snapshot, ViewId};

/// The types that are counted by themselves. Clients choose types at will, and each label is a series.
const TYPES: [RecordType; 15] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::ANY,
    RecordType::CAA,
    RecordType::CNAME,
    RecordType::DNSKEY,
    RecordType::DS,
    RecordType::HTTPS,
    RecordType::MX,
    RecordType::NS,
    RecordType::PTR,
    RecordType::SOA,
    RecordType::SRV,
    RecordType::SVCB,
    RecordType::TXT,
];

/// The place of each type of small number; that of all others is the last.
const TYPE_PLACES: [u8; 258] = {
    let mut places = [TYPES.len() as u8; 258];
    let mut place = 0;
    while place < TYPES.len() {
        places[TYPES[place].0 as usize] = place as u8;
        place += 1;
    }
    places
};

const TRANSPORTS: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];
const FAMILIES: [&str; 2] = ["ipv4", "ipv6"];
const PATHS: usize = AnswerPath::ALL.len();
const REQUESTS: usize = TRANSPORTS.len() * FAMILIES.len() * (TYPES.len() + 1);

/// The counts of all threads.
#[derive(Default)]
pub struct Tallies(ThreadLocal<Tally>);

/// The counts of one thread, which alone writes them. A thread that ends leaves its own to the next.
pub(super) struct Tally {
    /// By transport, address family and type, the last for all other types.
    requests: [AtomicU64; REQUESTS],
    /// By path and code.
    replies: [AtomicU64; ReplyKind::COUNT],
    durations: [Histogram; PATHS],
    /// Replies by the number of their zone.
    zones: [AtomicU64; NUMBERS],
    /// Queries by the number of their client's network.
    networks: [AtomicU64; NUMBERS],
}

/// What was counted of a batch and is not in the tally of its thread yet.
pub(super) struct Batch {
    /// The place of the query that is answered now, `NOWHERE` if there is none, and its client's view.
    query: Cell<[u16; 2]>,
    counted: [Cell<Counted>; BATCH],
    used: Cell<usize>,
}

/// What is counted of one query.
#[derive(Clone, Copy)]
struct Counted {
    /// Its place and its client's view.
    query: [u16; 2],
    /// Its reply's place and the number of the zone.
    reply: [u16; 2],
}

/// Queries that are counted before they are added up.
const BATCH: usize = 64;

/// The place of what is not counted.
const NOWHERE: u16 = u16::MAX;

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            requests: array::from_fn(|_| AtomicU64::default()),
            replies: array::from_fn(|_| AtomicU64::default()),
            durations: Default::default(),
            zones: array::from_fn(|_| AtomicU64::default()),
            networks: array::from_fn(|_| AtomicU64::default()),
        }
    }
}

impl Default for Batch {
    fn default() -> Batch {
        const NOTHING: Counted = Counted { query: [NOWHERE; 2], reply: [NOWHERE; 2] };
        let counted = [const { Cell::new(NOTHING) }; BATCH];
        Batch { query: Cell::new(NOTHING.query), counted, used: Cell::new(0) }
    }
}

impl Batch {
    /// Counts a query; what becomes of it is counted next.
    pub(super) fn count_request(&self, client: Client, view: ViewId, rtype: RecordType) {
        self.query.set([request_place(client, rtype), view.0]);
    }

    /// Counts what became of the last query; true if the batch is full and must be added to a tally.
    pub(super) fn count_reply(&self, reply: Option<Reply>) -> bool {
        let used = self.used.get();
        let reply = reply.map_or([NOWHERE; 2], |reply| [reply.kind().place(), reply.zone()]);
        self.counted[used % BATCH].set(Counted { query: self.query.replace([NOWHERE; 2]), reply });
        self.used.set(used + 1);
        used + 1 == BATCH
    }

    pub(super) fn is_empty(&self) -> bool {
        self.used.get() == 0
    }

    /// Adds all to a tally; so long the replies took. Networks are counted by the numbers of their views.
    pub(super) fn add_to(&self, tally: &Tally, took: Duration, snapshot: &Snapshot) {
        let mut paths = [0; PATHS];
        for counted in &self.counted[..self.used.replace(0)] {
            let Counted { query: [query, view], reply: [reply, zone] } = counted.get();
            if let Some(count) = tally.requests.get(usize::from(query)) {
                add_alone(count, 1);
                add_alone(&tally.networks[usize::from(snapshot.network_number(ViewId(view)))], 1);
            }
            if let Some(count) = tally.replies.get(usize::from(reply)) {
                add_alone(count, 1);
                add_alone(&tally.zones[usize::from(zone)], 1);
                paths[usize::from(reply) / RCODES] += 1;
            }
        }
        for (durations, replies) in tally.durations.iter().zip(paths) {
            if replies > 0 {
                durations.add_alone(took, replies);
            }
        }
    }
}

fn request_place(client: Client, rtype: RecordType) -> u16 {
    let family = usize::from(matches!(client.address.ip(), IpAddr::V6(_)));
    let rtype = TYPE_PLACES.get(usize::from(rtype.0)).map_or(TYPES.len(), |place| usize::from(*place));
    ((client.transport as usize * FAMILIES.len() + family) * (TYPES.len() + 1) + rtype) as u16
}

/// Sums over all threads.
#[derive(Clone)]
pub struct Totals {
    /// By transport, address family and type, the last for all other types.
    requests: [[[u64; TYPES.len() + 1]; FAMILIES.len()]; TRANSPORTS.len()],
    rcodes: [[u64; RCODES]; PATHS],
    durations: [Durations; PATHS],
    zones: Box<[u64; NUMBERS]>,
    networks: Box<[u64; NUMBERS]>,
}

impl Tallies {
    /// The counts of the thread that asks.
    pub(super) fn own(&self) -> &Tally {
        self.0.get_or_default()
    }

    /// What was counted so far.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            requests: Default::default(),
            rcodes: [[0; RCODES]; PATHS],
            durations: array::from_fn(|_| Durations::default()),
            zones: Box::new([0; NUMBERS]),
            networks: Box::new([0; NUMBERS]),
        };
        for tally in &self.0 {
            add_all(totals.requests.as_flattened_mut().as_flattened_mut(), &tally.requests);
            add_all(totals.rcodes.as_flattened_mut(), &tally.replies);
            add_all(&mut *totals.zones, &tally.zones);
            add_all(&mut *totals.networks, &tally.networks);
            totals.durations.iter_mut().zip(&tally.durations).for_each(|(sum, of)| sum.add(of));
        }
        totals
    }
}

impl Tally {
    /// Counts a reply that was waited for; its query was counted before.
    pub(super) fn count_late(&self, reply: Reply, took: Duration) {
        add_alone(&self.replies[usize::from(reply.kind().place())], 1);
        add_alone(&self.zones[usize::from(reply.zone())], 1);
        self.durations[reply.kind().path() as usize].add_alone(took, 1);
    }
}

impl Totals {
    /// What was counted after `earlier`.
    #[must_use]
    pub fn since(mut self, earlier: &Totals) -> Totals {
        let requests = self.requests.as_flattened_mut().as_flattened_mut();
        subtract_all(requests, earlier.requests.as_flattened().as_flattened());
        subtract_all(self.rcodes.as_flattened_mut(), earlier.rcodes.as_flattened());
        subtract_all(&mut *self.zones, &*earlier.zones);
        subtract_all(&mut *self.networks, &*earlier.networks);
        let durations = self.durations.iter_mut().zip(&earlier.durations);
        durations.for_each(|(sum, earlier)| *sum = sum.clone().since(earlier));
        self
    }

    /// Queries by transport, address family and type: those of some kind, and those of the types that all ask for.
    pub fn requests(&self) -> impl Iterator<Item = ([&'static str; 2], String, u64)> {
        let transports = TRANSPORTS.into_iter().zip(&self.requests);
        let families = transports.flat_map(|(transport, families)| {
            FAMILIES.into_iter().zip(families).map(move |(family, types)| (transport, family, types))
        });
        families.flat_map(|(transport, family, types)| {
            let is_usual =
                |place: usize| matches!(TYPES.get(place), Some(&(RecordType::A | RecordType::AAAA)));
            let types =
                types.iter().enumerate().filter(move |(place, count)| **count > 0 || is_usual(*place));
            types.map(move |(place, count)| {
                let rtype = TYPES.get(place).map_or_else(|| "other".to_owned(), ToString::to_string);
                ([transport.word(), family], rtype, *count)
            })
        })
    }

    /// Replies by code and path: those there were, and NOERROR by each path that can have it.
    pub fn responses(&self) -> impl Iterator<Item = (String, AnswerPath, u64)> {
        let paths = AnswerPath::ALL.into_iter().zip(&self.rcodes);
        paths.flat_map(|(path, rcodes)| {
            let usual = match path {
                AnswerPath::Refused => "REFUSED",
                AnswerPath::Error => "SERVFAIL",
                _ => "NOERROR",
            };
            let rcodes = rcodes.iter().enumerate().map(move |(code, count)| {
                let is_other = code == RCODES - 1;
                let word = if is_other { "other".to_owned() } else { Rcode(code as u16).to_string() };
                (word, path, *count)
            });
            rcodes.filter(move |(rcode, _, count)| *count > 0 || rcode == usual)
        })
    }

    /// Replies with records of the zone of this number.
    pub fn of_zone(&self, number: u16) -> u64 {
        self.zones[usize::from(number)]
    }

    /// Queries of clients in the network of this number.
    pub fn of_network(&self, number: u16) -> u64 {
        self.networks[usize::from(number)]
    }

    /// How long replies of each path took.
    pub fn durations(&self) -> impl Iterator<Item = (AnswerPath, &Durations)> {
        AnswerPath::ALL.into_iter().zip(&self.durations)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn client(address: &str, transport: Transport) -> Client {
        Client::new(SocketAddr::new(address.parse().unwrap(), 53), transport)
    }

    fn reply(rcode: Rcode, path: AnswerPath) -> Reply {
        Reply::new(12, ReplyKind::new(rcode, path), 7)
    }

    #[test]
    fn the_counts_of_all_threads_are_added_up() {
        let (tallies, snapshot) = (Tallies::default(), Snapshot::default());
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let batch = Batch::default();
                    batch.count_request(client("192.0.2.1", Transport::Udp), ViewId::NONE, RecordType::AAAA);
                    batch.count_reply(Some(reply(Rcode::NXDOMAIN, AnswerPath::Cached)));
                    batch.count_request(client("2001:db8::1", Transport::Tcp), ViewId(9), RecordType(65_280));
                    batch.count_reply(None);
                    // A query that was refused on its way back was counted before.
                    batch.count_reply(Some(reply(Rcode::BADCOOKIE, AnswerPath::Refused)));
                    batch.count_reply(Some(reply(Rcode(4095), AnswerPath::Error)));
                    batch.add_to(tallies.own(), Duration::from_micros(3), &snapshot);
                    batch.add_to(tallies.own(), Duration::from_micros(3), &snapshot);
                    tallies
                        .own()
                        .count_late(reply(Rcode::NOERROR, AnswerPath::Cached), Duration::from_millis(9));
                });
            }
        });
        let totals = tallies.totals();
        let requests: Vec<_> = totals.requests().filter(|(_, _, count)| *count > 0).collect();
        let expected = [(["udp", "ipv4"], "AAAA".to_owned(), 3), (["tcp", "ipv6"], "other".to_owned(), 3)];
        assert_eq!(requests, expected);
        let responses: Vec<_> = totals.responses().filter(|(_, _, count)| *count > 0).collect();
        let expected = [
            ("NOERROR".to_owned(), AnswerPath::Cached, 3),
            ("NXDOMAIN".to_owned(), AnswerPath::Cached, 3),
            ("BADCOOKIE".to_owned(), AnswerPath::Refused, 3),
            ("other".to_owned(), AnswerPath::Error, 3),
        ];
        assert_eq!(responses, expected);
        let durations = totals.durations().find(|(path, _)| *path == AnswerPath::Cached).unwrap().1;
        assert_eq!(durations.count(), 6);
        tallies.own().count_late(reply(Rcode::NOERROR, AnswerPath::Stale), Duration::from_millis(9));
        let late = tallies.totals().since(&totals);
        let responses: Vec<_> = late.responses().filter(|(_, _, count)| *count > 0).collect();
        assert_eq!(responses, [("NOERROR".to_owned(), AnswerPath::Stale, 1)]);
        assert_eq!(late.requests().map(|(_, _, count)| count).sum::<u64>(), 0);
        assert_eq!(late.durations().map(|(_, durations)| durations.count()).sum::<u64>(), 1);
    }

    #[test]
    fn a_full_batch_says_so() {
        let batch = Batch::default();
        let full = (0..BATCH).filter(|_| batch.count_reply(None)).count();
        assert_eq!((full, batch.is_empty()), (1, false));
        batch.add_to(&Tally::default(), Duration::ZERO, &Snapshot::default());
        assert!(batch.is_empty());
    }

    #[test]
    fn what_everybody_looks_at_is_there_before_it_happens() {
        let totals = Tallies::default().totals();
        let requests: Vec<_> = totals.requests().collect();
        assert_eq!(requests.len(), 12);
        assert!(requests.contains(&(["tcp", "ipv6"], "A".to_owned(), 0)));
        assert_eq!(totals.responses().count(), AnswerPath::ALL.len());
    }
}
