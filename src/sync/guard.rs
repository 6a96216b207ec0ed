//! Withdrawals that are too many at once wait for an operator; whatever else a pass wants goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::Hasher;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::desired::Desired;
use super::difference::Difference;
use super::held::Withdrawal;
use super::reconcile::Plan;
use crate::zone::Snapshot;

/// As many record sets of a source may go whatever their share: a handful of deleted endpoints is an ordinary day.
pub const WITHDRAW_FREE: usize = 10;

/// Withdrawals that wait for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    pub would_withdraw: usize,
    /// Record sets that the source has published.
    pub of: usize,
    /// What a confirmation must name.
    pub plan: Fingerprint,
    /// In the order of subscriptions.
    #[serde(default)]
    pub parts: Vec<HeldPart>,
}

/// Those of them that are of one subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldPart {
    pub subscription: Arc<str>,
    pub would_withdraw: usize,
    /// Record sets that are published of it.
    pub of: usize,
    /// The same when this began to wait: what is added meanwhile makes no listing less doubtful.
    pub began_of: usize,
    pub plan: Fingerprint,
}

/// Subscriptions that a message names; `GET /sync` has all.
const PARTS_TOLD_MAX: usize = 5;

/// What a pass must not withdraw before an operator confirms it.
pub struct Hold<'p> {
    pub held_back: HeldBack,
    pub(super) withdrawals: Vec<Withdrawal<'p>>,
}

/// Tells withdrawals from others: which record sets go, and not why or beside what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(u128);

impl<'p> Hold<'p> {
    /// What of a plan is too much, if anything is: of a subscription, or of the source's whole. It is too much of a
    /// subscription, too, if a name of it would fall to an endpoint whose resource fits the name worse.
    ///
    /// `before` is what waited behind the last pass. That goes on waiting until there is less of it, or an operator
    /// confirms it.
    pub fn of(
        plan: &'p Plan,
        desired: &Desired,
        before: Option<&HeldBack>,
        source: &Arc<str>,
        snapshot: &'p Snapshot,
        withdraw_max_percent: u8,
    ) -> Option<Hold<'p>> {
        if before.is_none() && plan.withdrawn == 0 {
            return None;
        }
        let withdrawals = Withdrawal::all_doubtful(plan, desired, snapshot);
        let is_ordinary = plan.withdrawn <= WITHDRAW_FREE && !withdrawals.iter().any(|it| it.is_shield);
        if before.is_none() && is_ordinary {
            return None;
        }
        let mut tallies: BTreeMap<&str, Tally<'_>> = BTreeMap::new();
        for withdrawal in &withdrawals {
            tallies.entry(&withdrawal.subscription).or_default().withdrawn.push(withdrawal);
        }
        let before: BTreeMap<&str, &HeldPart> =
            before.iter().flat_map(|it| &it.parts).map(|part| (&*part.subscription, part)).collect();
        let published = super::held::published(source, snapshot);
        for (subscription, tally) in &mut tallies {
            tally.before = before.get(subscription).copied();
            tally.published = published.get(subscription).copied().unwrap_or_default();
        }
        let held = Tally::held(&tallies, published.values().sum(), withdraw_max_percent);
        // Of a subscription that is not listed for now it is not known whether it still would.
        let is_carried = |part: &&&HeldPart| {
            let subscription = &*part.subscription;
            !held.contains(&subscription) && !desired.extent.covers_some_of(subscription)
        };
        let carried = before.values().filter(is_carried);
        let mut parts: Vec<HeldPart> = carried.map(|part| HeldPart::clone(part)).collect();
        parts.extend(held.iter().map(|subscription| tallies[subscription].part(subscription)));
        parts.sort_by(|a, b| a.subscription.cmp(&b.subscription));
        let held_back = HeldBack::of(parts, published.values().sum())?;
        let held: BTreeSet<String> = held.into_iter().map(str::to_owned).collect();
        drop(tallies);
        let withdrawals = withdrawals.into_iter().filter(|it| held.contains(&*it.subscription)).collect();
        Some(Hold { held_back, withdrawals })
    }

    /// Marks those of a plan's differences that wait.
    pub fn mark(&self, differences: &mut [Difference]) {
        let held: BTreeSet<_> = self.withdrawals.iter().map(|it| (it.name, it.rtype, &**it.id)).collect();
        for difference in differences.iter_mut().filter(|it| it.after.is_none()) {
            difference.is_held_back =
                held.contains(&(&difference.name, difference.rtype, &*difference.endpoint));
        }
    }
}

/// What is to go of one subscription.
#[derive(Default)]
struct Tally<'w> {
    withdrawn: Vec<&'w Withdrawal<'w>>,
    published: usize,
    before: Option<&'w HeldPart>,
}

impl Tally<'_> {
    fn began_of(&self) -> usize {
        self.before.map_or(self.published, |before| before.began_of.min(self.published))
    }

    fn is_beyond(&self, withdraw_max_percent: u8) -> bool {
        is_beyond(self.withdrawn.len(), self.began_of(), withdraw_max_percent)
    }

    /// Whether it waited before, and nothing got better since.
    fn still_waits(&self, withdraw_max_percent: u8) -> bool {
        let is_no_less = self.before.is_some_and(|before| self.withdrawn.len() >= before.would_withdraw);
        is_no_less && self.is_beyond(withdraw_max_percent)
    }

    /// The subscriptions whose withdrawals wait.
    fn held<'k>(tallies: &BTreeMap<&'k str, Tally<'_>>, published: usize, percent: u8) -> Vec<&'k str> {
        let is_held_alone = |tally: &Tally<'_>| {
            tally.still_waits(percent)
                || (tally.withdrawn.len() > WITHDRAW_FREE && tally.is_beyond(percent))
                || tally.withdrawn.iter().any(|it| it.is_shield)
        };
        let sum = |is_of: &dyn Fn(&Tally<'_>) -> bool| {
            tallies.values().filter(|it| is_of(it)).map(|it| it.withdrawn.len()).sum::<usize>()
        };
        // They are free once a source. What waits by itself uses none of them up.
        let is_free = sum(&|tally| !is_held_alone(tally)) <= WITHDRAW_FREE;
        let is_held = |tally: &Tally<'_>| is_held_alone(tally) || (!is_free && tally.is_beyond(percent));
        let rest = sum(&|tally| !is_held(tally));
        let is_too_much = rest > WITHDRAW_FREE && is_beyond(rest, published, percent);
        let held = tallies.iter().filter(|(_, tally)| is_too_much || is_held(tally));
        held.map(|(subscription, _)| *subscription).collect()
    }

    fn part(&self, subscription: &str) -> HeldPart {
        HeldPart {
            subscription: subscription.into(),
            would_withdraw: self.withdrawn.len(),
            of: self.published,
            began_of: self.began_of(),
            plan: Fingerprint::of_lines(self.withdrawn.iter().map(|it| it.to_string()).collect()),
        }
    }
}

/// Whether this is more than a share.
fn is_beyond(withdrawn: usize, of: usize, percent: u8) -> bool {
    withdrawn as u128 * 100 > of as u128 * u128::from(percent)
}

impl HeldBack {
    /// What is left of it with these parts alone.
    pub(super) fn retain(mut self, is_wanted: impl FnMut(&HeldPart) -> bool) -> Option<HeldBack> {
        self.parts.retain(is_wanted);
        HeldBack::of(self.parts, self.of)
    }

    /// What these parts are together; `None` of none.
    pub(super) fn of(parts: Vec<HeldPart>, published: usize) -> Option<HeldBack> {
        if parts.is_empty() {
            return None;
        }
        let lines = parts.iter().map(|part| format!("{} {}", part.subscription, part.plan)).collect();
        let would_withdraw = parts.iter().map(|part| part.would_withdraw).sum();
        Some(HeldBack { would_withdraw, of: published, plan: Fingerprint::of_lines(lines), parts })
    }
}

impl fmt::Display for HeldBack {
    /// `13 of 43 record sets: 13 of 40 of subscription …`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} of {} record sets:", self.would_withdraw, self.of)?;
        for (index, part) in self.parts.iter().take(PARTS_TOLD_MAX).enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(out, "{separator} {part}")?;
        }
        match self.parts.len().checked_sub(PARTS_TOLD_MAX) {
            Some(more @ 1..) => write!(out, " and {more} more"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for HeldPart {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} of {} of subscription {}", self.would_withdraw, self.of, self.subscription)
    }
}

impl Fingerprint {
    /// The fingerprint of lines, whatever their order.
    fn of_lines(mut lines: Vec<String>) -> Fingerprint {
        lines.sort_unstable();
        let mut hasher = SipHasher13::new();
        // Those of plans with all that they add and replace were made without it: none of them is one of these.
        hasher.write(b"withdrawals\n");
        for line in lines {
            hasher.write(line.as_bytes());
            hasher.write(b"\n");
        }
        Fingerprint(hasher.finish128().as_u128())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Fingerprint, std::num::ParseIntError> {
        u128::from_str_radix(text, 16).map(Fingerprint)
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Fingerprint, std::num::ParseIntError> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> String {
        fingerprint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::super::desired::{Nameless, Publication};
    use super::super::extent::Extent;
    use super::super::inventory::ConnectionState;
    use super::super::reconcile::{PublishSettings, plan};
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
        let all = all.iter().flat_map(|(subscription, numbers)| {
            numbers.clone().map(|number| publication(subscription, number))
        });
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
        let kept = world.published.publications.iter().find(|it| {
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
                format!(
                    "/subscriptions/x/resourcegroups/g/providers/microsoft.storage/storageaccounts/{name}"
                )
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
        let fingerprint = Fingerprint(0x00ff << 100);
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        assert!("yes".parse::<Fingerprint>().is_err());
    }
}
