//! What is counted: each kind of work many times over, so that one hash more or less does not matter.

use std::hint::black_box;
use std::sync::Arc;

use privatelink_dns::dns::Request;
use privatelink_dns::observe::{self, Observers, dnstap};
use privatelink_dns::zone::ChangeSet;
use tokio::runtime::Builder;

use crate::contest;
use crate::misses::{self, OverTcp, OverUdp};
use crate::world::{BATCH, BUFFER_BYTES, Extra, Kind, NAMES as QUESTIONS, Size, World};

/// Enough that a change meets a table of full depth; building more takes its time under valgrind.
const SIZE: Size = Size { records: 100_000, zones: 60 };

/// How often each work is done while instructions are counted.
pub const TIMES: u64 = QUESTIONS as u64;

/// All work, in the order in which it is done.
pub const NAMES: [&str; 15] = [
    "parse",
    "existing name in a batch",
    "existing name",
    "no data",
    "no such name",
    "SOA",
    "cached forward",
    "cached splice",
    "chain of aliases",
    "the long way",
    "change of one record",
    "miss over UDP",
    "miss over TCP",
    "name that 1,000 networks contest",
    "existing name, told to dnstap",
];

/// Does all work, each once for the heap's and the linker's sake, then once to be counted.
pub fn run() {
    let world = World::new(SIZE);
    let questions = world.questions(Kind::Existing, Extra::EdnsWithCookie, QUESTIONS);
    counted(&mut || {
        for question in &questions {
            assert!(black_box(Request::read(question)).is_ok());
        }
    });
    let questions = world.questions(Kind::Existing, Extra::Nothing, QUESTIONS);
    let (batches, _) = questions.as_chunks::<BATCH>();
    let view = world.responder().view();
    let mut buffers = vec![vec![0; BUFFER_BYTES]; BATCH];
    counted(&mut || batches.iter().for_each(|batch| world.answer_batch(&view, batch, &mut buffers)));
    for kind in [
        Kind::Existing,
        Kind::NoData,
        Kind::NoSuchName,
        Kind::Soa,
        Kind::CachedForward,
        Kind::CachedSplice,
        Kind::AliasChain,
        Kind::LongWay,
    ] {
        let questions = world.questions(kind, Extra::Nothing, QUESTIONS);
        world.check(kind, &questions);
        let view = world.responder().view();
        let mut buffer = vec![0; BUFFER_BYTES];
        counted(&mut || {
            for question in &questions {
                black_box(world.answer(&view, question, &mut buffer));
            }
        });
    }
    let round = |round| world.strewn(QUESTIONS).map(|number| world.change(number, round)).collect();
    let rounds: [Vec<ChangeSet>; 2] = [round(0), round(1)];
    let mut rounds = rounds.iter();
    let mut snapshot = world.snapshot();
    counted(&mut || {
        for changes in rounds.next().expect("work is done twice") {
            snapshot = Arc::new(changes.apply(&snapshot).expect("a change").0);
        }
    });
    misses(&world);
    contest::begin(&world);
    let questions = contest::questions(QUESTIONS);
    let view = world.responder().view();
    let mut buffer = vec![0; BUFFER_BYTES];
    counted(&mut || {
        for (client, question) in &questions {
            black_box(world.answer_to(*client, &view, question, &mut buffer));
        }
    });
    observed();
}

/// Answers while dnstap is told: what the thread that answers does for it.
fn observed() {
    let world = World::new(SIZE);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _entered = runtime.enter();
    let observers = Observers::new(Arc::clone(world.responder().tap()), Arc::new(|_, _| None));
    // Nobody listens there: frames are made, and dropped.
    let collector = dnstap::Collector::Socket("/nonexistent/dnstap.sock".into());
    let dnstap = dnstap::Settings { collector, identity: dnstap::host_name() };
    observers.configure(&observe::Settings { dnstap: Some(dnstap), query_log: None });
    let questions = world.questions(Kind::Existing, Extra::Nothing, QUESTIONS);
    let view = world.responder().view();
    let mut buffer = vec![0; BUFFER_BYTES];
    counted(&mut || {
        for question in &questions {
            black_box(world.answer(&view, question, &mut buffer));
        }
    });
}

/// Asks for names that no cache has, and answers them when upstream has.
fn misses(world: &World) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let entered = runtime.enter();
    let mut over_udp = OverUdp::new(world, &runtime);
    for (round, count) in [(0, count_nothing as Count), (1, count)] {
        for batch in misses::questions(world, round, QUESTIONS).chunks(BATCH) {
            count(&mut || over_udp.ask(batch));
            over_udp.answer();
            count(&mut || over_udp.settle(batch.len()));
        }
    }
    end();
    let mut over_tcp = OverTcp::new(world);
    drop(entered);
    for (round, count) in [(2, count_nothing as Count), (3, count)] {
        let questions = misses::questions(world, round, QUESTIONS);
        count(&mut || over_tcp.answer(&runtime, &questions));
    }
    end();
}

type Count = fn(&mut dyn FnMut());

/// Does a work twice, and counts the second time.
fn counted(work: &mut dyn FnMut()) {
    count_nothing(work);
    count(work);
    end();
}

fn count_nothing(work: &mut dyn FnMut()) {
    work();
}

fn count(work: &mut dyn FnMut()) {
    privatelink_dns_counted(black_box(work));
}

fn end() {
    privatelink_dns_ended(black_box(&()));
}

/// What callgrind counts: it knows the function by its name.
#[unsafe(no_mangle)]
#[inline(never)]
fn privatelink_dns_counted(work: &mut dyn FnMut()) {
    work();
}

/// Where callgrind writes down what was counted.
#[unsafe(no_mangle)]
#[inline(never)]
fn privatelink_dns_ended(nothing: &()) {
    black_box(nothing);
}
