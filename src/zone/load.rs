//! From a master file to the changes that make a zone hold what it says.

use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;

use super::builder::ZoneBuilder;
use super::change::Change;
use super::error::ZoneError;
use super::header::ZoneHeader;
use super::master_file::{Fault, MasterFile, MasterFileError, MasterFileErrors};
use super::network::Networks;
use super::origin::Origin;
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
    let sets = sets_of(file);
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

fn sets_of(file: &MasterFile) -> HashMap<(&Name, RecordType), Lines<'_>> {
    let mut sets: HashMap<(&Name, RecordType), Lines<'_>> = HashMap::with_capacity(file.entries.len());
    for entry in &file.entries {
        let set = sets.entry((&entry.owner, entry.rtype));
        let (ttl, data) = set.or_insert_with(|| (entry.ttl, SmallVec::new()));
        // RFC 2181 §5.2: a set has one lifetime.
        *ttl = (*ttl).min(entry.ttl);
        data.push(&entry.data);
    }
    sets
}

/// All that keeps a file from being a zone of this kind, each with the line that it stands on. It builds the zone again: it is
/// asked only when something is wrong.
pub fn faults_of_file(file: &MasterFile, header: &ZoneHeader) -> Option<MasterFileErrors> {
    let networks = Networks::default();
    // Networks are the config's, and no line's fault.
    let header = ZoneHeader { networks: Vec::new(), ..header.clone() };
    let mut builder = ZoneBuilder::new(header, &networks);
    let mut faults = Vec::new();
    for ((name, rtype), (ttl, data)) in sets_of(file) {
        let too_large = |_| ZoneError::SetTooLarge { name: name.clone(), rtype };
        let put = RecordSet::new(rtype, ttl, data)
            .map_err(too_large)
            .and_then(|set| builder.put(name, Offer { set, origin: Origin::File }));
        faults.extend(put.err());
    }
    faults.extend(builder.faults());
    if faults.is_empty() {
        faults.extend(builder.finish().err());
    }
    let mut faults: Vec<(usize, ZoneError)> =
        faults.into_iter().map(|error| (entry_of(&error, file), error)).collect();
    faults.sort_by_key(|(entry, _)| *entry);
    faults.dedup();
    let is_cut = faults.len() > MasterFileErrors::COUNT_MAX;
    faults.truncate(MasterFileErrors::COUNT_MAX);
    let errors = faults.into_iter().map(|(entry, error)| {
        let entry = file.entries.get(entry);
        let path = entry.or(file.entries.first()).map(|entry| &entry.file).or(file.files.first());
        MasterFileError {
            file: path.map(|path| path.to_path_buf()).unwrap_or_default(),
            line: entry.map(|entry| entry.line),
            fault: Fault::Zone(error),
        }
    });
    let errors: Vec<MasterFileError> = errors.collect();
    (!errors.is_empty()).then_some(MasterFileErrors { errors, is_cut })
}

/// The number of the entry that an error is about; beyond all for one of the whole file.
fn entry_of(error: &ZoneError, file: &MasterFile) -> usize {
    let (name, rtype, nth) = match error {
        ZoneError::CnameBesideData(name) => (name, Some(RecordType::CNAME), 0),
        ZoneError::DsAtApex(name) => (name, Some(RecordType::DS), 0),
        ZoneError::MoreThanOne { name, rtype } => (name, Some(*rtype), 1),
        ZoneError::NotAtApex { name, rtype, .. }
        | ZoneError::BadData { name, rtype }
        | ZoneError::SetTooLarge { name, rtype } => (name, Some(*rtype), 0),
        ZoneError::OutOfZone { name, .. } | ZoneError::BelowDname { name, .. } => (name, None, 0),
        ZoneError::WildcardDelegation(name) => {
            let is_delegation =
                |entry: &&RecordType| matches!(**entry, RecordType::NS | RecordType::SOA | RecordType::DNAME);
            let types = file.entries.iter().filter(|entry| entry.owner == *name).map(|entry| &entry.rtype);
            (name, types.into_iter().find(is_delegation).copied(), 0)
        }
        ZoneError::EmptySet(name) => (name, None, 0),
        ZoneError::NoSoa(_) | ZoneError::NoSuchZone(_) | ZoneError::NoSuchNetwork(..) => {
            return usize::MAX;
        }
    };
    let is_it = |entry: &super::master_file::Entry| {
        entry.owner == *name && rtype.is_none_or(|rtype| entry.rtype == rtype)
    };
    let mut found = file.entries.iter().enumerate().filter(|(_, entry)| is_it(entry));
    found.nth(nth).map_or(usize::MAX, |(number, _)| number)
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
    fn all_that_keeps_a_file_from_being_a_zone_is_listed_with_its_line() {
        let apex: Name = "z.".parse().unwrap();
        let faults = |text: &str| {
            let file = MasterFile::parse(text, Path::new("z.zone"), &apex).unwrap();
            let faults = faults_of_file(&file, &ZoneHeader::plain(apex.clone()));
            faults.map(|faults| faults.to_string()).unwrap_or_default()
        };
        let text = "\
@ 60 SOA a b 5 1 1 1 1
@ DS 1 8 2 aabb
www A 10.0.0.1
www CNAME other
c CNAME a
c CNAME b
x SOA a b 1 1 1 1 1
d DNAME e
q.d A 10.0.0.1
*.w NS ns
";
        assert_eq!(
            faults(text),
            "\
z.zone:2: DS records of z. belong to the zone above it, which delegates to it (RFC 4035 §2.4): write them there
z.zone:4: www.z. has a CNAME record beside other data (RFC 1034 §3.6.2)
z.zone:6: c.z. has more than one CNAME record
z.zone:7: x.z. has a SOA record, which belongs only at the apex z.
z.zone:9: q.d.z. lies below the DNAME record of d.z. (RFC 6672 §2.4)
z.zone:10: *.w.z. is a wildcard and has an NS, SOA or DNAME record, which have no meaning there"
        );
        assert_eq!(faults("a 60 A 10.0.0.1\n"), "zone file z.zone: zone z. has no SOA record");
        assert_eq!(faults("@ 60 SOA a b 5 1 1 1 1\nsub DS 1 8 2 aabb\n"), "");
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
