use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use parking_lot::Mutex;

use super::super::scripted::{Said, Scripted, Seen, record, settings};
use super::*;
use crate::cache::End;
use crate::dns::edns::ReplyEdns;
use crate::dns::{Flags, Rcode, Record, RecordType, ReplyWriter, Section};

/// Knows some servers, and counts who is looked up.
#[derive(Default)]
struct Book {
    addresses: BTreeMap<String, IpAddr>,
    looked_up: Mutex<Vec<String>>,
}

impl ServerAddresses for Book {
    fn addresses(
        self: Arc<Self>,
        server: Name,
        _: Quest,
    ) -> Pin<Box<dyn Future<Output = Vec<IpAddr>> + Send>> {
        let server = server.to_string();
        let found = self.addresses.get(&server).copied().into_iter().collect();
        self.looked_up.lock().push(server);
        Box::pin(async move { found })
    }
}

fn cut(domain: &str, servers: &[(&str, &[&str])]) -> Cut {
    let servers = servers.iter().map(|(name, addresses)| NameServer {
        name: name.parse().unwrap(),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
    });
    Cut { domain: domain.parse().unwrap(), servers: servers.collect(), seen_by: None }
}

fn referral(seen: &Seen, servers: &[String], glue: &[String]) -> Said {
    let mut buffer = vec![0; 4096];
    let mut writer = ReplyWriter::new(&mut buffer, 4096, &seen.message.raw_question).unwrap();
    for (section, records) in [(Section::Authority, servers), (Section::Additional, glue)] {
        for record in records.iter().map(|text| record(text)) {
            let Record { owner, rtype, ttl, data } = &record;
            writer.record(section, owner.borrow(), *rtype, ttl.secs(), data).unwrap();
        }
    }
    let length = writer.finish(seen.message.id, Flags::QR, Rcode::NOERROR, Some(&ReplyEdns::default()));
    buffer.truncate(length);
    Said::Reply(buffer)
}

async fn ask(forwarder: &Arc<Forwarder>, cut: &Cut, name: &str, book: &Arc<Book>) -> Outcome {
    let question = Question { name: name.parse().unwrap(), rtype: RecordType::A };
    let delegation = forwarder.delegation(cut.clone());
    let (flags, quest) = (QueryFlags::default(), Quest::new());
    forwarder.ask_delegated(delegation, question, flags, book.clone(), quest, Asker::Server).await
}

fn why(outcome: &Outcome) -> String {
    assert_eq!((outcome.reply.rcode, &outcome.reply.end), (Rcode::SERVFAIL, &End::Failed));
    outcome.reply.extended_error.as_ref().unwrap().text.to_string()
}

#[tokio::test(start_paused = true)]
async fn two_hundred_who_ask_the_same_are_answered_by_one_query_without_rd() {
    let script = Scripted::new(|seen| {
        let answer = seen.answer(Rcode::NOERROR, &["a.sub.x. 60 A 10.0.0.1"], &[]);
        Said::After(Duration::from_millis(20), answer)
    });
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.9"])]));
    let (cut, book) = (cut("sub.x.", &[("ns.sub.x.", &["10.0.0.1"])]), Arc::default());
    let mut asks = JoinSet::new();
    for _ in 0..200 {
        let (forwarder, cut, book) = (forwarder.clone(), cut.clone(), Arc::clone(&book));
        asks.spawn(async move { ask(&forwarder, &cut, "a.sub.x.", &book).await });
    }
    assert!(asks.join_all().await.iter().all(|outcome| outcome.reply.end == End::Data));
    let seen = script.seen();
    assert_eq!(seen.len(), 1);
    assert!(!seen[0].message.flags.has(Flags::RD));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_is_remembered_for_all_delegations_to_it() {
    let script = Scripted::new(|seen| match seen.last_byte() {
        1 => Said::Silence,
        _ => Said::Reply(seen.answer(Rcode::NOERROR, &[&format!("{} 60 A 10.9.9.9", seen.name())], &[])),
    });
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.9"])]));
    let book = Arc::default();
    let servers: &[(&str, &[&str])] = &[("ns1.y.", &["10.0.0.1"]), ("ns2.y.", &["10.0.0.2"])];
    for (name, domain) in [("a.one.x.", "one.x."), ("b.one.x.", "one.x.")] {
        ask(&forwarder, &cut(domain, servers), name, &book).await;
    }
    let start = Instant::now();
    let outcome = ask(&forwarder, &cut("two.x.", servers), "a.two.x.", &book).await;
    assert_eq!((outcome.reply.end.clone(), start.elapsed()), (End::Data, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_referral_with_fifty_servers_elsewhere_has_few_looked_up() {
    let script = Scripted::new(|seen| {
        let servers: Vec<String> = (0..50).map(|n| format!("deep.sub.x. 60 NS n{n}.victim.")).collect();
        referral(seen, &servers[..20], &[])
    });
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.9"])]));
    let (cut, book) = (cut("sub.x.", &[("ns.sub.x.", &["10.0.0.1"])]), Arc::<Book>::default());
    let said = why(&ask(&forwarder, &cut, "a.deep.sub.x.", &book).await);
    assert!(said.starts_with("name servers of deep.sub.x.: no address is known of n0.victim."), "{said}");
    assert_eq!(book.looked_up.lock().len(), LOOKED_UP_MAX);
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_way_down_without_end_ends() {
    // Each server refers to the next label.
    let script = Scripted::new(|seen| {
        let name: Name = seen.name().parse().unwrap();
        let labels = usize::from(seen.last_byte()) + 3;
        let domain = name.borrow().trim_to(labels).unwrap().to_name();
        referral(
            seen,
            &[format!("{domain} 60 NS ns.{domain}")],
            &[format!("ns.{domain} 60 A 10.0.0.{}", seen.last_byte() + 1)],
        )
    });
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.99"])]));
    let (cut, book) = (cut("sub.x.", &[("ns.sub.x.", &["10.0.0.0"])]), Arc::default());
    let name = format!("{}sub.x.", "a.".repeat(40));
    let said = why(&ask(&forwarder, &cut, &name, &book).await);
    assert!(said.contains("they lie more than 8 referrals below the zone"), "{said}");
    assert_eq!(script.seen().len(), LEVELS_MAX);
}

#[tokio::test(start_paused = true)]
async fn who_is_elsewhere_sends_us_to_nobody_on_this_host() {
    for (by, is_asked) in [("10.0.0.1", false), ("127.0.0.1", true)] {
        let script = Scripted::new(move |seen| match seen.upstream.ip().to_string() == by {
            true => referral(
                seen,
                &["deep.sub.x. 60 NS ns.deep.sub.x.".to_owned()],
                &["ns.deep.sub.x. 60 A 127.0.0.53".to_owned()],
            ),
            false => Said::Reply(seen.answer(Rcode::NOERROR, &["a.deep.sub.x. 60 A 10.0.0.1"], &[])),
        });
        let forwarder = script.forwarder(settings(&[(".", &["10.0.0.9"])]));
        let (cut, book) = (cut("sub.x.", &[("ns.sub.x.", &[by])]), Arc::default());
        let outcome = ask(&forwarder, &cut, "a.deep.sub.x.", &book).await;
        assert_eq!(outcome.reply.end == End::Data, is_asked, "{by}");
        assert_eq!(script.seen().len(), 1 + usize::from(is_asked));
    }
}

#[tokio::test(start_paused = true)]
async fn servers_elsewhere_are_asked_when_those_with_glue_are_down() {
    let script = Scripted::new(|seen| match seen.last_byte() {
        1 => Said::Silence,
        _ => Said::Reply(seen.answer(Rcode::NOERROR, &[&format!("{} 60 A 10.9.9.9", seen.name())], &[])),
    });
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.9"])]));
    let addresses = [("ns.y.".to_owned(), "10.0.0.2".parse().unwrap())].into();
    let book = Arc::new(Book { addresses, ..Book::default() });
    let cut = cut("sub.x.", &[("ns.sub.x.", &["10.0.0.1"]), ("ns.y.", &[])]);
    let mut ends = Vec::new();
    for name in ["a.sub.x.", "b.sub.x.", "c.sub.x."] {
        ends.push(ask(&forwarder, &cut, name, &book).await.reply.end.clone());
    }
    assert_eq!(ends.last(), Some(&End::Data), "{ends:?}");
}
