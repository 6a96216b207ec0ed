//! From a master file to the changes that make a zone hold what it says.

use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;

use super::change::Change;
use super::error::ZoneError;
use super::master_file::MasterFile;
use super::origin::Origin;
use super::served::ZoneHeader;
use super::slot::Offer;
use super::snapshot::Snapshot;
use crate::dns::{Name, RecordSet, RecordType, Ttl};

/// The least lifetime and the data of a set's lines.
type Lines<'f> = (Ttl, SmallVec<[&'f [u8]; 1]>);

/// The changes after which the zone's records of origin `File` are those of `file`, and no others.
pub fn changes_of_file(
    file: &MasterFile,
    header: ZoneHeader,
    snapshot: &Snapshot,
) -> Result<Vec<Change>, ZoneError> {
    let mut sets: HashMap<(&Name, RecordType), Lines<'_>> = HashMap::with_capacity(file.entries.len());
    for entry in &file.entries {
        let set = sets.entry((&entry.owner, entry.rtype));
        let (ttl, data) = set.or_insert_with(|| (entry.ttl, SmallVec::new()));
        // RFC 2181 §5.2: a set has one lifetime.
        *ttl = (*ttl).min(entry.ttl);
        data.push(&entry.data);
    }
    let zone = header.apex.clone();
    let mut changes = Vec::with_capacity(sets.len() + 1);
    if let Some(old) = snapshot.zone(zone.borrow()) {
        for (owner, node) in old.nodes() {
            let name = owner.to_name();
            for slot in node.slots() {
                let rtype = slot.rtype();
                let from_file = slot.offers().iter().any(|offer| offer.origin == Origin::File);
                if from_file && !sets.contains_key(&(&name, rtype)) {
                    let (zone, name, origin) = (zone.clone(), name.clone(), Origin::File);
                    changes.push(Change::Remove { zone, name, rtype, origin });
                }
            }
        }
    }
    if snapshot.zone(zone.borrow()).is_none_or(|old| *old.header() != header) {
        changes.push(Change::SetZone(header));
    }
    for ((name, rtype), (ttl, data)) in sets {
        let set = RecordSet::new(rtype, ttl, data)
            .map_err(|_| ZoneError::SetTooLarge { name: name.clone(), rtype })?;
        let (zone, name, offer) = (zone.clone(), name.clone(), Offer { set, origin: Origin::File });
        changes.push(Change::Put { zone, name, offer });
    }
    Ok(changes)
}

/// What takes back operators' records that cannot stand beside what the file says: with them the two are no zone.
pub fn changes_that_make_room(file: &MasterFile, snapshot: &Snapshot) -> Vec<Change> {
    let Some(zone) = snapshot.zone(file.apex.borrow()) else { return Vec::new() };
    let (mut aliases, mut others, mut dnames) = (HashSet::new(), HashSet::new(), HashSet::new());
    for entry in &file.entries {
        match entry.rtype {
            RecordType::CNAME => aliases.insert(&entry.owner),
            rtype if !rtype.is_beside_cname() => others.insert(&entry.owner),
            _ => false,
        };
        if entry.rtype == RecordType::DNAME {
            dnames.insert(&entry.owner);
        }
    }
    let is_below = |name: &Name| dnames.iter().any(|dname| *dname != name && name.is_within(dname));
    let is_above = |name: &Name| {
        let mut owners = file.entries.iter().map(|entry| &entry.owner);
        owners.any(|owner| owner != name && owner.is_within(name))
    };
    let mut changes = Vec::new();
    for (owner, node) in zone.nodes() {
        let name = &owner.to_name();
        for slot in node.slots() {
            let rtype = slot.rtype();
            if !slot.offers().iter().any(|offer| offer.origin == Origin::Rest) {
                continue;
            }
            let is_in_the_way = match rtype {
                // RFC 1034 §3.6.2
                RecordType::CNAME => others.contains(name),
                // RFC 6672 §2.4
                RecordType::DNAME => aliases.contains(name) || is_above(name),
                rtype => !rtype.is_beside_cname() && aliases.contains(name),
            };
            if is_in_the_way || is_below(name) {
                let (zone, name) = (file.apex.clone(), name.clone());
                changes.push(Change::Remove { zone, name, rtype, origin: Origin::Rest });
            }
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::ChangeSet;
    use super::*;

    fn load(text: &str, old: &Snapshot) -> Snapshot {
        let apex: Name = "z.".parse().unwrap();
        let file = MasterFile::parse(text, Path::new("z.zone"), &apex).unwrap();
        let changes = changes_of_file(&file, ZoneHeader::plain(apex), old).unwrap();
        ChangeSet { changes }.apply(old).unwrap().0
    }

    #[test]
    fn a_file_read_again_takes_away_what_it_no_longer_says() {
        const SOA: &str = "@ 60 SOA a b 5 1 1 1 1\n";
        let old =
            load(&format!("{SOA}x 60 A 10.0.0.1\nx 30 A 10.0.0.2\ny 60 A 10.0.0.3\n"), &Snapshot::default());
        let zone = old.zone("z.".parse::<Name>().unwrap().borrow()).unwrap();
        assert_eq!((zone.serial(), zone.content()), (5, 2));
        let new = load(&format!("{SOA}x 60 A 10.0.0.1\n"), &old);
        let zone = new.zone("z.".parse::<Name>().unwrap().borrow()).unwrap();
        assert_eq!((zone.serial(), zone.content()), (6, 1));
        let same = load(&format!("{SOA}x 60 A 10.0.0.1\n"), &new);
        assert_eq!(same.zone("z.".parse::<Name>().unwrap().borrow()).unwrap().serial(), 6);
    }

    #[test]
    fn operators_records_make_room_for_a_file_that_contradicts_them() {
        const SOA: &str = "@ 60 SOA a b 5 1 1 1 1\n";
        let apex: Name = "z.".parse().unwrap();
        let base = load(SOA, &Snapshot::default());
        let rest = |owner: &str, rtype: RecordType, data: &str| {
            let data = crate::dns::rdata::from_text(rtype, data, apex.borrow()).unwrap();
            let set = RecordSet::new(rtype, Ttl::from_secs(60).unwrap(), [data]).unwrap();
            let name = Name::parse(owner, apex.borrow()).unwrap();
            Change::Put { zone: apex.clone(), name, offer: Offer { set, origin: Origin::Rest } }
        };
        let changes = vec![
            rest("www", RecordType::A, "10.0.0.1"),
            rest("alias", RecordType::CNAME, "www"),
            rest("x.tree", RecordType::A, "10.0.0.2"),
            rest("other", RecordType::A, "10.0.0.3"),
            rest("own", RecordType::DNAME, "elsewhere."),
        ];
        let old = ChangeSet { changes }.apply(&base).unwrap().0;
        let says = |text: &str| {
            let file = MasterFile::parse(&format!("{SOA}{text}"), Path::new("z.zone"), &apex).unwrap();
            let mut changes = changes_that_make_room(&file, &old);
            let mut gone: Vec<String> = changes
                .iter()
                .map(|change| match change {
                    Change::Remove { name, rtype, .. } => format!("{name} {rtype}"),
                    other => panic!("{other:?}"),
                })
                .collect();
            gone.sort();
            // What is left is a zone.
            changes.extend(changes_of_file(&file, ZoneHeader::plain(apex.clone()), &old).unwrap());
            ChangeSet { changes }.apply(&old).unwrap();
            gone
        };
        assert_eq!(says("other 60 A 10.0.0.9\nother 60 TXT t\nq 60 CNAME alias\n"), [""; 0]);
        assert_eq!(says("www 60 CNAME other\n"), ["www.z. A"]);
        assert_eq!(says("alias 60 TXT t\n"), ["alias.z. CNAME"]);
        assert_eq!(says("tree 60 DNAME elsewhere.\n"), ["x.tree.z. A"]);
        assert_eq!(says("deep.own 60 A 10.0.0.4\n"), ["own.z. DNAME"]);
    }
}
