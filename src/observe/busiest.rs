//! The names and clients that most queries are of, for those who look.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::sketch::Sketch;
use super::{Kind, Seen};
use crate::dns::header::HEADER_BYTES;
use crate::dns::{Name, RawQuestion};

/// A share of one in so many queries is certain to be seen.
const COUNTED_MAX: usize = 1024;

/// What is told is of the last such span that is whole, and of what has begun since.
const SPAN: Duration = Duration::from_secs(10);

/// Nothing is counted any more so long after the last look.
const LOOK_LASTS: Duration = Duration::from_secs(60);

/// Most that are told of each.
const TOLD_MAX: usize = 100;

/// What most queries of a while are of.
#[derive(Clone, Default, Debug)]
pub struct Busiest {
    /// How long that while was.
    pub length: Duration,
    /// Queries of clients in it.
    pub queries: u64,
    /// With the number of queries, which is at most a thousandth of all too low; most first.
    pub names: Vec<(Name, u64)>,
    pub clients: Vec<(IpAddr, u64)>,
}

/// Counts while somebody looks.
pub(super) struct Counting {
    looked_at: Instant,
    current: Span,
    /// Of the last whole span.
    last: Option<Busiest>,
}

struct Span {
    began: Instant,
    queries: u64,
    names: Sketch<Name>,
    clients: Sketch<IpAddr>,
}

impl Counting {
    pub fn new(now: Instant) -> Counting {
        Counting { looked_at: now, current: Span::new(now), last: None }
    }

    /// What there is to tell: of the last whole span, or, before there is one, of what has come so far.
    pub fn look(&mut self, now: Instant) -> Busiest {
        self.looked_at = now;
        self.turn(now);
        self.last.clone().unwrap_or_else(|| self.current.told(now))
    }

    /// Whether anybody has looked of late.
    pub fn is_wanted(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.looked_at) < LOOK_LASTS
    }

    /// Begins another span when it is time.
    pub fn turn(&mut self, now: Instant) {
        if now.saturating_duration_since(self.current.began) >= SPAN {
            self.last = Some(self.current.told(now));
            self.current = Span::new(now);
        }
    }

    pub fn take(&mut self, seen: Seen<'_>) {
        let Kind::Client { .. } = seen.event.kind else { return };
        self.current.queries += 1;
        if let Some(asked) = RawQuestion::read(seen.query, HEADER_BYTES) {
            let name = asked.name.to_buf();
            self.current.names.count(name.borrow().as_wire(), || name.to_name());
        }
        if let Some(from) = seen.event.from {
            self.current.clients.count(&from.address, || from.address);
        }
    }
}

impl Span {
    fn new(began: Instant) -> Span {
        Span { began, queries: 0, names: Sketch::new(COUNTED_MAX), clients: Sketch::new(COUNTED_MAX) }
    }

    fn told(&self, now: Instant) -> Busiest {
        Busiest {
            length: now.saturating_duration_since(self.began),
            queries: self.queries,
            names: self.names.top(TOLD_MAX),
            clients: self.clients.top(TOLD_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::made::{event, query};
    use super::super::{Event, Transport};
    use super::*;

    fn take(counting: &mut Counting, event: &Event, name: &str) {
        counting.take(Seen { event, query: &query(name), reply: &[], zone: &[] });
    }

    #[test]
    fn names_and_clients_are_told_of_the_last_whole_span() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut counting = Counting::new(start);
        let event = event();
        let client = event.from.unwrap().address;
        for name in ["a.example.", "b.example.", "B.Example."] {
            take(&mut counting, &event, name);
        }
        // What this server asks is none of a client's.
        take(
            &mut counting,
            &Event { kind: Kind::Forwarder, transport: Transport::Tcp, ..event },
            "c.example.",
        );
        for secs in [1, 10, 19] {
            let told = counting.look(at(secs));
            let names: Vec<(String, u64)> = told.names.iter().map(|(it, n)| (it.to_string(), *n)).collect();
            assert_eq!(names, [("b.example.".to_owned(), 2), ("a.example.".to_owned(), 1)]);
            assert_eq!((told.queries, told.clients), (3, vec![(client, 3)]));
            assert_eq!(told.length, Duration::from_secs(secs.min(10)));
        }
        assert_eq!(counting.look(at(20)).queries, 0);
        assert!(counting.is_wanted(at(79)) && !counting.is_wanted(at(80)));
    }
}
