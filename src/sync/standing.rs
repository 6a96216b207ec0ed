//! Which zones endpoints may publish into: the catalogue's, and others under guard. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashSet;

use super::publication::Publication;
use super::publish_settings::PublishSettings;
use super::refusal::{DERIVED_ZONES_MAX, Refusal};
use crate::dns::{Name, NameRef};
use crate::privatelink::{Catalogue, is_carried_zone};
use crate::zone::{Snapshot, Zone, ZoneKind};

/// The zones of publications, which come zone by zone: each is looked for once.
pub(super) struct Zones<'s, 'p> {
    settings: &'p PublishSettings,
    catalogue: &'p Catalogue,
    snapshot: &'s Snapshot,
    last: Option<ZoneAtHand<'s>>,
}

pub(super) struct ZoneAtHand<'s> {
    /// A copy of our own: cores that count their references to one name wait for each other.
    pub apex: Name,
    pub there: Option<&'s Zone>,
    pub standing: Standing,
}

/// Whether a zone may be published into.
pub(super) enum Standing {
    /// The catalogue has it.
    Known,
    /// A zone group or a name tells it.
    Derived,
    Refused(Refusal),
}

impl<'s, 'p> Zones<'s, 'p> {
    pub(super) fn new(
        settings: &'p PublishSettings,
        catalogue: &'p Catalogue,
        snapshot: &'s Snapshot,
    ) -> Zones<'s, 'p> {
        Zones { settings, catalogue, snapshot, last: None }
    }

    pub(super) fn of(&mut self, publication: &Publication) -> &ZoneAtHand<'s> {
        let zone = publication.zone.borrow();
        match self.last.take() {
            Some(last) if last.apex.borrow() == zone => self.last.insert(last),
            _ => self.last.insert(ZoneAtHand {
                apex: zone.to_name(),
                there: self.snapshot.zone(zone).map(|zone| &**zone),
                standing: self.standing(zone),
            }),
        }
    }

    fn standing(&self, zone: NameRef<'_>) -> Standing {
        let is_known = self.catalogue.is_private_link_zone(zone).is_some();
        if !is_known && !is_carried_zone(zone) {
            return Standing::Refused(Refusal::Unmarked);
        }
        if !self.catalogue.selects(&self.settings.zones, zone) {
            return Standing::Refused(Refusal::NotSelected);
        }
        if is_known {
            return Standing::Known;
        }
        match self.taken(zone) {
            Some(apex) => Standing::Refused(Refusal::Taken(apex)),
            None => Standing::Derived,
        }
    }

    /// The zone of a file, of an operator or of private DNS that a zone is or lies in.
    fn taken(&self, zone: NameRef<'_>) -> Option<Name> {
        let is_of_others = |there: &Zone| {
            there.header().kind == ZoneKind::Plain
                || there.azure_zones().next().is_some()
                || self.settings.made.contains(there.apex())
        };
        let mut above = zone.ancestors().filter_map(|apex| self.snapshot.zone(apex));
        above.find(|there| is_of_others(there)).map(|there| there.apex().clone())
    }
}

/// Of each subscription the zones beyond [`DERIVED_ZONES_MAX`], those that it named last.
pub(super) fn beyond_the_bound<'p>(derived: &[&'p Publication]) -> HashSet<(&'p Arc<str>, &'p Name)> {
    let mut subscriptions: BTreeMap<&Arc<str>, BTreeMap<&Name, u64>> = BTreeMap::new();
    for it in derived {
        let zones = subscriptions.entry(&it.claim.subscription).or_default();
        let first_secs = zones.entry(&it.zone).or_insert(u64::MAX);
        *first_secs = it.claim.since_secs.min(*first_secs);
    }
    let mut beyond = HashSet::new();
    for (subscription, zones) in subscriptions {
        let mut by_age: Vec<(u64, &Name)> = zones.into_iter().map(|(zone, secs)| (secs, zone)).collect();
        by_age.sort_unstable();
        beyond.extend(by_age.into_iter().skip(DERIVED_ZONES_MAX).map(|(_, zone)| (subscription, zone)));
    }
    beyond
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::desired::Desired;
    use super::super::reconcile::{Plan, plan};
    use super::*;
    use crate::dns::RecordType;
    use crate::privatelink::Cloud;
    use crate::zone::{AzureZone, Change, ChangeSet, Claim, Offer, Origin, ZoneHeader, azure_soa};

    const NEW: &str = "privatelink.newservice.azure.net.";

    fn publication(number: usize, zone: &str, since_secs: u64) -> Publication {
        let claim = Claim {
            endpoint: format!("/pe{number}").into(),
            virtual_network: None,
            subscription: "s".into(),
            resource: None,
            source: "dir".into(),
            since_secs,
        };
        Publication {
            zone: zone.parse().unwrap(),
            name: format!("x.{zone}").parse().unwrap(),
            ipv4: vec![[10, 0, 0, 1].into()],
            ipv6: Vec::new(),
            public_names: Vec::new(),
            claim: Arc::new(claim),
        }
    }

    fn planned(publications: &[Publication], made: &[&str], snapshot: &Snapshot) -> Plan {
        let made = made.iter().map(|apex| apex.parse().unwrap()).collect();
        let settings = PublishSettings { made, ..PublishSettings::default() };
        let desired = Desired { publications: publications.to_vec(), ..Desired::default() };
        plan(&desired, &"dir".into(), &settings, &Catalogue::builtin(Cloud::Public), snapshot)
    }

    fn with(snapshot: &Snapshot, changes: Vec<Change>) -> Snapshot {
        ChangeSet { changes }.apply(snapshot).unwrap().0
    }

    /// The apex of one of Azure's private DNS zones, as an import makes it.
    fn imported(apex: &str) -> Vec<Change> {
        let apex: Name = apex.parse().unwrap();
        let zone = AzureZone {
            id: "/z".into(),
            subscription: "s".into(),
            links: Vec::new(),
            source: "zones".into(),
        };
        let offer = Offer { set: azure_soa(), origin: Origin::AzureZone(Arc::new(zone)) };
        let header = ZoneHeader::private_link(apex.clone());
        vec![Change::SetZone(header), Change::Put { zone: apex.clone(), name: apex, offer }]
    }

    #[test]
    fn a_zone_that_operators_made_or_private_dns_has_is_not_derived() {
        let wanted = [publication(1, NEW, 1)];
        let nothing = Snapshot::default();
        let free = planned(&wanted, &[], &nothing);
        assert_eq!((free.added, free.derived.len()), (1, 1));
        for (made, there) in [
            (
                &[NEW][..],
                with(&nothing, vec![Change::SetZone(ZoneHeader::private_link(NEW.parse().unwrap()))]),
            ),
            (&[][..], with(&nothing, imported(NEW))),
        ] {
            let barred = planned(&wanted, made, &there);
            assert_eq!((barred.added, barred.derived.len()), (0, 0));
            assert_eq!(barred.not_served[0].why, Refusal::Taken(NEW.parse().unwrap()));
        }
    }

    #[test]
    fn what_a_zone_is_taken_over_from_goes_without_being_counted() {
        let wanted = [publication(1, NEW, 1)];
        let first = planned(&wanted, &[], &Snapshot::default());
        let served = with(&Snapshot::default(), first.changes.changes);
        let taken = planned(&wanted, &[], &with(&served, imported(NEW)));
        assert_eq!((taken.published, taken.withdrawn), (1, 0));
        let gone = taken.changes.changes.iter();
        let gone = gone.filter(|it| matches!(it, Change::Remove { rtype: RecordType::A, .. }));
        assert_eq!(gone.count(), 1);
        // Without a reason it counts.
        assert_eq!(planned(&[], &[], &served).withdrawn, 1);
    }

    #[test]
    fn a_subscription_has_at_most_a_hundred_derived_zones_and_keeps_its_first() {
        let zone = |number: usize| format!("privatelink.new{number:03}.azure.net.");
        let mut wanted: Vec<Publication> =
            (100..200).map(|number| publication(number, &zone(number), 5)).collect();
        // Later ones, though their names come first.
        wanted.extend((0..20).map(|number| publication(number, &zone(number), 6)));
        let plan = planned(&wanted, &[], &Snapshot::default());
        let first: BTreeSet<Name> = (100..200).map(|number| zone(number).parse().unwrap()).collect();
        assert_eq!((plan.added, plan.not_served.len()), (DERIVED_ZONES_MAX, 20));
        assert!(plan.not_served.iter().all(|it| it.why == Refusal::TooMany));
        assert_eq!(plan.derived, first);
        // Others have a hundred of their own.
        for publication in &mut wanted[..100] {
            Arc::make_mut(&mut publication.claim).subscription = "other".into();
        }
        assert_eq!(planned(&wanted, &[], &Snapshot::default()).not_served, []);
    }
}
