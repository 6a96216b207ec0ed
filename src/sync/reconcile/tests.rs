use proptest::prelude::*;

use super::super::extent::Extent;
use super::*;

fn catalogue() -> Catalogue {
    Catalogue::builtin(crate::privatelink::Cloud::Public)
}

fn publication(endpoint: &str, name: &str, address: [u8; 4]) -> Publication {
    let claim = Claim {
        endpoint: endpoint.into(),
        virtual_network: None,
        subscription: "s".into(),
        resource: None,
        source: "dir".into(),
        since_secs: 100,
    };
    Publication {
        zone: "privatelink.blob.core.windows.net.".parse().unwrap(),
        name: format!("{name}.privatelink.blob.core.windows.net.").parse().unwrap(),
        ipv4: vec![address.into()],
        ipv6: Vec::new(),
        public_names: Vec::new(),
        claim: Arc::new(claim),
    }
}

fn planned(desired: &Desired, snapshot: &Snapshot) -> (Plan, Snapshot) {
    let plan = plan(desired, &"dir".into(), &PublishSettings::default(), &catalogue(), snapshot);
    let (after, _) = plan.changes.apply(snapshot).unwrap();
    (plan, after)
}

#[test]
fn a_second_pass_without_change_does_nothing() {
    let mut desired =
        Desired { publications: vec![publication("/a", "x", [10, 0, 0, 1])], ..Desired::default() };
    let (first, after) = planned(&desired, &Snapshot::default());
    assert_eq!((first.added, first.replaced, first.withdrawn), (1, 0, 0));
    Arc::make_mut(&mut desired.publications[0].claim).since_secs = 999;
    assert!(planned(&desired, &after).0.changes.is_empty());
}

#[test]
fn withdrawing_one_claim_leaves_the_others() {
    let both = Desired {
        publications: vec![publication("/a", "x", [10, 0, 0, 1]), publication("/b", "x", [10, 0, 0, 2])],
        ..Desired::default()
    };
    let (_, two) = planned(&both, &Snapshot::default());
    assert_eq!(conflicts(&two).len(), 1);
    let one = Desired { publications: both.publications[1..].to_vec(), ..Desired::default() };
    let (plan, left) = planned(&one, &two);
    assert_eq!((plan.withdrawn, plan.added), (1, 0));
    assert!(conflicts(&left).is_empty());
    let claims: Vec<_> = claims(&left).map(|(_, _, _, claim)| claim.endpoint.to_string()).collect();
    assert_eq!(claims, ["/b"]);
}

#[test]
fn an_unsettled_endpoint_keeps_what_it_had_and_another_source_is_left_alone() {
    let desired = Desired { publications: vec![publication("/a", "x", [10, 0, 0, 1])], ..Desired::default() };
    let (_, after) = planned(&desired, &Snapshot::default());
    let unsettled = Desired { unsettled: vec!["/a".into()], ..Desired::default() };
    assert_eq!(planned(&unsettled, &after).0.withdrawn, 0);
    let other = plan(&Desired::default(), &"other".into(), &PublishSettings::default(), &catalogue(), &after);
    assert!(other.changes.is_empty());
    assert_eq!(planned(&Desired::default(), &after).0.withdrawn, 1);
}

#[test]
fn what_a_source_tells_nothing_of_stays() {
    let mut both = Desired {
        publications: vec![publication("/a", "x", [10, 0, 0, 1]), publication("/b", "y", [10, 0, 0, 2])],
        ..Desired::default()
    };
    Arc::make_mut(&mut both.publications[1].claim).subscription = "other".into();
    let (_, after) = planned(&both, &Snapshot::default());
    let nothing_of = |extent| planned(&Desired { extent, ..Desired::default() }, &after).0.withdrawn;
    let other = || [Arc::from("other")].into();
    assert_eq!(nothing_of(Extent::AllBut(other())), 1);
    assert_eq!(nothing_of(Extent::Only(other())), 1);
    assert_eq!(nothing_of(Extent::Only(Default::default())), 0);
    assert_eq!(nothing_of(Extent::All), 2);
}

#[test]
fn only_configured_zones_are_published_into() {
    let desired = Desired { publications: vec![publication("/a", "x", [10, 0, 0, 1])], ..Desired::default() };
    let zones = vec!["vault".to_owned()];
    let settings = PublishSettings { zones, ..PublishSettings::default() };
    let refused = plan(&desired, &"dir".into(), &settings, &catalogue(), &Snapshot::default());
    assert_eq!((refused.added, refused.not_served.len()), (0, 1));
}

#[test]
fn addresses_of_the_platform_and_those_that_config_leaves_out_are_not_published() {
    let both = |addresses: &[[u8; 4]]| {
        let mut publication = publication("/a", "x", [10, 0, 0, 1]);
        publication.ipv4 = addresses.iter().map(|ip| Ipv4Addr::from(*ip)).collect();
        Desired { publications: vec![publication], ..Desired::default() }
    };
    let addresses = vec!["10.0.0.0/8".parse().unwrap()];
    let limited = PublishSettings { addresses, ..PublishSettings::default() };
    let served = |desired: &Desired, settings: &PublishSettings| {
        let plan = plan(desired, &"dir".into(), settings, &catalogue(), &Snapshot::default());
        plan.changes.changes.iter().find_map(|change| match change {
            Change::Put { offer, .. } => Some(offer.set.len()),
            _ => None,
        })
    };
    let desired = both(&[[168, 63, 129, 16], [8, 8, 8, 8], [10, 0, 0, 1]]);
    assert_eq!(served(&desired, &PublishSettings::default()), Some(2));
    assert_eq!(served(&desired, &limited), Some(1));
    assert_eq!(served(&both(&[[168, 63, 129, 16], [8, 8, 8, 8]]), &limited), None);
    assert_eq!(served(&both(&[[168, 63, 129, 16]]), &PublishSettings::default()), None);
}

#[test]
fn an_endpoint_cannot_take_over_a_zone_that_is_not_azures() {
    let mut stranger = publication("/a", "x", [10, 0, 0, 1]);
    stranger.zone = "bank.example.".parse().unwrap();
    stranger.name = "www.bank.example.".parse().unwrap();
    let desired = Desired { publications: vec![stranger], ..Desired::default() };
    let (plan, after) = planned(&desired, &Snapshot::default());
    assert_eq!((plan.added, plan.not_served.len(), after.zones().count()), (0, 1, 0));
}

#[test]
fn a_claim_in_another_zone_than_the_wanted_one_is_withdrawn() {
    let mut desired =
        Desired { publications: vec![publication("/a", "x", [10, 0, 0, 1])], ..Desired::default() };
    let (_, before) = planned(&desired, &Snapshot::default());
    desired.publications[0].zone = "privatelink.file.core.windows.net.".parse().unwrap();
    desired.publications[0].name = "x.privatelink.file.core.windows.net.".parse().unwrap();
    let (plan, after) = planned(&desired, &before);
    assert_eq!((plan.added, plan.withdrawn, claims(&after).count()), (1, 1, 1));
}

static CATALOGUE: std::sync::OnceLock<Catalogue> = std::sync::OnceLock::new();

/// All that a source has published.
fn published(snapshot: &Snapshot, source: &str) -> BTreeSet<String> {
    let own = claims(snapshot).filter(|(_, _, _, claim)| &*claim.source == source);
    own.map(|(zone, name, offer, _)| format!("{zone} {name} {offer:?}")).collect()
}

/// A pass of endpoints that each publish a name: its number, its address, and its subscription's number.
fn pass(items: &[(u8, u8, u8)], now_secs: u64) -> Desired {
    let publications = items.iter().map(|(number, address, subscription)| {
        let endpoint = format!("/subscriptions/s{subscription}/pe{}", number % 5);
        let mut publication = publication(&endpoint, &format!("n{}", number / 2), [10, 0, 0, *address]);
        let claim = Arc::make_mut(&mut publication.claim);
        (claim.since_secs, claim.subscription) = (now_secs, format!("s{subscription}").into());
        publication
    });
    let mut desired = Desired { publications: publications.collect(), ..Desired::default() };
    let mut seen = BTreeSet::new();
    desired.publications.retain(|it| seen.insert((it.name.clone(), Arc::clone(&it.claim.endpoint))));
    desired.join([]);
    desired
}

proptest! {
    #[test]
    fn whatever_was_there_a_pass_leaves_what_it_would_make_from_nothing(
        passes in prop::collection::vec(
            (prop::collection::vec((0u8..16, 1u8..4, 0u8..3), 0..12), prop::option::of(0u8..3), 0u8..12), 1..8),
    ) {
        let catalogue = CATALOGUE.get_or_init(catalogue);
        let strange = Desired {
            publications: vec![publication("/other", "n1", [10, 9, 9, 9])], ..Desired::default()
        };
        let own = |desired: &Desired, snapshot: &Snapshot| {
            plan(desired, &"dir".into(), &PublishSettings::default(), catalogue, snapshot).changes
        };
        let mut others = strange.clone();
        Arc::make_mut(&mut others.publications[0].claim).source = "other".into();
        let others = plan(
            &others, &"other".into(), &PublishSettings::default(), catalogue, &Snapshot::default()
        ).changes.apply(&Snapshot::default()).unwrap().0;
        let (mut snapshot, mut known) = (others.clone(), Desired::default());
        for (now_secs, (items, failing, drift)) in (100..).zip(passes) {
            let mut now = pass(&items, now_secs);
            if let Some(failing) = failing.map(|number| Arc::<str>::from(format!("s{number}"))) {
                now.publications.retain(|it| it.claim.subscription != failing);
                now.extent = Extent::AllBut([failing].into());
            }
            now.keep(&known);
            // The slow way: when each claim was first seen, and a plan from nothing.
            let mut slow = now.clone();
            for new in &mut slow.publications {
                let same = |old: &&Publication| {
                    old.name == new.name && old.claim.endpoint == new.claim.endpoint
                };
                if let Some(old) = known.publications.iter().find(same) {
                    Arc::make_mut(&mut new.claim).since_secs = old.claim.since_secs;
                }
            }
            now.carry_over(&known);
            prop_assert_eq!(&now, &slow);
            // Somebody takes one away meanwhile.
            let taken = claims(&snapshot).filter(|(_, _, _, claim)| &*claim.source == "dir")
                .nth(drift.into())
                .map(|(zone, owner, offer, _)| Change::Remove {
                    zone: zone.clone(),
                    name: owner.to_name(),
                    rtype: offer.set.rtype,
                    origin: offer.origin.clone(),
                });
            if let Some(taken) = taken {
                snapshot = ChangeSet { changes: vec![taken] }.apply(&snapshot).unwrap().0;
            }
            snapshot = own(&now, &snapshot).apply(&snapshot).unwrap().0;
            let anew = own(&slow, &others).apply(&others).unwrap().0;
            prop_assert_eq!(published(&snapshot, "dir"), published(&anew, "dir"));
            prop_assert_eq!(published(&snapshot, "other"), published(&others, "other"));
            prop_assert_eq!(conflicts(&snapshot).len(), conflicts(&anew).len());
            prop_assert!(own(&now, &snapshot).is_empty());
            known = now;
        }
    }
}
