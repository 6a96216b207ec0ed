//! From a master file to the changes that make a zone hold what it says.

use hashbrown::HashMap;

use super::change::Change;
use super::error::ZoneError;
use super::master_file::MasterFile;
use super::origin::Origin;
use super::served::ZoneHeader;
use super::slot::Offer;
use super::snapshot::Snapshot;
use crate::dns::{Name, RecordSet, RecordType, Ttl};

/// The least lifetime and the data of a set's lines.
type Lines<'f> = (Ttl, Vec<&'f [u8]>);

/// The changes after which the zone's records of origin `File` are those of `file`, and no others.
pub fn changes_of_file(
    file: &MasterFile,
    header: ZoneHeader,
    snapshot: &Snapshot,
) -> Result<Vec<Change>, ZoneError> {
    let mut sets: HashMap<(&Name, RecordType), Lines<'_>> = HashMap::new();
    for entry in &file.entries {
        let (ttl, data) = sets.entry((&entry.owner, entry.rtype)).or_insert_with(|| (entry.ttl, Vec::new()));
        // RFC 2181 §5.2: a set has one lifetime.
        *ttl = (*ttl).min(entry.ttl);
        data.push(&entry.data);
    }
    let zone = header.apex.clone();
    let mut changes = Vec::with_capacity(sets.len() + 1);
    if let Some(old) = snapshot.zone(zone.borrow()) {
        for (name, node) in old.nodes() {
            for slot in node.slots() {
                let rtype = slot.rtype();
                let from_file = slot.offers().iter().any(|offer| offer.origin == Origin::File);
                if from_file && !sets.contains_key(&(name, rtype)) {
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
}
