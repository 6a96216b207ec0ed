//! Applying a change set: zone by zone, of which none knows of another, and large sets on all cores.

use std::sync::Arc;

use hashbrown::HashMap;

use super::builder::ZoneBuilder;
use super::change::{Change, ChangeSet, Effect};
use super::error::ZoneError;
use super::network::Networks;
use super::reverse::Reverse;
use super::served::Zone;
use super::snapshot::Snapshot;
use crate::dns::Name;
use crate::machine::at_once;

/// With fewer changes one core is done before others have begun.
// Those of tests are done both ways.
const CHANGES_MANY: usize = if cfg!(test) { 5 } else { 10_000 };

impl ChangeSet {
    /// The state after these changes; what they do not touch is shared with the old one.
    pub fn apply(&self, old: &Snapshot) -> Result<(Snapshot, Effect), ZoneError> {
        let networks = self.changes.iter().rev().find_map(|change| match change {
            Change::SetNetworks(networks) => Some(networks.clone()),
            _ => None,
        });
        let context = Context {
            changes: &self.changes,
            networks: networks.as_ref().unwrap_or(old.networks()),
            networks_changed: networks.is_some(),
        };
        let parts = self.by_zone(old, context.networks_changed);
        let apply = |part: &Part<'_>| part.apply(&context);
        let applied: Vec<_> = match self.changes.len() {
            CHANGES_MANY.. => at_once(&parts, apply),
            _ => parts.iter().map(apply).collect(),
        };
        let mut new = old.clone();
        let mut effect = Effect::default();
        // Of several faults the same one is always told: the first change's, else the first zone's.
        let mut faults = Vec::new();
        for (part, applied) in parts.iter().zip(applied) {
            let apex = part.apex;
            match applied {
                Err(fault) => faults.push((fault.change.unwrap_or(usize::MAX), apex, fault.error)),
                Ok(Applied::AsBefore) => {}
                Ok(Applied::Gone) => {
                    new.remove_zone(apex);
                    effect.zones.insert(apex.clone(), None);
                }
                Ok(Applied::Made { zone, was_dropped }) => {
                    let serial = zone.serial();
                    if was_dropped || part.old.is_none_or(|old| old.serial() != serial) {
                        effect.zones.insert(apex.clone(), Some(serial));
                    }
                    new.insert_zone(*zone);
                }
            }
        }
        faults.sort_by(|one, other| (one.0, one.1).cmp(&(other.0, other.1)));
        if let Some((_, _, error)) = faults.into_iter().next() {
            return Err(error);
        }
        for change in &self.changes {
            match change {
                Change::SetWithheld { source, endpoints } => new.set_withheld(source, endpoints),
                Change::SetStale(stale) => new.set_stale(stale.clone()),
                _ => {}
            }
        }
        new.reverse = self.reverse_of(old, &new, &parts);
        new.revision += 1;
        if let Some(networks) = networks {
            new.set_networks(networks);
        }
        Ok((new, effect))
    }

    /// The names of addresses after these changes: only those that changed are looked at, unless they are wanted anew.
    fn reverse_of(&self, old: &Snapshot, new: &Snapshot, parts: &[Part<'_>]) -> Option<Arc<Reverse>> {
        let kept = self.changes.iter().rev().find_map(|change| match change {
            Change::SetReverse { kept } => Some(*kept),
            _ => None,
        });
        match (kept.unwrap_or(old.keeps_reverse()), &old.reverse) {
            (false, _) => None,
            (true, None) => Some(Arc::new(Reverse::of(new.zones().map(|(_, zone)| zone)))),
            (true, Some(reverse)) => {
                let mut reverse = Arc::clone(reverse);
                for part in parts {
                    part.reverse(&self.changes, new, &mut reverse);
                }
                Some(reverse)
            }
        }
    }

    /// The zones that are touched, the most changed first.
    fn by_zone<'c>(&'c self, old: &'c Snapshot, networks_changed: bool) -> Vec<Part<'c>> {
        let mut parts: Vec<Part<'c>> = Vec::new();
        let mut places: HashMap<&Name, usize, foldhash::fast::RandomState> = HashMap::default();
        let mut place_of = |parts: &mut Vec<Part<'c>>, apex: &'c Name| {
            *places.entry(apex).or_insert_with(|| {
                parts.push(Part { apex, old: old.zone(apex.borrow()), changes: Vec::new() });
                parts.len() - 1
            })
        };
        let mut last: Option<(&Name, usize)> = None;
        for (number, change) in self.changes.iter().enumerate() {
            let apex = match change {
                Change::SetZone(header) => &header.apex,
                Change::DropZone(apex) => apex,
                Change::Put { zone, .. } | Change::Remove { zone, .. } => zone,
                Change::SetNetworks(_)
                | Change::SetReverse { .. }
                | Change::SetWithheld { .. }
                | Change::SetStale(_) => continue,
            };
            // Changes of a zone often follow each other.
            let place = match last {
                Some((last, place)) if last == apex => place,
                _ => place_of(&mut parts, apex),
            };
            last = Some((apex, place));
            parts[place].changes.push(number);
        }
        if networks_changed {
            for (apex, _) in old.zones() {
                place_of(&mut parts, apex);
            }
        }
        // What takes longest is not to be begun when the other cores are done.
        parts.sort_by_key(|part| std::cmp::Reverse(part.changes.len()));
        parts
    }
}

/// What all zones are changed by.
struct Context<'c> {
    changes: &'c [Change],
    networks: &'c Networks,
    networks_changed: bool,
}

/// One zone and, by their numbers, its changes.
struct Part<'c> {
    apex: &'c Name,
    old: Option<&'c Arc<Zone>>,
    changes: Vec<usize>,
}

/// What became of a zone.
enum Applied {
    AsBefore,
    Gone,
    Made { zone: Box<Zone>, was_dropped: bool },
}

/// Why there is no such zone, and the change that it failed at, unless all of them together made it fail.
struct Fault {
    change: Option<usize>,
    error: ZoneError,
}

impl<'c> Part<'c> {
    fn apply(&self, context: &Context<'c>) -> Result<Applied, Fault> {
        let networks = context.networks;
        // The zone that is there until it is dropped, and what is made of it.
        let (mut there, mut builder) = (self.old, None);
        for number in &self.changes {
            let at_fault = |error| Fault { change: Some(*number), error };
            match &context.changes[*number] {
                Change::SetZone(header) => match (&mut builder, there) {
                    (None, None) => builder = Some(ZoneBuilder::new(header.clone(), networks)),
                    (builder, _) => begun(builder, there, self.apex, networks)
                        .map_err(at_fault)?
                        .set_header(header.clone()),
                },
                Change::DropZone(_) => (there, builder) = (None, None),
                Change::Put { name, offer, .. } => begun(&mut builder, there, self.apex, networks)
                    .and_then(|builder| builder.put(name, offer.clone()))
                    .map_err(at_fault)?,
                Change::Remove { name, rtype, origin, .. } => {
                    let builder = begun(&mut builder, there, self.apex, networks).map_err(at_fault)?;
                    builder.remove(name, *rtype, origin);
                }
                Change::SetNetworks(_)
                | Change::SetReverse { .. }
                | Change::SetWithheld { .. }
                | Change::SetStale(_) => {}
            }
        }
        if context.networks_changed
            && let Some(zone) = there
        {
            builder.get_or_insert_with(|| ZoneBuilder::from_zone(zone, networks)).choose_all();
        }
        let was_dropped = self.old.is_some() && there.is_none();
        let Some(builder) = builder else {
            return Ok(if was_dropped { Applied::Gone } else { Applied::AsBefore });
        };
        let zone = builder.finish().map_err(|error| Fault { change: None, error })?;
        Ok(Applied::Made { zone: Box::new(zone), was_dropped })
    }
}

impl Part<'_> {
    /// Tells of each name that may have another address now.
    fn reverse(&self, changes: &[Change], new: &Snapshot, reverse: &mut Arc<Reverse>) {
        let new = new.zone(self.apex.borrow());
        let mut change = |name: &Name| {
            let (old, new) =
                (self.old.map(|zone| zone.node(name.borrow())), new.map(|zone| zone.node(name.borrow())));
            Arc::make_mut(reverse).change(name, old.flatten(), new.flatten());
        };
        let mut is_dropped = false;
        for number in &self.changes {
            match &changes[*number] {
                Change::Put { name, .. } | Change::Remove { name, .. } => change(name),
                Change::DropZone(_) => is_dropped = true,
                _ => {}
            }
        }
        if is_dropped {
            self.old.iter().flat_map(|zone| zone.nodes()).for_each(|(owner, _)| change(&owner.to_name()));
        }
    }
}

/// The zone in the making, begun from what is there.
fn begun<'b, 'n>(
    builder: &'b mut Option<ZoneBuilder<'n>>,
    there: Option<&Arc<Zone>>,
    apex: &Name,
    networks: &'n Networks,
) -> Result<&'b mut ZoneBuilder<'n>, ZoneError> {
    if builder.is_none() {
        let zone = there.ok_or_else(|| ZoneError::NoSuchZone(apex.clone()))?;
        *builder = Some(ZoneBuilder::from_zone(zone, networks));
    }
    Ok(builder.as_mut().expect("it was just made"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Claim, Network, Offer, Origin, ZoneHeader};
    use super::*;
    use crate::dns::{RecordSet, RecordType, Ttl};

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn zone() -> impl Strategy<Value = Name> {
        (0..4_u8).prop_map(|number| name(&format!("zone{number}.")))
    }

    fn origin() -> impl Strategy<Value = Origin> {
        let claim = |(endpoint, network, since_secs): (u8, u8, u64)| {
            Origin::Endpoint(Arc::new(Claim {
                endpoint: format!("/endpoint{endpoint}").into(),
                virtual_network: Some(format!("/network{network}").into()),
                subscription: "s".into(),
                resource: None,
                source: "source".into(),
                since_secs,
            }))
        };
        prop_oneof![4 => (0..3_u8, 0..3_u8, 0..9_u64).prop_map(claim), 1 => Just(Origin::Rest)]
    }

    fn networks() -> impl Strategy<Value = Arc<Networks>> {
        let network = |number: u8| Network {
            name: format!("n{number}").into(),
            clients: Vec::new(),
            virtual_networks: vec![format!("/network{number}").into()],
        };
        let all = prop::collection::btree_set(0..3_u8, 0..3);
        all.prop_map(move |all| {
            Arc::new(Networks::new(all.into_iter().map(network).collect(), Vec::new()).unwrap())
        })
    }

    fn change() -> impl Strategy<Value = Change> {
        let place = || (zone(), 0..4_u8, any::<bool>(), origin());
        let of = |(zone, number, is_v6, origin): (Name, u8, bool, Origin), last: u8| {
            let name = name(&format!("name{number}.{zone}"));
            let (rtype, data) = match is_v6 {
                true => (RecordType::AAAA, vec![last; 16]),
                false => (RecordType::A, vec![last; 4]),
            };
            let set = RecordSet::new(rtype, Ttl::from_secs(10).unwrap(), [data]).unwrap();
            (zone, name, Offer { set, origin })
        };
        prop_oneof![
            3 => zone().prop_map(|apex| Change::SetZone(ZoneHeader::private_link(apex))),
            1 => zone().prop_map(Change::DropZone),
            1 => networks().prop_map(Change::SetNetworks),
            12 => (place(), 0..4_u8).prop_map(move |(place, last)| {
                let (zone, name, offer) = of(place, last);
                Change::Put { zone, name, offer }
            }),
            4 => place().prop_map(move |place| {
                let (zone, name, offer) = of(place, 0);
                Change::Remove { zone, name, rtype: offer.set.rtype, origin: offer.origin }
            }),
        ]
    }

    /// The changes one after the other, each a set of its own.
    fn one_by_one(changes: &[Change], old: &Snapshot) -> Result<Snapshot, ZoneError> {
        changes.iter().try_fold(old.clone(), |snapshot, change| {
            let set = ChangeSet { changes: vec![change.clone()] };
            set.apply(&snapshot).map(|(snapshot, _)| snapshot)
        })
    }

    /// What two states have otherwise, serials apart.
    fn differences(one: &Snapshot, other: &Snapshot) -> Vec<Change> {
        let is_serial =
            |it: &Change| matches!(it, Change::Put { offer, .. } if offer.set.rtype == RecordType::SOA);
        let mut changes = ChangeSet::diff(one, other).changes;
        changes.retain(|change| !is_serial(change));
        changes
    }

    proptest! {
        #[test]
        fn a_set_does_what_its_changes_do_one_by_one(
            before in prop::collection::vec(change(), 0..20),
            changes in prop::collection::vec(change(), 0..30),
        ) {
            let zones = (0..3).map(|number| Change::SetZone(ZoneHeader::private_link(name(&format!("zone{number}.")))));
            let all: Vec<Change> = zones.chain(before).collect();
            let old = one_by_one(&all, &Snapshot::default()).unwrap_or_default();
            let together = ChangeSet { changes: changes.clone() }.apply(&old);
            match (one_by_one(&changes, &old), together) {
                (Ok(one_by_one), Ok((together, effect))) => {
                    prop_assert_eq!(differences(&one_by_one, &together), []);
                    prop_assert_eq!(differences(&together, &one_by_one), []);
                    let zones = (0..4).map(|number| name(&format!("zone{number}.")));
                    for apex in zones {
                        let (was, is) = (old.zone(apex.borrow()), together.zone(apex.borrow()));
                        let (was, is) = (was.map(|zone| zone.serial()), is.map(|zone| zone.serial()));
                        match effect.zones.get(&apex) {
                            Some(told) => prop_assert_eq!(*told, is),
                            None => prop_assert_eq!(was, is),
                        }
                    }
                }
                (one_by_one, together) => {
                    prop_assert_eq!(one_by_one.err().map(|it| it.to_string()), together.err().map(|it| it.to_string()));
                }
            }
        }
    }

    #[test]
    fn of_several_faults_the_first_change_is_told() {
        let put = |zone: &str, owner: &str| {
            let set = RecordSet::new(RecordType::A, Ttl::from_secs(10).unwrap(), [[10, 0, 0, 1]]).unwrap();
            let offer = Offer { set, origin: Origin::Rest };
            Change::Put { zone: name(zone), name: name(owner), offer }
        };
        let plain = |apex: &str| Change::SetZone(ZoneHeader::plain(name(apex)));
        let told = |changes: Vec<Change>| {
            ChangeSet { changes }.apply(&Snapshot::default()).err().unwrap().to_string()
        };
        // A zone without SOA is a fault of all of its changes together.
        let all = vec![plain("b."), plain("a."), put("b.", "x.b."), put("b.", "x.c."), put("a.", "x.d.")];
        assert_eq!(told(all), "x.c. does not lie in zone b.");
        assert_eq!(told(vec![plain("b."), put("b.", "x.b."), plain("a.")]), told(vec![plain("a.")]));
        assert_eq!(told(vec![plain("b."), put("c.", "x.c."), plain("a.")]), told(vec![put("c.", "x.c.")]));
    }
}
