//! Our own questions that come back to us: told by their case, or found out by a probe.

use std::fmt::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::asker::Asker;
use super::case::Case;
use super::inflight::Flight;
use super::race::{DEADLINE, PATIENCE};
use super::settings::Asked;
use super::{Forwarder, Query, Upstream};
use crate::dns::{Name, QueryFlags, Question, RawQuestion, RecordType};

/// The domain of probes; `.invalid` is nobody's (RFC 6761 §6.4).
const PROBE_DOMAIN: &str = "loop.privatelink-dns.invalid.";

/// Probes in flight; there is one for an upstream in ten seconds.
const PROBES_MAX: usize = 64;

/// The probes in flight.
#[derive(Default)]
pub struct Probes {
    sent: Mutex<Vec<(Name, Arc<Upstream>)>>,
}

impl Forwarder {
    /// Whether a question section, as a listener received it, is one that we have in flight: it went in a circle.
    ///
    /// Ask this before special names are answered: probes lie in `.invalid`.
    pub fn is_own_question(&self, raw_question: &[u8]) -> bool {
        self.sender_of(raw_question).is_some()
    }

    /// Notes that such a question came back: the upstream it went to is left alone for a while.
    pub fn note_loop(&self, raw_question: &[u8]) {
        let Some(upstream) = self.sender_of(raw_question) else { return };
        self.counters.loops.add(1);
        if upstream.health.loops(Instant::now()) {
            warn!(
                forward.upstream = %upstream.address,
                "Forwarding loop: a question to upstream {} came back to us", upstream.address
            );
        }
    }

    /// The upstream that we sent exactly this question to.
    fn sender_of(&self, raw_question: &[u8]) -> Option<Arc<Upstream>> {
        let question = RawQuestion::read(raw_question, 0)?.to_question();
        if let Some(upstream) = self.probes.sender_of(&question.name) {
            return Some(upstream);
        }
        // On its way the question may have lost or gained DO and CD.
        [(false, false), (true, false), (false, true), (true, true)].into_iter().find_map(
            |(dnssec_ok, checking_disabled)| {
                let flags = QueryFlags { dnssec_ok, checking_disabled };
                let asked = Asked::by_rules(question.clone(), flags);
                self.inflight.find(&asked)?.sender_of(raw_question)
            },
        )
    }

    /// Someone asks what is in flight. If it is our own question in a case we cannot know it by, a probe will tell.
    // What is answered soon does not loop; so that many who ask at once make no probe.
    pub(super) fn suspect_loop(self: &Arc<Self>, flight: &Flight) {
        let now = Instant::now();
        if now < flight.started + PATIENCE {
            return;
        }
        for upstream in flight.unrecognisable() {
            if upstream.health.take_loop_probe(now) {
                tokio::spawn(self.clone().probe_loop(upstream));
            }
        }
    }

    async fn probe_loop(self: Arc<Self>, upstream: Arc<Upstream>) {
        let Some(probe) = self.probes.add(&upstream) else { return };
        self.counters.loop_probes.add(1);
        let question = Question { name: probe.name.clone(), rtype: RecordType::A };
        let mut query = Query::new(&question, QueryFlags::default(), true, Case::Plain);
        let sent = self.send(&upstream, None, &mut query, upstream.address.protocol(), Asker::Server);
        // Whatever is answered: what counts is whether the probe comes back meanwhile.
        let _ = timeout_at(Instant::now() + DEADLINE, sent).await;
    }
}

impl Probes {
    fn sender_of(&self, name: &Name) -> Option<Arc<Upstream>> {
        let sent = self.sent.lock();
        sent.iter().find(|(probe, _)| probe == name).map(|(_, upstream)| upstream.clone())
    }

    fn add(&self, upstream: &Arc<Upstream>) -> Option<Probe<'_>> {
        let mut text = String::new();
        for byte in rand::random::<[u8; 16]>() {
            write!(text, "{byte:02x}").ok()?;
        }
        let name: Name = format!("{text}.{PROBE_DOMAIN}").parse().ok()?;
        let mut sent = self.sent.lock();
        if sent.len() >= PROBES_MAX {
            return None;
        }
        sent.push((name.clone(), upstream.clone()));
        Some(Probe { probes: self, name })
    }
}

/// A probe in flight; dropped, it is one no more.
struct Probe<'p> {
    probes: &'p Probes,
    name: Name,
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        self.probes.sent.lock().retain(|(name, _)| *name != self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::scripted::{Said, Scripted, ask, question, settings};
    use super::super::{Protocol, Standing};
    use super::*;
    use crate::dns::Rcode;

    const NAME: &str = "account.blob.core.windows.net.";

    async fn until_sent(script: &Scripted, queries: usize) {
        while script.seen().len() < queries {
            tokio::time::advance(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_comes_back_is_known_and_its_upstream_is_left_alone() {
        let script = Scripted::new(|_| Said::Silence);
        let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
        let asking = forwarder.clone();
        let asking = tokio::spawn(async move { ask(&asking, NAME).await });
        until_sent(&script, 1).await;
        let sent = script.seen()[0].message.raw_question.clone();
        assert!(forwarder.is_own_question(&sent));
        assert!(!forwarder.is_own_question(&sent.to_ascii_lowercase()));
        assert!(!forwarder.is_own_question(&sent[..sent.len() - 5]) && !forwarder.is_own_question(b""));
        forwarder.note_loop(&sent);
        let reply = asking.await.unwrap().reply;
        let why = "forwarding loop: our question came back to us; upstream 10.0.0.1 leads back here";
        assert_eq!(reply.extended_error.as_ref().unwrap().text, why);
        assert!(!forwarder.is_own_question(&sent));
        assert_eq!(forwarder.counters.loops.value(), 1);

        let (start, queries) = (Instant::now(), script.seen().len());
        let reply = ask(&forwarder, "another.").await.reply;
        assert_eq!(reply.extended_error.as_ref().unwrap().text, why);
        assert_eq!((start.elapsed(), script.seen().len()), (Duration::ZERO, queries));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_ne!(forwarder.health()[0].standing, Standing::Looping);
    }

    #[tokio::test(start_paused = true)]
    async fn who_guesses_the_case_of_a_question_does_not_make_it_ours() {
        let script = Scripted::new(|_| Said::Silence);
        let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
        let asking = forwarder.clone();
        let asking = tokio::spawn(async move { ask(&asking, NAME).await });
        until_sent(&script, 1).await;
        let sent = script.seen()[0].message.raw_question.clone();
        let mut guess = sent.clone();
        let letter = guess.iter().position(u8::is_ascii_alphabetic).unwrap();
        guess[letter] ^= 0x20;
        // A client that asks in lower case guesses nothing.
        assert!(!forwarder.is_own_question(&sent.to_ascii_lowercase()) && forwarder.is_own_question(&sent));
        assert!(!forwarder.is_own_question(&guess));
        assert!(!forwarder.is_own_question(&sent));
        // Were it a loop all the same, a probe would tell; it is sent when the question has waited for a while.
        until_sent(&script, 2).await;
        forwarder.prefetch(question(NAME), QueryFlags::default());
        until_sent(&script, 3).await;
        assert!(script.seen()[2].name().ends_with(".loop.privatelink-dns.invalid."));
        asking.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_through_a_server_that_loses_case_is_found_by_a_probe() {
        // With few letters their random case would be lower case by chance.
        const LONG: &str = "plain-and-long-enough-that-no-case-is-kept-by-chance.x.";
        let script = Scripted::new(|seen| match seen.name().starts_with("plain") {
            true => {
                let mut reply = seen.answer(Rcode::NOERROR, &[&format!("{LONG} 60 A 10.0.0.1")], &[]);
                reply[12..12 + LONG.len() + 1].make_ascii_lowercase();
                Said::Reply(reply)
            }
            false => Said::Silence,
        });
        let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
        while script.seen().last().is_none_or(|seen| seen.protocol == Protocol::Udp) {
            ask(&forwarder, LONG).await;
        }
        let queries = script.seen().len();
        let asking = forwarder.clone();
        let first = tokio::spawn(async move { ask(&asking, NAME).await });
        until_sent(&script, queries + 1).await;
        assert!(!forwarder.is_own_question(&script.seen()[queries].message.raw_question));
        // The question comes back and joins itself, and so does its repetition.
        forwarder.prefetch(question(NAME), QueryFlags::default());
        assert_eq!(script.seen().len(), queries + 1);
        until_sent(&script, queries + 2).await;
        forwarder.prefetch(question(NAME), QueryFlags::default());
        forwarder.prefetch(question(NAME), QueryFlags::default());
        until_sent(&script, queries + 3).await;
        let probe = script.seen()[queries + 2].message.raw_question.clone();
        assert!(script.seen()[queries + 2].name().ends_with(".loop.privatelink-dns.invalid."));
        assert!(forwarder.is_own_question(&probe));
        forwarder.note_loop(&probe);
        let reply = first.await.unwrap().reply;
        assert!(reply.extended_error.as_ref().unwrap().text.starts_with("forwarding loop"));
        assert_eq!(forwarder.counters.loop_probes.value(), 1);
        tokio::time::sleep(DEADLINE).await;
        assert!(!forwarder.is_own_question(&probe));
    }

    #[tokio::test(start_paused = true)]
    async fn another_upstream_answers_when_the_first_leads_back() {
        let script = Scripted::new(|seen| match seen.last_byte() {
            1 => Said::Silence,
            _ => Said::Reply(seen.answer(Rcode::NOERROR, &[&format!("{NAME} 60 A 10.0.0.9")], &[])),
        });
        let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1", "10.0.0.2"])]));
        let asking = forwarder.clone();
        let asking = tokio::spawn(async move { ask(&asking, NAME).await });
        until_sent(&script, 1).await;
        forwarder.note_loop(&script.seen()[0].message.raw_question);
        assert_eq!(asking.await.unwrap().upstream.unwrap().to_string(), "10.0.0.2");
    }
}
