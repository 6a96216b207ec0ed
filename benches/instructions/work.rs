//! What is counted: each kind of work many times over, so that one hash more or less does not matter.

use std::hint::black_box;
use std::sync::Arc;

use privatelink_dns::dns::Request;
use privatelink_dns::zone::ChangeSet;

use crate::world::{BATCH, BUFFER_BYTES, Extra, Kind, NAMES as QUESTIONS, Size, World};

/// Enough that a change meets a table of full depth; building more takes its time under valgrind.
const SIZE: Size = Size { records: 100_000, zones: 60 };

/// How often each work is done while instructions are counted.
pub const TIMES: u64 = QUESTIONS as u64;

/// All work, in the order in which it is done.
pub const NAMES: [&str; 11] = [
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
}

fn counted(work: &mut dyn FnMut()) {
    work();
    privatelink_dns_counted(black_box(work));
}

/// What callgrind counts: it knows the function by its name.
#[unsafe(no_mangle)]
#[inline(never)]
fn privatelink_dns_counted(work: &mut dyn FnMut()) {
    work();
}
