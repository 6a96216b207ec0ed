//! Our own questions that come back to us: told by their case, or found out by a probe.

use std::fmt::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::case::Case;
use super::counters::count;
use super::inflight::Flight;
use super::race::DEADLINE;
use super::settings::Asked;
use super::{Forwarder, Protocol, Query, Upstream};
use crate::dns::{Name, NameBuf, QueryFlags, Question, RecordType};

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
        count(&self.counters.loops);
        if upstream.health.loops(Instant::now()) {
            warn!(
                forward.upstream = %upstream.address,
                "Forwarding loop: a question to upstream {} came back to us", upstream.address
            );
        }
    }

    /// The upstream that we sent exactly this question to.
    fn sender_of(&self, raw_question: &[u8]) -> Option<Arc<Upstream>> {
        let (name, end) = NameBuf::read_plain(raw_question, 0).ok()?;
        let rtype = raw_question.get(end..end + 2)?;
        let question =
            Question { name: name.to_name(), rtype: RecordType(u16::from_be_bytes([rtype[0], rtype[1]])) };
        if let Some(upstream) = self.probes.sender_of(&question.name) {
            return Some(upstream);
        }
        // On its way the question may have lost or gained DO and CD.
        [(false, false), (true, false), (false, true), (true, true)].into_iter().find_map(
            |(dnssec_ok, checking_disabled)| {
                let flags = QueryFlags { dnssec_ok, checking_disabled };
                let asked = Asked { question: question.clone(), flags };
                self.inflight.find(&asked)?.sender_of(raw_question)
            },
        )
    }

    /// Someone asks what is in flight. If it is our own question in a case we cannot know it by, a probe will tell.
    pub(super) fn suspect_loop(self: &Arc<Self>, flight: &Flight) {
        let now = Instant::now();
        for upstream in flight.unrecognisable() {
            if upstream.health.take_loop_probe(now) {
                tokio::spawn(self.clone().probe_loop(upstream));
            }
        }
    }

    async fn probe_loop(self: Arc<Self>, upstream: Arc<Upstream>) {
        let Some(probe) = self.probes.add(&upstream) else { return };
        count(&self.counters.loop_probes);
        let question = Question { name: probe.name.clone(), rtype: RecordType::A };
        let mut query = Query::new(&question, QueryFlags::default(), true, Case::Plain);
        let sent = self.send(&upstream, &mut query, Protocol::Udp);
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
