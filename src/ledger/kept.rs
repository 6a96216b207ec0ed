//! The record sets of one zone as operators wrote them, as dense as the zone itself keeps them.

use std::collections::BTreeMap;

use crate::dns::{Name, NameBuf, RecordSet, RecordType};
use crate::zone::NameTrie;

/// Owner and type.
pub type SetKey = (Name, RecordType);

/// A record set and the revision that last changed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub set: RecordSet,
    pub revision: u64,
}

/// The record sets of one zone by owner and type.
pub(super) struct KeptSets {
    apex: Name,
    sets: NameTrie<AtName>,
    /// Names outside the zone, which only who edits the database by hand can write; they are never served.
    strays: BTreeMap<SetKey, Kept>,
    count: usize,
}

/// Most names have one type, which lies in place.
#[derive(Clone)]
enum AtName {
    One(Kept),
    Many(Vec<Kept>),
}

impl AtName {
    fn of(mut all: Vec<Kept>) -> AtName {
        match (all.pop(), all.is_empty()) {
            (Some(sole), true) => AtName::One(sole),
            (last, _) => {
                all.extend(last);
                AtName::Many(all)
            }
        }
    }

    fn sets(&self) -> &[Kept] {
        match self {
            AtName::One(kept) => std::slice::from_ref(kept),
            AtName::Many(all) => all,
        }
    }

    fn of_type(&self, rtype: RecordType) -> Option<&Kept> {
        self.sets().iter().find(|kept| kept.set.rtype == rtype)
    }

    /// Takes the set of a type out.
    fn without(&self, rtype: RecordType) -> Vec<Kept> {
        self.sets().iter().filter(|kept| kept.set.rtype != rtype).cloned().collect()
    }
}

impl KeptSets {
    pub(super) fn new(apex: Name) -> KeptSets {
        KeptSets { apex, sets: NameTrie::default(), strays: BTreeMap::new(), count: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn get(&self, name: &Name, rtype: RecordType) -> Option<&Kept> {
        match name.borrow().strip_suffix(self.apex.borrow()) {
            Some(front) => self.sets.get(front)?.of_type(rtype),
            None => self.strays.get(&(name.clone(), rtype)),
        }
    }

    /// All types of one name.
    pub(super) fn types_of(&self, name: &Name) -> Vec<RecordType> {
        let Some(front) = name.borrow().strip_suffix(self.apex.borrow()) else {
            let strays = self.strays.keys().filter(|(owner, _)| owner == name);
            return strays.map(|(_, rtype)| *rtype).collect();
        };
        let sets = self.sets.get(front).map_or(&[][..], AtName::sets);
        sets.iter().map(|kept| kept.set.rtype).collect()
    }

    /// All of them in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SetKey, &Kept)> {
        let in_zone = self.sets.iter().flat_map(|(front, at)| {
            let name = NameBuf::join(front, self.apex.borrow()).expect("whole names were put in").to_name();
            at.sets().iter().map(move |kept| ((name.clone(), kept.set.rtype), kept))
        });
        in_zone.chain(self.strays.iter().map(|(key, kept)| (key.clone(), kept)))
    }

    pub(super) fn put(&mut self, name: &Name, kept: Kept) {
        let rtype = kept.set.rtype;
        self.count += usize::from(self.get(name, rtype).is_none());
        let Some(front) = name.borrow().strip_suffix(self.apex.borrow()) else {
            self.strays.insert((name.clone(), rtype), kept);
            return;
        };
        let (at, is_new) = self.sets.entry(front, || AtName::One(kept.clone()));
        if !is_new {
            let mut all = at.without(rtype);
            all.push(kept);
            *at = AtName::of(all);
        }
    }

    pub(super) fn remove(&mut self, name: &Name, rtype: RecordType) {
        if self.get(name, rtype).is_none() {
            return;
        }
        self.count -= 1;
        let Some(front) = name.borrow().strip_suffix(self.apex.borrow()) else {
            self.strays.remove(&(name.clone(), rtype));
            return;
        };
        let left = self.sets.get(front).map(|at| at.without(rtype)).unwrap_or_default();
        if left.is_empty() {
            self.sets.remove(front);
        } else {
            *self.sets.entry(front, || AtName::Many(Vec::new())).0 = AtName::of(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{NameRef, Ttl, rdata};

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn kept(rtype: RecordType, data: &str, revision: u64) -> Kept {
        let data = rdata::from_text(rtype, data, NameRef::ROOT).unwrap();
        let set = RecordSet::new(rtype, Ttl::from_secs(60).unwrap(), [data]).unwrap();
        Kept { set, revision }
    }

    #[test]
    fn sets_are_kept_by_owner_and_type_whether_within_the_zone_or_not() {
        let mut sets = KeptSets::new(name("z."));
        for owner in ["z.", "a.z.", "a.elsewhere."] {
            let owner = name(owner);
            sets.put(&owner, kept(RecordType::A, "10.0.0.1", 1));
            sets.put(&owner, kept(RecordType::TXT, "x", 2));
            sets.put(&owner, kept(RecordType::A, "10.0.0.2", 3));
            assert_eq!(sets.get(&owner, RecordType::A), Some(&kept(RecordType::A, "10.0.0.2", 3)));
            let mut types = sets.types_of(&owner);
            types.sort();
            assert_eq!(types, [RecordType::A, RecordType::TXT]);
        }
        let all: Vec<SetKey> = sets.iter().map(|(key, _)| key).collect();
        assert_eq!((sets.len(), all.len()), (6, 6));
        for (owner, rtype) in all {
            sets.remove(&owner, rtype);
            sets.remove(&owner, rtype);
            assert_eq!(sets.get(&owner, rtype), None);
        }
        assert_eq!((sets.len(), sets.iter().count()), (0, 0));
    }
}
