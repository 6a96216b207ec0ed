//! Zones as master files that read back the same.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;

use crate::dns::{Name, RecordSet, RecordType, Ttl, rdata};

/// Columns that an owner may widen; longer ones push only their own line.
const OWNER_COLUMNS_MAX: usize = 40;

/// Writes record sets relative to their zone's apex: the SOA first, then in canonical order (RFC 4034 §6.1).
pub fn write_master_file(
    apex: &Name,
    sets: impl Iterator<Item = (Name, RecordSet)>,
    out: &mut impl fmt::Write,
) -> fmt::Result {
    let mut sets: Vec<(Name, RecordSet)> = sets.collect();
    sets.sort_by(|(owner, set), (other_owner, other)| {
        let rank = |set: &RecordSet| (set.rtype != RecordType::SOA, set.rtype);
        owner.cmp(other_owner).then_with(|| rank(set).cmp(&rank(other)))
    });
    let default_ttl = commonest_ttl(&sets);
    let owner_columns = sets.iter().map(|(owner, _)| owner_text(owner, apex).len());
    let owner_columns = owner_columns.filter(|columns| *columns <= OWNER_COLUMNS_MAX).max().unwrap_or(0);
    let ttl_columns = sets.iter().map(|(_, set)| ttl_text(set.ttl, default_ttl).len()).max().unwrap_or(0);
    let type_columns = sets.iter().map(|(_, set)| set.rtype.to_string().len()).max().unwrap_or(0);

    writeln!(out, "$ORIGIN {apex}")?;
    if let Some(ttl) = default_ttl {
        writeln!(out, "$TTL {ttl}")?;
    }
    for (owner, set) in &sets {
        let owner = owner_text(owner, apex);
        let ttl = ttl_text(set.ttl, default_ttl);
        let rtype = set.rtype.to_string();
        for record in set.records() {
            // `IN` may be left out, but there are readers that insist on it.
            write!(out, "{owner:owner_columns$} {ttl:ttl_columns$} IN {rtype:type_columns$} ")?;
            writeln!(out, "{}", rdata::to_faithful_text(set.rtype, record))?;
        }
    }
    Ok(())
}

fn owner_text(owner: &Name, apex: &Name) -> String {
    owner.borrow().relative_to(apex.borrow())
}

/// The lifetime that most sets have, so that most lines need not say theirs; of equals the shortest.
fn commonest_ttl(sets: &[(Name, RecordSet)]) -> Option<Ttl> {
    let mut counts: HashMap<Ttl, usize> = HashMap::new();
    sets.iter().for_each(|(_, set)| *counts.entry(set.ttl).or_default() += 1);
    counts.into_iter().max_by_key(|(ttl, count)| (*count, Reverse(*ttl))).map(|(ttl, _)| ttl)
}

fn ttl_text(ttl: Ttl, default_ttl: Option<Ttl>) -> String {
    if Some(ttl) == default_ttl { String::new() } else { ttl.to_string() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::MasterFile;
    use super::*;
    use crate::dns::NameRef;

    type Key = (Name, RecordType);
    type Sets = BTreeMap<Key, RecordSet>;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn set(rtype: &str, ttl: u32, records: &[&str]) -> RecordSet {
        let rtype = rtype.parse().unwrap();
        let data = records.iter().map(|text| rdata::from_text(rtype, text, NameRef::ROOT).unwrap());
        RecordSet::new(rtype, Ttl::from_secs(ttl).unwrap(), data).unwrap()
    }

    fn exported(apex: &Name, sets: impl IntoIterator<Item = (Name, RecordSet)>) -> String {
        let mut text = String::new();
        write_master_file(apex, sets.into_iter(), &mut text).unwrap();
        text
    }

    fn read_back(apex: &Name, text: &str) -> Sets {
        let mut data: BTreeMap<Key, (Ttl, Vec<Vec<u8>>)> = BTreeMap::new();
        for entry in MasterFile::parse(text, Path::new("export"), apex).unwrap().entries {
            let set = data.entry((entry.owner, entry.rtype)).or_insert((entry.ttl, Vec::new()));
            assert_eq!(set.0, entry.ttl);
            set.1.push(entry.data);
        }
        let sets = data.into_iter().map(|((owner, rtype), (ttl, data))| {
            let set = RecordSet::new(rtype, ttl, data).unwrap();
            ((owner, rtype), set)
        });
        sets.collect()
    }

    #[test]
    fn a_zone_is_written_aligned_with_its_soa_first() {
        let apex = name("corp.internal.");
        let text = exported(
            &apex,
            [
                (name("www.corp.internal."), set("A", 300, &["10.0.0.5", "10.0.0.4"])),
                (name("corp.internal."), set("NS", 3600, &["ns.corp.internal."])),
                (name("a.b.corp.internal."), set("TXT", 300, &["\"x; y\" \"\\\"\""])),
                (name("corp.internal."), set("SOA", 300, &["ns.a. host.a. 1 3600 300 2419200 10"])),
                (name("*.b.corp.internal."), set("TYPE65280", 0, &["\\# 2 abcd", "\\# 0"])),
            ],
        );
        assert_eq!(
            text,
            "$ORIGIN corp.internal.\n\
             $TTL 300\n\
             @        IN SOA       ns.a. host.a. 1 3600 300 2419200 10\n\
             @   3600 IN NS        ns.corp.internal.\n\
             *.b 0    IN TYPE65280 \\# 0\n\
             *.b 0    IN TYPE65280 \\# 2 abcd\n\
             a.b      IN TXT       \"x; y\" \"\\\"\"\n\
             www      IN A         10.0.0.4\n\
             www      IN A         10.0.0.5\n"
        );
    }

    #[test]
    fn a_zone_without_records_and_the_root_can_be_written() {
        assert_eq!(exported(&name("a."), []), "$ORIGIN a.\n");
        let sets = [(Name::root(), set("NS", 1, &["a."])), (name("a."), set("A", 1, &["10.0.0.1"]))];
        let text = exported(&Name::root(), sets.clone());
        assert_eq!(read_back(&Name::root(), &text).len(), sets.len());
    }

    #[test]
    fn valid_bytes_that_words_do_not_make_are_written_as_bytes() {
        // `mandatory` out of order, which RFC 9460 §8 forbids writers but our reader of messages lets through.
        let data =
            b"\x00\x01\x00\x00\x00\x00\x04\x00\x03\x00\x01\x00\x01\x00\x03\x02h2\x00\x03\x00\x02\x00\x35";
        assert!(rdata::is_valid(RecordType::HTTPS, data));
        assert!(rdata::to_faithful_text(RecordType::HTTPS, data).starts_with("\\# 24 "));
        assert_eq!(rdata::to_faithful_text(RecordType::CNAME, b"\x03Foo\x00"), "foo.");
    }

    /// A label of any bytes, lower-cased as names are.
    fn label() -> impl Strategy<Value = Vec<u8>> {
        let any_bytes = prop::collection::vec(any::<u8>().prop_map(|byte| byte.to_ascii_lowercase()), 1..8);
        prop_oneof![any_bytes, "[a-z0-9$@*\\-_.\\\\;()\" ]{1,12}".prop_map(String::into_bytes)]
    }

    fn below(apex: Name) -> impl Strategy<Value = Name> {
        prop::collection::vec(label(), 0..4).prop_map(move |labels| {
            labels.iter().fold(apex.clone(), |name, label| name.borrow().child(label).unwrap().to_name())
        })
    }

    fn wire_name() -> impl Strategy<Value = Vec<u8>> {
        below(Name::root()).prop_map(|name| name.as_wire().to_vec())
    }

    fn short_text() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..30).prop_map(|text| [&[text.len() as u8], &text[..]].concat())
    }

    fn bytes(count: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), count)
    }

    /// A type and data valid for it.
    fn typed_data() -> impl Strategy<Value = (RecordType, Vec<u8>)> {
        let of = |rtype: RecordType, data: BoxedStrategy<Vec<u8>>| data.prop_map(move |data| (rtype, data));
        let joined = |(one, other): (Vec<u8>, Vec<u8>)| [one, other].concat();
        let parameters = prop::collection::btree_map(8_u16..0xFFFF, bytes(0..20), 0..4).prop_map(|all| {
            let words = |(key, value): (u16, Vec<u8>)| {
                [&key.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), &value].concat()
            };
            all.into_iter().flat_map(words).collect::<Vec<u8>>()
        });
        let known = prop_oneof![
            of(RecordType::A, bytes(4).boxed()),
            of(RecordType::AAAA, bytes(16).boxed()),
            of(RecordType::CNAME, wire_name().boxed()),
            of(RecordType::MX, (bytes(2), wire_name()).prop_map(joined).boxed()),
            of(RecordType::SRV, (bytes(6), wire_name()).prop_map(joined).boxed()),
            of(
                RecordType::SOA,
                ((wire_name(), wire_name()).prop_map(joined), bytes(20)).prop_map(joined).boxed()
            ),
            of(
                RecordType::TXT,
                prop::collection::vec(short_text(), 1..4).prop_map(|texts| texts.concat()).boxed()
            ),
            of(RecordType::CAA, (Just(b"\x80\x05issue".to_vec()), bytes(0..30)).prop_map(joined).boxed()),
            of(RecordType::DS, bytes(5..40).boxed()),
            of(RecordType::DNSKEY, bytes(5..40).boxed()),
            of(
                RecordType::SVCB,
                ((bytes(2), wire_name()).prop_map(joined), parameters).prop_map(joined).boxed()
            ),
        ];
        let opaque = (256_u16..).prop_map(RecordType).prop_filter("known to the crate", |rtype| {
            rdata::from_text(*rtype, "", NameRef::ROOT) == Err(rdata::RdataError::Opaque(*rtype))
        });
        // The bytes of any type, where they happen to be valid.
        let wild = ((1_u16..128).prop_map(RecordType), bytes(0..12));
        let wild = wild.prop_filter("not valid", |(rtype, data)| {
            !rtype.is_question_only() && rdata::is_valid(*rtype, data)
        });
        prop_oneof![4 => known, 1 => (opaque, bytes(0..50)), 1 => wild]
    }

    proptest! {
        #[test]
        fn what_is_exported_reads_back_the_same(
            records in prop::collection::vec((below(name("corp.internal.")), typed_data(), 0..3_u32), 0..20)
        ) {
            let apex = name("corp.internal.");
            let mut data: BTreeMap<Key, (u32, Vec<Vec<u8>>)> = BTreeMap::new();
            for (owner, (rtype, record), ttl) in records {
                data.entry((owner, rtype)).or_insert((ttl * 0x3FFF_FFFF, Vec::new())).1.push(record);
            }
            let sets: Sets = data.into_iter().map(|(key, (ttl, data))| {
                let ttl = Ttl::from_secs(ttl).unwrap();
                let set = RecordSet::new(key.1, ttl, data).unwrap();
                (key, set)
            }).collect();
            let text = exported(&apex, sets.iter().map(|((owner, _), set)| (owner.clone(), set.clone())));
            prop_assert_eq!(lowered(read_back(&apex, &text)), lowered(sets), "{}", text);
        }
    }

    /// Data of random bytes may hold names in upper case, which are read in lower case.
    fn lowered(sets: Sets) -> Vec<(Name, RecordType, Ttl, Vec<Vec<u8>>)> {
        let lower = |((owner, rtype), set): (Key, RecordSet)| {
            let keeps_case = !matches!(
                rtype.0,
                2..=9 | 12 | 14 | 15 | 17 | 18 | 21 | 26 | 33 | 35 | 36 | 39 | 45 | 58 | 64 | 65 | 107
            );
            let mut data: Vec<Vec<u8>> = set.records().map(<[u8]>::to_vec).collect();
            if !keeps_case {
                data.iter_mut().for_each(|data| data.make_ascii_lowercase());
            }
            data.sort();
            data.dedup();
            (owner, rtype, set.ttl, data)
        };
        sets.into_iter().map(lower).collect()
    }
}
