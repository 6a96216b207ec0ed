use std::collections::HashSet;
use std::net::UdpSocket;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::race::PATIENCE;
use super::super::scripted::{question, settings};
use super::super::sockets::{NEAR_MISSES_MAX, PORT_LIFE, QUERIES_AT_ONCE_MAX, QUERIES_PER_PORT};
use super::super::{Counters, Settings};
use super::*;
use crate::cache::{self, Cache, End, Lookup};
use crate::dns::Rcode;
use crate::telemetry::Counter;

mod entropy;

const NAME: &str = "account.blob.core.windows.net.";

/// A lane, its forwarder and the upstream that this asks.
struct Bed {
    lane: Lane<usize>,
    forwarder: Arc<Forwarder>,
    upstream: UdpSocket,
    address: SocketAddr,
}

impl Bed {
    fn new() -> Bed {
        Bed::with(|_| {})
    }

    fn with(change: impl Fn(&mut Settings)) -> Bed {
        let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = upstream.local_addr().unwrap();
        let mut settings = settings(&[(".", &[&address.to_string()])]);
        change(&mut settings);
        let forwarder = Forwarder::new(settings, Arc::new(Cache::new(cache::Settings::default())));
        upstream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Bed { lane: Lane::new(Handle::current()).unwrap(), forwarder, upstream, address }
    }

    /// On a port that is free for both protocols.
    async fn with_tcp() -> (Bed, TcpListener) {
        loop {
            let bed = Bed::new();
            if let Ok(listener) = TcpListener::bind(bed.address).await {
                return (bed, listener);
            }
        }
    }

    fn begin(&mut self, name: &str, pending: usize) -> Result<(), usize> {
        let question = question(name);
        let (forwarder, now) = (self.forwarder.clone(), Instant::now());
        self.lane.begin(&forwarder, question, QueryFlags::default(), (pending, Asker::Server), now)
    }

    fn ask(&mut self, name: &str) {
        self.begin(name, 1).unwrap();
        self.lane.send(Instant::now());
    }

    /// The next query at the upstream, and the port it came from.
    fn seen(&self) -> (Vec<u8>, SocketAddr) {
        let mut query = vec![0; 512];
        let (length, port) = self.upstream.recv_from(&mut query).expect("a query comes");
        query.truncate(length);
        (query, port)
    }

    fn say(&self, reply: &[u8], port: SocketAddr) {
        self.upstream.send_to(reply, port).unwrap();
    }

    /// The next question that is done with.
    async fn next_returned(&mut self) -> Returned<usize> {
        self.until(|bed| bed.lane.has_returned()).await;
        self.lane.next_returned().unwrap()
    }

    async fn until(&mut self, is: impl Fn(&Bed) -> bool) {
        let began = std::time::Instant::now();
        while !is(self) {
            self.lane.receive(Instant::now());
            assert!(began.elapsed() < Duration::from_secs(10), "it comes within ten seconds");
            tokio::task::yield_now().await;
        }
    }

    fn counted(&self, counter: impl Fn(&Counters) -> &Counter) -> u64 {
        counter(&self.forwarder.counters).value()
    }

    fn open_ports(&self) -> usize {
        self.lane.ports.iter().flatten().count()
    }
}

/// A reply to a query: `10.0.0.9` for its name.
fn answer(query: &[u8]) -> Vec<u8> {
    let mut reply = query[..query.len() - 11].to_vec();
    (reply[2], reply[7], reply[11]) = (reply[2] | 0x80, 1, 0);
    reply.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x09");
    reply
}

fn outcome(returned: Returned<usize>) -> Outcome {
    let Said::Outcome(outcome) = returned.said else { panic!("it was handed over") };
    outcome
}

fn awaited(returned: Returned<usize>) -> Awaited {
    let Said::Awaited(awaited) = returned.said else { panic!("it was answered") };
    awaited
}

#[tokio::test]
async fn a_thousand_questions_are_answered_from_many_ports_with_ids_of_their_own() {
    let mut bed = Bed::new();
    let (mut ports, mut ids, mut bits) = (HashSet::new(), HashSet::new(), (0, 0));
    let mut answered = HashSet::new();
    for round in 0..20 {
        for index in 0..50 {
            bed.begin(&format!("n{round}-{index}.x."), round * 50 + index).unwrap();
        }
        bed.lane.send(Instant::now());
        let mut seen: Vec<_> = (0..50).map(|_| bed.seen()).collect();
        seen.reverse();
        for (query, port) in seen {
            let id = u16::from_be_bytes([query[0], query[1]]);
            bits = (bits.0 | port.port(), bits.1 | id);
            ports.insert(port.port());
            ids.insert(id);
            bed.say(&answer(&query), port);
        }
        for _ in 0..50 {
            let returned = bed.next_returned().await;
            answered.insert(returned.pending);
            assert_eq!(returned.name, question(&format!("n{round}-{}.x.", returned.pending % 50)).name);
            assert_eq!(outcome(returned).reply.answer.len(), 1);
        }
    }
    assert_eq!(answered.len(), 1000);
    assert!(ports.len() >= 1000 / QUERIES_PER_PORT, "{}", ports.len());
    assert!(ids.len() > 950, "{}", ids.len());
    assert_eq!(bits, (0xFFFF, 0xFFFF));
    assert!(bed.lane.is_idle() && bed.forwarder.questions_in_flight() == 0);
    assert_eq!((bed.counted(|it| &it.questions), bed.counted(|it| &it.queries)), (1000, 1000));
    assert_eq!(bed.forwarder.health()[0].queries, 1000);
}

#[tokio::test]
async fn no_port_takes_more_than_its_share_and_each_ends_with_its_time() {
    let mut bed = Bed::new();
    for round in 0..10 {
        // No more than the upstream's socket holds.
        for index in 0..100 {
            bed.begin(&format!("n{round}-{index}.x."), index).unwrap();
        }
        bed.lane.send(Instant::now());
        assert!(bed.lane.ports.iter().flatten().all(|port| port.sent.len() <= QUERIES_PER_PORT));
        let mut at_once: HashMap<SocketAddr, usize> = HashMap::new();
        let seen: Vec<_> = (0..100).map(|_| bed.seen()).collect();
        for (query, port) in seen {
            *at_once.entry(port).or_default() += 1;
            bed.say(&answer(&query), port);
        }
        assert!(at_once.values().all(|count| *count <= QUERIES_AT_ONCE_MAX), "{at_once:?}");
        for _ in 0..100 {
            bed.next_returned().await;
        }
    }
    // A port is used up before many others are opened.
    let opened = bed.counted(|it| &it.sockets_opened) as usize;
    assert!(opened < 1000 / QUERIES_PER_PORT + 2 * PORTS_TO_CHOOSE_FROM, "{opened}");
    // The full ones are closed; those with room wait for more.
    bed.lane.look(Instant::now() + PATIENCE);
    assert!(bed.open_ports() > 0 && bed.open_ports() < opened);
    assert!(bed.lane.ports.iter().flatten().all(|port| port.sent.len() < QUERIES_PER_PORT));
    bed.lane.look(Instant::now() + PORT_LIFE + PATIENCE);
    assert_eq!(bed.open_ports(), 0);
    assert!(bed.lane.look_at().is_none());
    let ports = bed.forwarder.transport.ports().unwrap();
    assert_eq!(ports.count_of_open(), 0);
}

/// Eight questions from one port, as they came to the upstream.
fn eight_from_one_port(bed: &mut Bed) -> (Vec<Vec<u8>>, SocketAddr) {
    for index in 0..QUERIES_AT_ONCE_MAX {
        bed.begin(&format!("n{index}.{NAME}"), index).unwrap();
    }
    bed.lane.send(Instant::now());
    let seen: Vec<_> = (0..QUERIES_AT_ONCE_MAX).map(|_| bed.seen()).collect();
    let port = seen[0].1;
    assert!(seen.iter().all(|(_, of)| *of == port));
    (seen.into_iter().map(|(query, _)| query).collect(), port)
}

/// A reply whose id is none of the queries'.
fn of_no_query(queries: &[Vec<u8>]) -> Vec<u8> {
    let mut stranger = answer(&queries[0]);
    while queries.iter().any(|query| query[..2] == stranger[..2]) {
        stranger[1] = stranger[1].wrapping_add(1);
    }
    stranger
}

#[tokio::test]
async fn a_stranger_is_passed_over_and_its_port_takes_no_more_queries() {
    let mut bed = Bed::new();
    let (queries, port) = eight_from_one_port(&mut bed);
    bed.say(&of_no_query(&queries), port);
    // From another address: the kernel lets it through to nobody.
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&answer(&queries[0]), port).unwrap();
    bed.say(b"x", port);
    for query in &queries {
        bed.say(&answer(query), port);
    }
    for _ in &queries {
        assert_eq!(outcome(bed.next_returned().await).reply.answer.len(), 1);
    }
    assert_eq!((bed.counted(|it| &it.near_misses), bed.counted(|it| &it.tcp_queries)), (2, 0));
    let name: crate::dns::Name = format!("n0.{NAME}").parse().unwrap();
    let found =
        bed.forwarder.cache.get(name.borrow(), question(NAME).rtype, QueryFlags::default(), Instant::now());
    assert!(matches!(found, Lookup::Fresh(_)));
    // It is closed, for nobody waits there.
    assert_eq!(bed.open_ports(), 0);
}

#[tokio::test]
async fn only_the_question_that_a_stranger_met_goes_over_tcp() {
    // No reply, another name, another type.
    for (at, bit) in [(2, 0x80), (15, 1), (12 + 3 + NAME.len() + 2, 1)] {
        let (mut bed, listener) = Bed::with_tcp().await;
        let (queries, port) = eight_from_one_port(&mut bed);
        let mut stranger = answer(&queries[3]);
        stranger[at] ^= bit;
        bed.say(&stranger, port);
        let returned = bed.next_returned().await;
        assert_eq!(returned.pending, 3);
        let (moved, ()) = tokio::join!(awaited(returned).outcome(), answer_one(&listener));
        assert_eq!(moved.reply.end, End::Data);
        for query in queries.iter().enumerate().filter(|(index, _)| *index != 3).map(|(_, query)| query) {
            bed.say(&answer(query), port);
            assert_eq!(outcome(bed.next_returned().await).reply.answer.len(), 1);
        }
        assert_eq!((bed.counted(|it| &it.near_misses), bed.counted(|it| &it.tcp_queries)), (1, 1));
        assert!(bed.lane.is_idle() && bed.open_ports() == 0);
    }
}

#[tokio::test]
async fn a_second_reply_is_known_for_a_late_one() {
    let mut bed = Bed::new();
    bed.ask(NAME);
    let (query, port) = bed.seen();
    bed.say(&answer(&query), port);
    outcome(bed.next_returned().await);
    bed.say(&answer(&query), port);
    bed.until(|bed| bed.counted(|it| &it.late_replies) == 1).await;
    assert!(!bed.lane.has_returned() && bed.counted(|it| &it.near_misses) == 0);
}

#[tokio::test]
async fn a_reply_in_another_case_proves_itself_over_tcp_first() {
    let (mut bed, listener) = Bed::with_tcp().await;
    bed.ask(NAME);
    let (query, port) = bed.seen();
    let mut lowered = answer(&query);
    lowered[12..12 + NAME.len()].make_ascii_lowercase();
    bed.say(&lowered, port);
    let awaited = awaited(bed.next_returned().await);
    let (outcome, ()) = tokio::join!(awaited.outcome(), answer_one(&listener));
    assert_eq!(outcome.reply.end, End::Data);
    assert_eq!((bed.counted(|it| &it.case_mismatches), bed.counted(|it| &it.tcp_queries)), (1, 1));
    assert_eq!(bed.forwarder.questions_in_flight(), 0);
}

async fn answer_one(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut query = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut query).await.unwrap();
    let reply = answer(&query);
    stream.write_u16(reply.len() as u16).await.unwrap();
    stream.write_all(&reply).await.unwrap();
}

#[tokio::test]
async fn a_truncated_reply_is_fetched_over_tcp() {
    let (mut bed, listener) = Bed::with_tcp().await;
    bed.ask(NAME);
    let (query, port) = bed.seen();
    let mut reply = answer(&query);
    reply[2] |= 0x02;
    bed.say(&reply, port);
    let awaited = awaited(bed.next_returned().await);
    let (outcome, ()) = tokio::join!(awaited.outcome(), answer_one(&listener));
    assert_eq!(outcome.reply.end, End::Data);
    // The question was counted once, and each of its queries.
    assert_eq!((bed.counted(|it| &it.questions), bed.counted(|it| &it.queries)), (1, 2));
}

#[tokio::test]
async fn too_many_strangers_send_the_questions_of_their_port_over_tcp() {
    let (mut bed, listener) = Bed::with_tcp().await;
    let (queries, port) = eight_from_one_port(&mut bed);
    let stranger = of_no_query(&queries);
    for _ in 0..NEAR_MISSES_MAX {
        bed.say(&stranger, port);
    }
    bed.until(|bed| bed.counted(|it| &it.near_misses) == u64::from(NEAR_MISSES_MAX)).await;
    bed.ask("other.x.");
    let (other, of_other) = bed.seen();
    assert!(of_other != port && !bed.lane.has_returned());
    bed.say(&stranger, port);
    let answering = tokio::spawn(async move {
        loop {
            answer_one(&listener).await;
        }
    });
    for _ in &queries {
        assert_eq!(awaited(bed.next_returned().await).outcome().await.reply.end, End::Data);
    }
    answering.abort();
    let (strangers, over_tcp) = (u64::from(NEAR_MISSES_MAX) + 1, queries.len() as u64);
    assert_eq!((bed.counted(|it| &it.near_misses), bed.counted(|it| &it.tcp_queries)), (strangers, over_tcp));
    // Nobody listens to UDP for them any more, and the other is none of them.
    bed.say(&answer(&other), of_other);
    outcome(bed.next_returned().await);
    assert!(bed.lane.is_idle());
}

#[tokio::test]
async fn a_failure_goes_the_long_way_and_is_told() {
    let mut bed = Bed::new();
    bed.ask(NAME);
    let (query, port) = bed.seen();
    let mut reply = query.clone();
    (reply[2], reply[3]) = (reply[2] | 0x80, 5);
    bed.say(&reply, port);
    let outcome = awaited(bed.next_returned().await).outcome().await;
    assert_eq!((&outcome.reply.end, outcome.reply.rcode), (&End::Failed, Rcode::SERVFAIL));
    assert!(outcome.reply.extended_error.as_ref().unwrap().text.ends_with("answered REFUSED"));
    assert_eq!((bed.counted(|it| &it.queries), bed.counted(|it| &it.upstream_failures)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_reply_after_the_lanes_patience_is_heard() {
    let mut bed = Bed::new();
    let start = Instant::now();
    bed.ask(NAME);
    let (query, port) = bed.seen();
    bed.lane.look(Instant::now());
    assert!(!bed.lane.has_returned());
    tokio::time::advance(PATIENCE).await;
    bed.lane.look(Instant::now());
    let awaited = awaited(bed.next_returned().await);
    assert!(!bed.lane.is_idle());
    bed.say(&answer(&query), port);
    bed.until(|bed| bed.lane.is_idle()).await;
    let outcome = awaited.outcome().await;
    assert_eq!((&outcome.reply.end, outcome.stale), (&End::Data, None));
    assert_eq!(start.elapsed(), PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn a_dead_upstream_costs_no_more_than_a_question_may_take() {
    let mut bed = Bed::new();
    let start = Instant::now();
    bed.ask(NAME);
    tokio::time::advance(PATIENCE).await;
    bed.lane.look(Instant::now());
    let outcome = awaited(bed.next_returned().await).outcome().await;
    assert_eq!(outcome.reply.end, End::Failed);
    assert_eq!(start.elapsed(), Duration::from_millis(1800));
    // The lane's query is one of the three that an upstream gets, besides our own question.
    let queries = bed.counted(|it| &it.queries) - bed.counted(|it| &it.checkups);
    assert_eq!((queries, bed.counted(|it| &it.timeouts)), (3, 3));
    // The flight is over: nobody listens any more.
    bed.lane.look(Instant::now());
    assert!(bed.lane.is_idle());
}

#[tokio::test]
async fn a_question_in_a_lane_is_followed_and_one_in_flight_is_not_asked_by_a_lane() {
    let mut bed = Bed::new();
    bed.ask(NAME);
    assert_eq!(bed.begin(NAME, 7), Err(7));
    let followers: Vec<_> = (0..20)
        .map(|_| {
            let forwarder = bed.forwarder.clone();
            tokio::spawn(
                async move { forwarder.ask(question(NAME), QueryFlags::default(), Asker::Server).await },
            )
        })
        .collect();
    bed.until(|bed| bed.counted(|it| &it.coalesced) == 20).await;
    let (query, port) = bed.seen();
    bed.say(&answer(&query), port);
    let first = outcome(bed.next_returned().await);
    for follower in followers {
        assert!(Arc::ptr_eq(&follower.await.unwrap().reply, &first.reply));
    }
    assert_eq!(bed.counted(|it| &it.queries), 1);
    // The other way round.
    let forwarder = bed.forwarder.clone();
    let flight = tokio::spawn(async move {
        forwarder.ask(question("other.x."), QueryFlags::default(), Asker::Server).await
    });
    bed.until(|bed| bed.forwarder.questions_in_flight() == 1).await;
    assert_eq!(bed.begin("other.x.", 8), Err(8));
    flight.abort();
}

#[tokio::test]
async fn followers_of_a_question_that_is_handed_over_are_answered_too() {
    let mut bed = Bed::new();
    bed.ask(NAME);
    let forwarder = bed.forwarder.clone();
    let follower =
        tokio::spawn(
            async move { forwarder.ask(question(NAME), QueryFlags::default(), Asker::Server).await },
        );
    bed.until(|bed| bed.counted(|it| &it.coalesced) == 1).await;
    let (query, port) = bed.seen();
    let mut reply = query.clone();
    (reply[2], reply[3]) = (reply[2] | 0x80, 2);
    bed.say(&reply, port);
    let outcome = awaited(bed.next_returned().await).outcome().await;
    assert!(Arc::ptr_eq(&follower.await.unwrap().reply, &outcome.reply));
    assert_eq!(outcome.reply.rcode, Rcode::SERVFAIL);
}

#[tokio::test]
async fn a_full_table_takes_no_more() {
    let mut bed = Bed::with(|settings| settings.questions_in_flight_max = 2);
    assert_eq!((bed.begin("a.", 1), bed.begin("b.", 2), bed.begin("c.", 3)), (Ok(()), Ok(()), Err(3)));
    assert_eq!(bed.counted(|it| &it.questions), 2);
}

#[tokio::test]
async fn beyond_the_upstreams_bound_a_question_goes_the_long_way() {
    let mut bed = Bed::with(|settings| settings.rules[0].queries_per_second_max = Some(1));
    bed.begin("a.", 1).unwrap();
    bed.begin("b.", 2).unwrap();
    let returned = bed.next_returned().await;
    assert_eq!(returned.pending, 2);
    let reply = awaited(returned).outcome().await.reply;
    assert!(reply.extended_error.as_ref().unwrap().text.starts_with("more than 1 queries a second"));
    assert_eq!((bed.counted(|it| &it.shed_rate), bed.counted(|it| &it.queries)), (1, 0));
}

#[tokio::test]
async fn upstreams_that_are_not_well_are_asked_the_long_way() {
    let mut bed = Bed::with(|settings| settings.rules[0].upstreams.push("127.0.0.1:9".parse().unwrap()));
    let now = Instant::now();
    let [first, second] = &bed.forwarder.rules.of(crate::dns::NameRef::ROOT).unwrap().upstreams[..] else {
        panic!("two upstreams")
    };
    let (first, second) = (first.clone(), second.clone());
    bed.begin("a.", 1).unwrap();
    second.health.missed_checkup(now, now);
    assert_eq!(bed.begin("b.", 2), Err(2));
    second.health.answered(now);
    bed.begin("c.", 3).unwrap();
    first.health.loops(now);
    assert_eq!(bed.begin("d.", 4), Err(4));
}

#[tokio::test]
async fn our_own_question_that_comes_back_is_known_before_a_lane_asks_it() {
    let mut bed = Bed::new();
    bed.ask(NAME);
    let (query, _) = bed.seen();
    let (forwarder, raw) = (bed.forwarder.clone(), &query[12..query.len() - 11]);
    assert!(forwarder.is_own_question(raw));
    assert!(looks_own(&forwarder, raw) && !looks_own(&forwarder, &raw.to_ascii_lowercase()));
}

#[tokio::test]
async fn what_a_successor_took_over_is_answered_and_not_kept() {
    let mut bed = Bed::new();
    bed.ask(NAME);
    let successor =
        bed.forwarder.with_settings(bed.forwarder.settings().clone(), bed.forwarder.cache.clone());
    bed.forwarder.retire();
    let (query, port) = bed.seen();
    bed.say(&answer(&query), port);
    assert_eq!(outcome(bed.next_returned().await).reply.end, End::Data);
    assert!(bed.forwarder.cache.is_empty());
    // The same ports serve the successor.
    bed.forwarder = successor;
    bed.ask(NAME);
    let (query, port) = bed.seen();
    bed.say(&answer(&query), port);
    outcome(bed.next_returned().await);
    assert!(!bed.forwarder.cache.is_empty());
}

#[tokio::test]
async fn a_lane_that_ends_leaves_nothing_in_flight() {
    let mut bed = Bed::new();
    bed.ask(NAME);
    let forwarder = bed.forwarder.clone();
    let follower =
        tokio::spawn(
            async move { forwarder.ask(question(NAME), QueryFlags::default(), Asker::Server).await },
        );
    bed.until(|bed| bed.counted(|it| &it.coalesced) == 1).await;
    let Bed { lane, forwarder, .. } = bed;
    drop(lane);
    assert_eq!(follower.await.unwrap().reply.end, End::Failed);
    assert_eq!(forwarder.questions_in_flight(), 0);
    assert_eq!(forwarder.transport.ports().unwrap().count_of_open(), 0);
}
