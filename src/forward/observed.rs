//! What is told of exchanges with upstreams to those who want to know.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::{Protocol, Rule};
use crate::dns::Name;
use crate::observe::{Event, Kind, Seen, Tap, Transport};

/// An exchange under way. It is told when it ends, and if nothing came of it, without a reply.
pub(super) struct Observed {
    tap: Arc<Tap>,
    event: Event,
    query: Vec<u8>,
    zone: Option<Name>,
    is_told: bool,
}

impl Observed {
    /// Begins to observe the exchange that a query is sent for, if anybody wants to know.
    pub fn begin(
        tap: &Arc<Tap>,
        (upstream, protocol): (SocketAddr, Protocol),
        rule: Option<&Rule>,
        query: &[u8],
        asked: Instant,
    ) -> Option<Observed> {
        tap.is_on().then(|| Observed {
            tap: Arc::clone(tap),
            event: event(None, upstream, protocol, asked),
            query: query.to_vec(),
            zone: rule.map(|rule| rule.domain.clone()),
            is_told: false,
        })
    }

    /// The query, as it was sent in the end, has this reply.
    pub fn answered(mut self, query: &[u8], reply: &[u8]) {
        self.event.answered = Some(Instant::now().into_std());
        self.tell(query, reply);
        self.is_told = true;
    }

    fn tell(&self, query: &[u8], reply: &[u8]) {
        let zone = self.zone.as_ref().map_or(&[][..], Name::as_wire);
        self.tap.leave(Seen { event: &self.event, query, reply, zone });
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        if !self.is_told {
            self.tell(&self.query, &[]);
        }
    }
}

/// Tells of a query over UDP that an upstream of a rule answered at once; `local` looks up where it was sent from.
pub(super) fn tell_answer(
    tap: &Tap,
    (upstream, rule): (SocketAddr, &Rule),
    (query, reply): (&[u8], &[u8]),
    (asked, answered): (Instant, Instant),
    local: impl FnOnce() -> Option<SocketAddr>,
) {
    if tap.is_on() {
        let event = event(local(), upstream, Protocol::Udp, asked);
        let event = Event { answered: Some(answered.into_std()), ..event };
        tap.leave(Seen { event: &event, query, reply, zone: rule.domain.as_wire() });
    }
}

fn event(from: Option<SocketAddr>, to: SocketAddr, protocol: Protocol, asked: Instant) -> Event {
    Event {
        kind: Kind::Forwarder,
        transport: match protocol {
            Protocol::Udp => Transport::Udp,
            Protocol::Tcp => Transport::Tcp,
            Protocol::Tls => Transport::Tls,
        },
        from: from.map(Into::into),
        to: Some(to.into()),
        asked: asked.into_std(),
        answered: None,
    }
}
