//! Pages of the cache for operators, in an order that outlasts the request.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::key::{Manner, Respondent};
use super::store::{Cache, Listed};
use crate::dns::{Name, NameRef, QueryFlags, Question, RecordType};

/// Where an entry stands among others: by name, type, what the query asked and of whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub name: Name,
    pub rtype: RecordType,
    dnssec_ok: bool,
    checking_disabled: bool,
    of: Respondent,
}

impl Cursor {
    pub fn new(name: Name, rtype: RecordType, manner: Manner) -> Cursor {
        let Manner { flags: QueryFlags { dnssec_ok, checking_disabled }, of } = manner;
        Cursor { name, rtype, dnssec_ok, checking_disabled, of }
    }
}

impl Listed {
    /// Where it stands.
    pub fn place(&self) -> Cursor {
        Cursor::new(self.question.name.clone(), self.question.rtype, self.manner)
    }
}

impl Cache {
    /// The first usable entries at `name` and below it that come behind a place. It looks at all there are and holds
    /// no more than `limit`.
    pub fn page(&self, name: NameRef<'_>, after: Option<&Cursor>, limit: usize, now: Instant) -> Vec<Listed> {
        let mut first: BTreeMap<Cursor, Listed> = BTreeMap::new();
        for (key, entry) in self.entries.iter() {
            if !key.name.borrow().is_within(name) || !entry.is_usable(now) {
                continue;
            }
            let place = Cursor::new(key.name.clone(), key.rtype, key.manner);
            let is_beyond =
                first.len() >= limit && first.last_key_value().is_none_or(|(last, _)| place > *last);
            if is_beyond || after.is_some_and(|after| place <= *after) {
                continue;
            }
            let listed = Listed {
                question: Question { name: key.name, rtype: key.rtype },
                manner: key.manner,
                reply: entry.reply.clone(),
                age_secs: entry.life.age_secs(now),
                fresh_secs: entry.life.expires.saturating_duration_since(now).as_secs() as u32,
            };
            first.insert(place, listed);
            if first.len() > limit {
                first.pop_last();
            }
        }
        first.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{End, Settings, UpstreamReply};
    use super::*;
    use crate::dns::{Rcode, Record, Ttl};

    #[test]
    fn pages_are_in_order_and_none_is_left_out() {
        let (cache, now) = (Cache::new(Settings::default()), Instant::now());
        for number in 0..50 {
            let name: Name = format!("n{number:02}.x.").parse().unwrap();
            for rtype in [RecordType::A, RecordType::AAAA] {
                let (owner, ttl) = (name.clone(), Ttl::from_secs(60).unwrap());
                let answer = vec![Record { owner, rtype, ttl, data: vec![1; 4].into() }];
                let (rcode, authority) = (Rcode::NOERROR, Vec::new());
                let reply = UpstreamReply {
                    rcode,
                    authenticated: false,
                    answer,
                    authority,
                    end: End::Data,
                    extended_error: None,
                };
                let question = Question { name: name.clone(), rtype };
                cache.put(&question, QueryFlags::default(), Arc::new(reply), now);
            }
        }
        let below: Name = "x.".parse().unwrap();
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = cache.page(below.borrow(), after.as_ref(), 7, now);
            assert!(page.len() <= 7);
            let Some(last) = page.last() else { break };
            after = Some(last.place());
            seen.extend(page.iter().map(Listed::place));
        }
        assert_eq!(seen.len(), 100);
        assert!(seen.is_sorted_by(|one, other| one < other));
        let other: Name = "y.".parse().unwrap();
        assert!(cache.page(other.borrow(), None, 7, now).is_empty());
        assert!(cache.page(below.borrow(), None, 0, now).is_empty());
    }
}
