//! "No such name", which upstream says of a name and not of a type (RFC 2308 §5): one word answers all types.
//!
//! It says nothing of the names below (RFC 8020 is not applied).

use super::{End, UpstreamReply};
use crate::dns::{Name, Rcode, RecordType};

/// The type that it is kept under: one that is never asked for (RFC 9824 §3.5).
pub(super) const KEPT_UNDER: RecordType = RecordType::NXNAME;

/// Whether a reply says that its chain ends at a name that does not exist.
fn is_denial(reply: &UpstreamReply) -> bool {
    reply.rcode == Rcode::NXDOMAIN && reply.end == End::Negative
}

/// Whether a reply denies the name to a question of this type, and to all other types that this holds for.
pub(super) fn holds_for(reply: &UpstreamReply, rtype: RecordType) -> bool {
    is_denial(reply)
        && match rtype {
            // RFC 4035 §3.1.4.1: the parent answers for it, and may be another server that knows less.
            RecordType::DS => false,
            // RFC 2181 §10.1, RFC 4035 §2.5: these do not follow an alias.
            RecordType::CNAME | RecordType::ANY | RecordType::RRSIG | RecordType::NSEC => {
                reply.answer.is_empty()
            }
            _ => true,
        }
}

/// What a reply says of the name at the end of its aliases, if it comes by any.
pub(super) fn of_end(reply: &UpstreamReply) -> Option<(Name, UpstreamReply)> {
    let alias = reply.answer.iter().rfind(|record| record.rtype == RecordType::CNAME)?;
    let denial = UpstreamReply { answer: Vec::new(), ..reply.clone() };
    Some((alias.target()?.to_name(), denial))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::{Duration, Instant};

    use super::super::{Cache, Lookup, Settings};
    use super::*;
    use crate::dns::{ExtendedError, NameRef, QueryFlags, Question, Record, Ttl, rdata};

    const NONE: QueryFlags = QueryFlags { dnssec_ok: false, checking_disabled: false };
    const TYPES: [RecordType; 5] =
        [RecordType::A, RecordType::AAAA, RecordType::HTTPS, RecordType::TXT, RecordType::CNAME];

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn record(owner: &str, rtype: RecordType, data: &str) -> Record {
        let data = rdata::from_text(rtype, data, NameRef::ROOT).unwrap().into();
        Record { owner: name(owner), rtype, ttl: Ttl::from_secs(60).unwrap(), data }
    }

    fn reply(rcode: Rcode, end: End, answer: Vec<Record>) -> UpstreamReply {
        let authority = vec![record("x.", RecordType::SOA, "a. b. 1 2 3 4 60")];
        UpstreamReply { rcode, authenticated: false, answer, authority, end, extended_error: None }
    }

    fn denied(aliases: &[(&str, &str)]) -> UpstreamReply {
        let alias = |(owner, target): &(&str, &str)| record(owner, RecordType::CNAME, target);
        reply(Rcode::NXDOMAIN, End::Negative, aliases.iter().map(alias).collect())
    }

    struct Bed {
        cache: Cache,
        now: Instant,
    }

    impl Bed {
        fn new() -> Bed {
            Bed { cache: Cache::new(Settings::default()), now: Instant::now() }
        }

        fn put(&self, of: &str, rtype: RecordType, reply: UpstreamReply) {
            self.cache.put(&Question { name: name(of), rtype }, NONE, Arc::new(reply), self.now);
        }

        fn get(&self, of: &str, rtype: RecordType) -> Lookup {
            self.cache.get(name(of).borrow(), rtype, NONE, self.now)
        }

        fn rcode(&self, of: &str, rtype: RecordType) -> Option<Rcode> {
            match self.get(of, rtype) {
                Lookup::Fresh(hit) => Some(hit.reply.rcode),
                Lookup::Stale { .. } | Lookup::Miss => None,
            }
        }
    }

    #[test]
    fn a_name_that_is_missing_is_missing_for_all_types_and_says_nothing_of_those_below() {
        let bed = Bed::new();
        bed.put("gone.x.", RecordType::A, denied(&[]));
        for rtype in TYPES {
            assert_eq!(bed.rcode("gone.x.", rtype), Some(Rcode::NXDOMAIN), "{rtype}");
        }
        assert_eq!(bed.rcode("gone.x.", RecordType::ANY), Some(Rcode::NXDOMAIN));
        assert_eq!(bed.rcode("gone.x.", RecordType::DS), None);
        assert_eq!(bed.rcode("a.gone.x.", RecordType::A), None);
        let proven = QueryFlags { dnssec_ok: true, checking_disabled: false };
        let asked = bed.cache.get(name("gone.x.").borrow(), RecordType::A, proven, bed.now);
        assert!(matches!(asked, Lookup::Miss));
        assert_eq!(bed.cache.len(), 1);
    }

    #[test]
    fn what_the_parent_says_of_ds_is_not_said_of_the_name() {
        let bed = Bed::new();
        bed.put("corp.x.", RecordType::DS, denied(&[]));
        assert_eq!(bed.rcode("corp.x.", RecordType::DS), Some(Rcode::NXDOMAIN));
        assert_eq!(bed.rcode("corp.x.", RecordType::A), None);
    }

    #[test]
    fn at_the_end_of_aliases_the_name_there_is_missing_and_the_first_is_an_alias_still() {
        let bed = Bed::new();
        bed.put("a.x.", RecordType::A, denied(&[("a.x.", "b.x."), ("b.x.", "c.x.")]));
        let Lookup::Fresh(hit) = bed.get("a.x.", RecordType::AAAA) else { panic!("it is kept") };
        assert_eq!((hit.reply.rcode, hit.reply.answer.len()), (Rcode::NXDOMAIN, 2));
        for rtype in [RecordType::CNAME, RecordType::ANY, RecordType::RRSIG] {
            assert_eq!(bed.rcode("a.x.", rtype), None, "{rtype}");
        }
        let Lookup::Fresh(hit) = bed.get("c.x.", RecordType::CNAME) else { panic!("it is kept") };
        assert_eq!((hit.reply.rcode, hit.reply.answer.len()), (Rcode::NXDOMAIN, 0));
        assert_eq!(bed.rcode("b.x.", RecordType::A), None);
    }

    #[test]
    fn the_last_word_counts() {
        let bed = Bed::new();
        let data = || reply(Rcode::NOERROR, End::Data, vec![record("a.x.", RecordType::A, "10.0.0.1")]);
        bed.put("a.x.", RecordType::A, data());
        bed.put("a.x.", RecordType::A, denied(&[]));
        assert_eq!(bed.rcode("a.x.", RecordType::A), Some(Rcode::NXDOMAIN));
        let Lookup::Fresh(denial) = bed.get("a.x.", RecordType::TXT) else { panic!("it is kept") };
        bed.put("a.x.", RecordType::A, data());
        assert_eq!(bed.rcode("a.x.", RecordType::A), Some(Rcode::NOERROR));
        assert_eq!(bed.rcode("a.x.", RecordType::TXT), None);
        // Answers that were made of it end, too.
        assert!(!denial.life.is_usual(bed.now));
        // What another type has is good until it ends.
        bed.put("a.x.", RecordType::AAAA, denied(&[]));
        assert_eq!(bed.rcode("a.x.", RecordType::A), Some(Rcode::NOERROR));
        assert_eq!(bed.rcode("a.x.", RecordType::TXT), Some(Rcode::NXDOMAIN));
        // One without an SOA is not kept, and ends what was.
        let unkept = UpstreamReply { authority: Vec::new(), ..denied(&[]) };
        bed.put("a.x.", RecordType::A, unkept);
        assert_eq!(bed.rcode("a.x.", RecordType::A), None);
        assert!(bed.cache.is_empty());
    }

    #[test]
    fn it_answers_stale_while_upstream_fails_and_a_failure_does_not_take_its_place() {
        let mut bed = Bed::new();
        bed.put("gone.x.", RecordType::A, denied(&[]));
        bed.now += Duration::from_secs(61);
        assert!(matches!(bed.get("gone.x.", RecordType::AAAA), Lookup::Stale { recheck: true, .. }));
        bed.put(
            "gone.x.",
            RecordType::AAAA,
            UpstreamReply::failure(Rcode::SERVFAIL, ExtendedError::new(22, "down")),
        );
        assert!(matches!(bed.get("gone.x.", RecordType::AAAA), Lookup::Stale { recheck: false, .. }));
        assert!(bed.cache.fallback(name("gone.x.").borrow(), RecordType::TXT, NONE, bed.now).is_some());
        assert_eq!(bed.cache.len(), 1);
    }

    #[test]
    fn a_failure_that_is_kept_gives_way_to_it() {
        let bed = Bed::new();
        bed.put(
            "gone.x.",
            RecordType::A,
            UpstreamReply::failure(Rcode::SERVFAIL, ExtendedError::new(22, "down")),
        );
        assert_eq!(bed.rcode("gone.x.", RecordType::A), Some(Rcode::SERVFAIL));
        bed.put("gone.x.", RecordType::AAAA, denied(&[]));
        assert_eq!(bed.rcode("gone.x.", RecordType::A), Some(Rcode::NXDOMAIN));
    }
}
