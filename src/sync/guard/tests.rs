use super::super::extent::Extent;
use super::super::inventory::ConnectionState;
use super::super::publication::{Nameless, Publication};
use super::super::publish_settings::PublishSettings;
use super::super::reconcile::plan;
use super::*;
use crate::privatelink::{Catalogue, Cloud};
use crate::zone::Claim;

const ZONE: &str = "privatelink.blob.core.windows.net.";

fn publication(subscription: &str, number: usize) -> Publication {
    let claim = Claim {
        endpoint: format!("/subscriptions/{subscription}/pe{number}").into(),
        virtual_network: None,
        subscription: subscription.into(),
        resource: Some(format!("/subscriptions/{subscription}/a{number}").into()),
        source: "source".into(),
        since_secs: 7,
    };
    Publication {
        zone: ZONE.parse().unwrap(),
        name: format!("{subscription}{number}.{ZONE}").parse().unwrap(),
        ipv4: vec![[10, 0, 0, number as u8].into()],
        ipv6: Vec::new(),
        public_names: vec![format!("{subscription}{number}.blob.core.windows.net").parse().unwrap()],
        claim: Arc::new(claim),
    }
}

/// So many names of each subscription, from a number on.
fn listed(all: &[(&str, std::ops::Range<usize>)]) -> Desired {
    let all = all
        .iter()
        .flat_map(|(subscription, numbers)| numbers.clone().map(|number| publication(subscription, number)));
    let mut desired = Desired { publications: all.collect(), ..Desired::default() };
    desired.sort();
    desired
}

/// What is published, pass by pass.
struct World {
    catalogue: Catalogue,
    settings: PublishSettings,
    snapshot: Snapshot,
    published: Desired,
}

impl World {
    fn of(published: Desired) -> World {
        let (catalogue, settings) = (Catalogue::builtin(Cloud::Public), PublishSettings::default());
        let mut world =
            World { catalogue, settings, snapshot: Snapshot::default(), published: Desired::default() };
        assert_eq!(world.pass(published, None), None);
        world
    }

    /// A pass as the server does it; answers what waits behind it.
    fn pass(&mut self, mut desired: Desired, confirmed: Option<Fingerprint>) -> Option<HeldBack> {
        let source = Arc::from("source");
        desired.keep(&self.published);
        desired.carry_over(&self.published);
        let of = |desired: &Desired, snapshot: &Snapshot| {
            plan(desired, &source, &self.settings, &self.catalogue, snapshot)
        };
        let mut planned = of(&desired, &self.snapshot);
        let (before, percent) = (self.published.held_back.as_ref(), self.settings.withdraw_max_percent);
        let hold = Hold::of(&planned, &desired, before, &source, &self.snapshot, percent);
        if let Some(hold) = hold.filter(|hold| Some(hold.held_back.plan) != confirmed) {
            let would = planned.withdrawn;
            let waits = hold.withdrawals.len();
            hold.keep(&mut desired, &self.published, self.snapshot.networks());
            planned = of(&desired, &self.snapshot);
            assert_eq!(planned.withdrawn, would - waits);
        }
        self.snapshot = planned.changes.apply(&self.snapshot).unwrap().0;
        assert!(of(&desired, &self.snapshot).changes.is_empty(), "what is kept is what is published");
        self.published = desired;
        self.published.held_back.clone()
    }

    fn names(&self, subscription: &str) -> usize {
        let of = |it: &&Publication| &*it.claim.subscription == subscription;
        self.published.publications.iter().filter(of).count()
    }
}

fn told(held_back: Option<HeldBack>) -> String {
    held_back.map_or_else(String::new, |it| it.to_string())
}

#[test]
fn one_subscription_waits_and_the_others_go_on() {
    let mut world = World::of(listed(&[("a", 0..40), ("b", 0..20)]));
    let mut now = listed(&[("a", 20..43), ("b", 1..22)]);
    now.publications.iter_mut().for_each(|it| it.ipv4 = vec![[10, 9, 9, 9].into()]);
    let held = world.pass(now.clone(), None);
    assert_eq!(told(held.clone()), "20 of 60 record sets: 20 of 40 of subscription a");
    // 20 wait, 3 came; of the other one came two and went one.
    assert_eq!((world.names("a"), world.names("b")), (43, 21));
    let moved = |it: &&Publication| it.ipv4[0].octets() == [10, 9, 9, 9];
    assert_eq!(world.published.publications.iter().filter(moved).count(), 44);
    // Nor do its public names get lost.
    let kept =
        world.published.publications.iter().find(|it| {
            it.name == "a1.privatelink.blob.core.windows.net.".parse::<crate::dns::Name>().unwrap()
        });
    assert_eq!(kept.unwrap().public_names.len(), 1);
    let again = world.pass(now.clone(), None);
    assert_eq!(again.as_ref().map(|it| it.plan), held.as_ref().map(|it| it.plan));
    assert_eq!(world.pass(now, again.map(|it| it.plan)), None);
    assert_eq!((world.names("a"), world.names("b")), (23, 21));
}

#[test]
fn a_name_that_would_fall_to_a_resource_of_another_name_waits() {
    let resource = |name: &str| {
        Some(
            format!("/subscriptions/x/resourcegroups/g/providers/microsoft.storage/storageaccounts/{name}")
                .into(),
        )
    };
    let claimed = |subscription: &str, account: &str| {
        let mut publication = publication(subscription, 0);
        publication.name = "victim.privatelink.blob.core.windows.net.".parse().unwrap();
        Arc::make_mut(&mut publication.claim).resource = resource(account);
        publication
    };
    let of = |publications: Vec<Publication>| {
        let mut desired = Desired { publications, ..Desired::default() };
        desired.sort();
        desired
    };
    let mut world = World::of(of(vec![claimed("owner", "victim"), claimed("thief", "evil")]));
    let owner_is_missing = || of(vec![claimed("thief", "evil")]);
    let held = world.pass(owner_is_missing(), None);
    assert_eq!(told(held.clone()), "1 of 2 record sets: 1 of 1 of subscription owner");
    let again = world.pass(owner_is_missing(), None);
    assert_eq!(again.map(|it| it.plan), held.as_ref().map(|it| it.plan));
    assert_eq!(world.names("owner"), 1);
    assert_eq!(world.pass(owner_is_missing(), held.map(|it| it.plan)), None);
    assert_eq!(world.names("owner"), 0);
    // One that fits as well, such as another endpoint of the resource, is a change like any other.
    let mut world = World::of(of(vec![claimed("one", "victim"), claimed("two", "victim")]));
    assert_eq!(world.pass(of(vec![claimed("two", "victim")]), None), None);
    assert_eq!(world.names("one"), 0);
}

#[test]
fn the_free_ones_are_counted_once_a_source() {
    let all = [("a", 0..8), ("b", 0..8), ("c", 0..1000)];
    let mut world = World::of(listed(&all));
    assert_eq!(world.pass(listed(&[("a", 5..8), ("b", 5..8), ("c", 0..1000)]), None), None);
    let mut world = World::of(listed(&all));
    let held = world.pass(listed(&[("a", 6..8), ("b", 6..8), ("c", 0..1000)]), None);
    assert_eq!(told(held).split(": ").next(), Some("12 of 1016 record sets"));
    // What waits by itself uses none of them up.
    let mut world = World::of(listed(&all));
    let held = world.pass(listed(&[("a", 0..1), ("b", 0..8), ("c", 0..100)]), None);
    assert_eq!((told(held).split(": ").next(), world.names("a")), (Some("900 of 1016 record sets"), 1));
}

#[test]
fn the_share_itself_is_not_too_much_and_a_first_pass_never_is() {
    let mut world = World::of(listed(&[("a", 0..100)]));
    assert_eq!(world.pass(listed(&[("a", 30..100)]), None), None);
    let mut world = World::of(listed(&[("a", 0..100)]));
    assert!(world.pass(listed(&[("a", 31..100)]), None).is_some());
    let mut world = World::of(listed(&[("a", 0..10)]));
    assert_eq!(world.pass(listed(&[]), None), None);
}

#[test]
fn of_many_subscriptions_within_their_share_no_more_goes_than_of_the_whole() {
    // Two of each six are a third: ten subscriptions lose twenty.
    let names: Vec<String> = (0..10).map(|number| format!("s{number}-")).collect();
    let all = |from| names.iter().map(|name| (&**name, from..6)).collect::<Vec<_>>();
    let mut world = World::of(listed(&all(0)));
    let held = world.pass(listed(&all(2)), None).unwrap();
    assert_eq!((held.would_withdraw, held.of, held.parts.len()), (20, 60, 10));
}

#[test]
fn a_refused_connection_never_counts_and_goes_at_once() {
    for state in [ConnectionState::Pending, ConnectionState::Rejected, ConnectionState::Disconnected] {
        let mut world = World::of(listed(&[("a", 0..40)]));
        let mut now = listed(&[("a", 12..40)]);
        let refused = (0..12).map(|number| Nameless {
            endpoint: format!("/subscriptions/a/pe{number}").into(),
            endpoint_name: "pe".into(),
            virtual_network: None,
            resource: None,
            state: state.clone(),
        });
        now.nameless = refused.collect();
        assert_eq!((world.pass(now, None), world.names("a")), (None, 28));
    }
    let mut world = World::of(listed(&[("a", 0..40)]));
    let mut now = listed(&[("a", 16..40)]);
    let states = [ConnectionState::Rejected, ConnectionState::Other("Odd".into())];
    now.nameless = (0..2)
        .map(|number| Nameless {
            endpoint: format!("/subscriptions/a/pe{number}").into(),
            endpoint_name: "pe".into(),
            virtual_network: None,
            resource: None,
            state: states[number].clone(),
        })
        .collect();
    assert_eq!(told(world.pass(now, None)), "15 of 40 record sets: 15 of 40 of subscription a");
    assert_eq!(world.names("a"), 39);
}

#[test]
fn an_endpoint_made_anew_for_the_same_resource_takes_the_place_of_the_old_one() {
    let mut world = World::of(listed(&[("a", 0..40)]));
    let mut now = listed(&[("a", 0..40)]);
    for it in &mut now.publications {
        let claim = Claim::clone(&it.claim);
        it.claim = Arc::new(Claim { endpoint: format!("{}-new", claim.endpoint).into(), ..claim });
    }
    assert_eq!((world.pass(now.clone(), None), world.names("a")), (None, 40));
    // One of another resource does not.
    for it in &mut now.publications {
        let claim = Claim::clone(&it.claim);
        let (endpoint, resource) = (format!("{}-other", claim.endpoint).into(), Some("/other".into()));
        it.claim = Arc::new(Claim { endpoint, resource, ..claim });
    }
    assert_eq!(world.pass(now, None).unwrap().would_withdraw, 40);
    assert_eq!(world.names("a"), 80);
}

#[test]
fn what_waits_goes_on_waiting_whatever_is_added_until_there_is_less_of_it() {
    let mut world = World::of(listed(&[("a", 0..40)]));
    world.pass(listed(&[("a", 13..40)]), None).unwrap();
    for last in [100, 200] {
        let held = world.pass(listed(&[("a", 13..last)]), None).unwrap();
        assert_eq!((held.would_withdraw, held.parts[0].began_of), (13, 40), "{last}");
    }
    // Nor does a pass that tells nothing of it.
    let silent = Desired { extent: Extent::Only(["b".into()].into()), ..Desired::default() };
    assert_eq!(world.pass(silent, None).unwrap().parts[0].began_of, 40);
    assert!(world.pass(listed(&[("a", 13..200)]), None).is_some());
    // One is listed again: twelve of forty are within the share.
    assert_eq!((world.pass(listed(&[("a", 12..200)]), None), world.names("a")), (None, 188));
}

#[test]
fn a_confirmation_is_for_what_waits_alone() {
    let mut world = World::of(listed(&[("a", 0..40), ("b", 0..20)]));
    let plan = world.pass(listed(&[("a", 20..40), ("b", 0..20)]), None).unwrap().plan;
    // Others may change as they like.
    assert_eq!(world.pass(listed(&[("a", 20..44), ("b", 1..25)]), Some(plan)), None);
    let mut world = World::of(listed(&[("a", 0..40), ("b", 0..20)]));
    world.pass(listed(&[("a", 20..40), ("b", 0..20)]), None).unwrap();
    assert!(world.pass(listed(&[("a", 21..40), ("b", 0..20)]), Some(plan)).is_some());
}

#[test]
fn a_fingerprint_is_read_as_it_is_written() {
    let text = format!("{:032x}", 0x00ff_u128 << 100);
    let fingerprint: Fingerprint = text.parse().unwrap();
    assert_eq!((fingerprint.to_string(), text.parse()), (text.clone(), Ok(fingerprint)));
    assert!("yes".parse::<Fingerprint>().is_err());
}
