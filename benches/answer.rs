//! What each step of an answer costs, over names in random order: `cargo bench --bench answer`.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use divan::counter::ItemsCount;
use divan::{Bencher, Divan};
use ipnet::{IpNet, Ipv4Net};
use privatelink_dns::cache::Lookup;
use privatelink_dns::dns::{Name, QueryFlags, RecordType, Request};
use privatelink_dns::zone::{Network, Networks, Outcome, ViewId};
use tokio::time::Instant;

#[path = "support/world.rs"]
mod world;

use world::{BATCH, BUFFER_BYTES, Extra, Kind, NAMES, Size, World, forwarded, strewn};

const SIZES: [Size; 4] = [
    Size { records: 100_000, zones: 1 },
    Size { records: 100_000, zones: 60 },
    Size { records: 1_000_000, zones: 1 },
    Size { records: 1_000_000, zones: 60 },
];

/// The size of the comparison with other servers.
const USUAL: Size = SIZES[1];
const LARGEST: Size = SIZES[2];

/// Questions that are asked in turn: all of a small zone, a tenth of a large one.
const QUESTIONS: u32 = 100_000;

const CLIENT_RANGES: u32 = 10_000;

/// Each made when it is first asked, and kept for the benchmarks that come after.
static WORLDS: [LazyLock<World>; 4] = [
    LazyLock::new(|| World::new(SIZES[0])),
    LazyLock::new(|| World::new(SIZES[1])),
    LazyLock::new(|| World::new(SIZES[2])),
    LazyLock::new(|| World::new(SIZES[3])),
];

fn world(size: Size) -> &'static World {
    let place = SIZES.iter().position(|other| *other == size).expect("one of the sizes");
    &WORLDS[place]
}

fn main() {
    // Of one question at a time the clock would tell little.
    Divan::default().sample_size(1000).sample_count(100).config_with_args().main();
}

/// Reading a query.
#[divan::bench(args = [Extra::Nothing, Extra::EdnsWithCookie])]
fn parse(bencher: Bencher, extra: Extra) {
    let questions = world(USUAL).questions(Kind::Existing, extra, QUESTIONS);
    let mut questions = questions.iter().cycle();
    bencher.bench_local(|| {
        let question = questions.next().expect("no end");
        Request::read(question).map(|request| black_box(request).id).ok()
    });
}

/// Finding an address in the zones.
#[divan::bench(args = SIZES)]
fn look_up(bencher: Bencher, size: Size) {
    let world = world(size);
    let names: Vec<Name> = world.strewn(QUESTIONS).map(|number| world.name(number)).collect();
    let mut names = names.iter().cycle();
    let snapshot = world.snapshot();
    bencher.bench_local(|| {
        let name = names.next().expect("no end").borrow();
        let zone = snapshot.zone_for(name, ViewId::NONE).expect("the zone is served");
        let outcome = zone.lookup(name, RecordType::A, ViewId::NONE);
        let Outcome::Hit(offer) = outcome else { panic!("the name has an address") };
        offer.set.records().next().map(<[u8]>::len)
    });
}

/// A whole answer from bytes to bytes.
#[divan::bench(args = [
    Kind::Existing, Kind::NoData, Kind::NoSuchName, Kind::Soa, Kind::CachedForward, Kind::CachedSplice,
    Kind::AliasChain, Kind::LongWay,
])]
fn answer(bencher: Bencher, kind: Kind) {
    answers(bencher, kind, Extra::Nothing);
}

/// The same as a thread does it: a batch at a time, looked ahead to.
#[divan::bench(args = SIZES)]
fn answer_in_batches(bencher: Bencher, size: Size) {
    let world = world(size);
    let questions = world.questions(Kind::Existing, Extra::Nothing, QUESTIONS);
    let (batches, _) = questions.as_chunks::<BATCH>();
    let mut batches = batches.iter().cycle();
    let view = world.responder().view();
    let mut buffers = vec![vec![0; BUFFER_BYTES]; BATCH];
    bencher
        .counter(ItemsCount::new(BATCH))
        .bench_local(|| world.answer_batch(&view, batches.next().expect("no end"), &mut buffers));
}

/// One at a time with EDNS and a cookie.
#[divan::bench(args = [Kind::Existing, Kind::NoSuchName, Kind::CachedForward])]
fn answer_with_cookie(bencher: Bencher, kind: Kind) {
    answers(bencher, kind, Extra::EdnsWithCookie);
}

fn answers(bencher: Bencher, kind: Kind, extra: Extra) {
    let world = world(USUAL);
    let questions = world.questions(kind, extra, QUESTIONS);
    world.check(kind, &questions);
    let mut questions = questions.iter().cycle();
    let view = world.responder().view();
    let mut buffer = vec![0; BUFFER_BYTES];
    bencher.bench_local(|| world.answer(&view, questions.next().expect("no end"), &mut buffer));
}

/// Asking the cache itself.
#[divan::bench]
fn cache_hit(bencher: Bencher) {
    let serving = world(USUAL).responder().serving();
    let names: Vec<Name> = strewn(NAMES).take(NAMES as usize).map(forwarded).collect();
    let mut names = names.iter().cycle();
    let now = Instant::now();
    bencher.bench_local(|| {
        let name = names.next().expect("no end").borrow();
        let lookup = serving.cache.get(name, RecordType::A, QueryFlags::default(), now);
        assert!(matches!(lookup, Lookup::Fresh(_)), "the cache has the name");
        lookup
    });
}

/// The next snapshot after one of a million records changed.
#[divan::bench]
fn change(bencher: Bencher) {
    let world = world(LARGEST);
    let mut numbers = strewn(LARGEST.records);
    let mut snapshot = world.snapshot();
    bencher
        .with_inputs(|| world.change(numbers.next().expect("no end"), 0))
        .bench_local_values(|changes| snapshot = Arc::new(changes.apply(&snapshot).expect("a change").0));
}

/// Which of so many networks a client belongs to, where they have 10,000 ranges together.
#[divan::bench(args = [1, 10, 1000])]
fn view_of_client(bencher: Bencher, networks: u32) {
    let range = |number: u32| {
        let first = Ipv4Addr::from(10 << 24 | number << 8);
        IpNet::V4(Ipv4Net::new(first, 24).expect("a prefix"))
    };
    let network = |number: u32| Network {
        name: format!("network{number}").into(),
        clients: (number..CLIENT_RANGES).step_by(networks as usize).map(range).collect(),
        virtual_networks: Vec::new(),
    };
    let networks = Networks::new((0..networks).map(network).collect(), Vec::new()).expect("networks");
    let clients: Vec<IpAddr> = strewn(CLIENT_RANGES)
        .take(CLIENT_RANGES as usize)
        .map(|number| IpAddr::V4(Ipv4Addr::from(10 << 24 | number << 8 | 77)))
        .collect();
    let mut clients = clients.iter().cycle();
    bencher.bench_local(|| networks.view_of(*clients.next().expect("no end")));
}
