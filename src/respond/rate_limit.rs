//! Response rate limiting: replies over UDP that look as if they were for somebody else than who asked.
//!
//! A forger of a victim's address has many replies of one kind sent to its network. Beyond a rate most of them stay
//! away, and the others tell a real client how to be believed: over TCP, or by a cookie (RFC 7873 §5.2.3).

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use ipnet::IpNet;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::meter::Meter;
use crate::dns::header::HEADER_BYTES;
use crate::dns::request::RawRecord;
use crate::dns::{ClientHost, ClientNetwork, Flags, NameBuf, RawQuestion, Rcode, RecordType};
use crate::zone::AddressRanges;

/// Bounds of replies and queries a second; zero is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateSettings {
    /// Replies of one kind to one client network, over UDP and without a valid server cookie.
    pub responses_per_second: u32,
    /// Of the replies beyond that, one of so many is sent cut short; zero is none of them.
    pub slip: u32,
    /// Queries of one client address, over whatever.
    pub queries_per_second: u32,
    /// Whom nothing of this binds.
    pub exempt: Vec<IpNet>,
}

impl Default for RateSettings {
    fn default() -> RateSettings {
        RateSettings { responses_per_second: 0, slip: 2, queries_per_second: 0, exempt: Vec::new() }
    }
}

/// How many replies and queries there were of late.
pub struct RateLimit {
    settings: RateSettings,
    exempt: AddressRanges<()>,
    responses: Option<Meter>,
    queries: Option<Meter>,
    /// Replies beyond the bound so far.
    beyond: AtomicU32,
}

/// What is sent in place of a reply beyond the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instead {
    /// TC without records: forgers cannot follow it.
    Cut,
    /// BADCOOKIE: the client has sent a cookie, and shows with ours that it is there.
    BadCookie,
    Nothing,
}

/// What makes replies one of a kind.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Kind {
    /// By their question.
    Question(SmallVec<[u8; 64]>),
    /// Names that do not exist are countless: by the zone that denies them.
    NoSuchName(SmallVec<[u8; 64]>),
    Error(u16),
}

impl RateLimit {
    /// The bounds of settings; none if they have none.
    pub fn new(settings: RateSettings) -> Option<RateLimit> {
        let meter = |per_second| (per_second > 0).then(|| Meter::new(per_second));
        let is_any = settings.responses_per_second > 0 || settings.queries_per_second > 0;
        is_any.then(|| RateLimit {
            exempt: AddressRanges::new(settings.exempt.iter().map(|range| (*range, ()))),
            responses: meter(settings.responses_per_second),
            queries: meter(settings.queries_per_second),
            settings,
            beyond: AtomicU32::new(0),
        })
    }

    pub fn settings(&self) -> &RateSettings {
        &self.settings
    }

    /// Whether a client is bound by nothing of this.
    pub(super) fn exempts(&self, client: IpAddr) -> bool {
        self.exempt.get(client).is_some()
    }

    /// Whether replies are counted.
    pub(super) fn limits_responses(&self) -> bool {
        self.responses.is_some()
    }

    /// Whether a client has asked too much.
    pub(super) fn is_over_quota(&self, client: IpAddr, now: Instant) -> bool {
        self.queries.as_ref().is_some_and(|queries| !queries.take(ClientHost::of(client), now))
    }

    /// What to send in place of a reply; `None` for the reply itself.
    pub(super) fn judge(
        &self,
        client: IpAddr,
        reply: &[u8],
        has_cookie: bool,
        now: Instant,
    ) -> Option<Instead> {
        let key = (ClientNetwork::from(client), Kind::of(reply));
        let is_within = self.responses.as_ref().is_none_or(|responses| responses.take(key, now));
        (!is_within).then(|| self.instead(has_cookie))
    }

    /// What to send in place of a reply beyond a bound.
    pub(super) fn instead(&self, has_cookie: bool) -> Instead {
        let number = self.beyond.fetch_add(1, Ordering::Relaxed);
        match self.settings.slip {
            0 => Instead::Nothing,
            slip if !number.is_multiple_of(slip) => Instead::Nothing,
            _ if has_cookie => Instead::BadCookie,
            _ => Instead::Cut,
        }
    }
}

impl Kind {
    fn of(reply: &[u8]) -> Kind {
        let flags = reply.get(2..4).map_or(Flags(0), |bytes| Flags(u16::from_be_bytes([bytes[0], bytes[1]])));
        let rcode = Rcode(flags.0 & 0x000f);
        let question = RawQuestion::read(reply, HEADER_BYTES).map(|question| question.bytes);
        let lower = |bytes: &[u8]| {
            let mut bytes = SmallVec::from_slice(bytes);
            bytes.make_ascii_lowercase();
            bytes
        };
        match (rcode, question) {
            (Rcode::NOERROR, Some(question)) => Kind::Question(lower(question)),
            (Rcode::NXDOMAIN, Some(question)) => {
                let denier = denier(reply, HEADER_BYTES + question.len());
                Kind::NoSuchName(denier.map(|name| lower(name.borrow().as_wire())).unwrap_or_default())
            }
            _ => Kind::Error(rcode.0),
        }
    }
}

/// The owner of the SOA record by which a zone denies a name (RFC 2308 §3).
fn denier(reply: &[u8], mut at: usize) -> Option<NameBuf> {
    let count = |at: usize| reply.get(at..at + 2).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    for _ in 0..count(6).saturating_add(count(8)) {
        let record = RawRecord::read(reply, at)?;
        if record.rtype == RecordType::SOA {
            return NameBuf::read(reply, at).ok().map(|(owner, _)| owner);
        }
        at = record.end;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dns::{Name, ReplyWriter, Section};

    fn reply(name: &str, rcode: Rcode, zone: Option<&str>) -> Vec<u8> {
        let name: Name = name.parse().unwrap();
        let question = [name.as_wire(), &[0, 1, 0, 1]].concat();
        let mut buffer = vec![0; 512];
        let mut writer = ReplyWriter::new(&mut buffer, 512, &question).unwrap();
        if let Some(zone) = zone {
            let zone: Name = zone.parse().unwrap();
            let data = [&[0, 0][..], &[0; 20]].concat();
            writer.record(Section::Authority, zone.borrow(), RecordType::SOA, 60, &data).unwrap();
        }
        let length = writer.finish(7, Flags::QR, rcode, None);
        buffer.truncate(length);
        buffer
    }

    fn limit(slip: u32) -> RateLimit {
        RateLimit::new(RateSettings { responses_per_second: 5, slip, ..RateSettings::default() }).unwrap()
    }

    fn sent(limit: &RateLimit, client: &str, replies: impl Iterator<Item = Vec<u8>>, now: Instant) -> usize {
        let client = client.parse().unwrap();
        replies.filter(|reply| limit.judge(client, reply, false, now).is_none()).count()
    }

    #[test]
    fn replies_of_one_kind_to_one_network_are_bounded_and_others_are_not() {
        let (limit, now) = (limit(2), Instant::now());
        let same = || (0..20).map(|_| reply("www.corp.example.", Rcode::NOERROR, None));
        assert_eq!(sent(&limit, "10.0.0.1", same(), now), 5);
        assert_eq!(sent(&limit, "10.0.0.200", same(), now), 0);
        assert_eq!(sent(&limit, "10.0.1.1", same(), now), 5);
        let case = (0..20).map(|_| reply("WWW.corp.example.", Rcode::NOERROR, None));
        assert_eq!(sent(&limit, "10.0.0.1", case, now), 0);
        let others = (0..20).map(|number| reply(&format!("www{number}.corp.example."), Rcode::NOERROR, None));
        assert_eq!(sent(&limit, "10.0.0.1", others, now), 20);
        assert_eq!(sent(&limit, "10.0.0.1", same(), now + Duration::from_secs(1)), 5);
    }

    #[test]
    fn names_that_do_not_exist_are_of_one_kind_by_their_zone_and_errors_by_their_code() {
        let (limit, now) = (limit(2), Instant::now());
        let missing = |zone: &'static str| {
            (0..20).map(move |number| reply(&format!("x{number}.{zone}"), Rcode::NXDOMAIN, Some(zone)))
        };
        assert_eq!(sent(&limit, "10.0.0.1", missing("corp.example."), now), 5);
        assert_eq!(sent(&limit, "10.0.0.1", missing("other.example."), now), 5);
        let refused = (0..20).map(|number| reply(&format!("x{number}."), Rcode::REFUSED, None));
        assert_eq!(sent(&limit, "10.0.0.1", refused, now), 5);
    }

    #[test]
    fn of_the_replies_beyond_some_tell_how_to_be_believed() {
        let now = Instant::now();
        for (slip, has_cookie, expected) in
            [(2, false, [5, 10, 0]), (2, true, [5, 0, 10]), (1, false, [5, 20, 0]), (0, true, [5, 0, 0])]
        {
            let limit = limit(slip);
            let mut counts = [0; 3];
            for _ in 0..25 {
                let reply = reply("www.corp.example.", Rcode::NOERROR, None);
                match limit.judge("10.0.0.1".parse().unwrap(), &reply, has_cookie, now) {
                    None => counts[0] += 1,
                    Some(Instead::Cut) => counts[1] += 1,
                    Some(Instead::BadCookie) => counts[2] += 1,
                    Some(Instead::Nothing) => {}
                }
            }
            assert_eq!(counts, expected, "{slip} {has_cookie}");
        }
    }

    #[test]
    fn a_client_has_a_quota_of_its_own() {
        let limit =
            RateLimit::new(RateSettings { queries_per_second: 10, ..RateSettings::default() }).unwrap();
        let now = Instant::now();
        let asked = |client: &str| {
            let client = client.parse().unwrap();
            (0..50).filter(|_| !limit.is_over_quota(client, now)).count()
        };
        assert_eq!((asked("10.0.0.1"), asked("10.0.0.2"), asked("::ffff:10.0.0.1")), (10, 10, 0));
        assert_eq!((asked("fd00::1"), asked("fd00::2")), (10, 0));
        assert!(limit.judge("10.0.0.1".parse().unwrap(), &[], false, now).is_none());
    }
}
