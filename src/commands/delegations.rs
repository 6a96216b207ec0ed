//! Where zones and forwarding rules do not work together: rules that are never asked, and delegations that clients are
//! sent to.

use std::fmt;

use crate::config::Config;
use crate::dns::Name;
use crate::zone::{Delegations, OnMissing, Snapshot, Zone};

/// What is worth knowing about a rule or a delegation.
pub(super) enum Misfit {
    /// A zone answers for all names of a rule, and delegates none of them.
    Unasked { rule: Name, zone: Name },
    /// No rule forwards the names below a delegation: who asks for recursion is referred to its servers.
    Referred { cut: Name, zone: Name },
}

impl Misfit {
    /// All of them, those of rules first.
    pub(super) fn all(config: &Config, snapshot: &Snapshot) -> Vec<Misfit> {
        let rules = explicit_rules(config);
        let mut misfits: Vec<Misfit> = rules
            .iter()
            .filter_map(|rule| {
                let zone = enclosing(snapshot, rule).filter(|zone| answers_all_of(zone, rule))?;
                Some(Misfit::Unasked { rule: (*rule).clone(), zone: zone.apex().clone() })
            })
            .collect();
        let referred = cuts(&rules, snapshot, Delegations::Refer);
        misfits.extend(referred.map(|(zone, cut)| Misfit::Referred { cut, zone: zone.apex().clone() }));
        misfits
    }

    /// What to do about it.
    pub(super) fn advice(&self) -> String {
        match self {
            Misfit::Unasked { rule, zone } => format!(
                "delegate {rule} in {zone} by NS records, serve {zone} with on_missing = \"ask-public\", or remove the rule"
            ),
            Misfit::Referred { cut, .. } => format!(
                "follow_delegations = true in its [[zone]], or a [[forward.rule]] with domain = \"{cut}\", has its servers asked; \
                 resolvers follow a referral themselves, programs do not"
            ),
        }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misfit::Unasked { rule, zone } => {
                write!(
                    out,
                    "the forwarding rule for {rule} is never asked: zone {zone} answers for all its names"
                )
            }
            Misfit::Referred { cut, zone } => {
                write!(
                    out,
                    "zone {zone} delegates {cut}, and no rule forwards it: clients are referred to its servers"
                )
            }
        }
    }
}

/// The delegations whose servers are asked, with their zones.
pub(super) fn followed<'s>(config: &Config, snapshot: &'s Snapshot) -> Vec<(&'s Zone, Name)> {
    cuts(&explicit_rules(config), snapshot, Delegations::Follow).collect()
}

/// The domains of rules other than the default one.
fn explicit_rules(config: &Config) -> Vec<&Name> {
    let domains = config.forward.rules.iter().map(|rule| &rule.domain);
    domains.filter(|domain| !domain.borrow().is_root()).collect()
}

/// What zones delegate that have this done with their delegations, but for what rules or other zones of ours take.
fn cuts<'s>(
    rules: &[&Name],
    snapshot: &'s Snapshot,
    delegations: Delegations,
) -> impl Iterator<Item = (&'s Zone, Name)> {
    let zones = snapshot.zones().map(|(_, zone)| &**zone);
    let zones = zones.filter(|zone| zone.header().delegations == delegations);
    let mut cuts: Vec<(&Zone, Name)> =
        zones.flat_map(|zone| zone.delegations().map(move |cut| (zone, cut.to_name()))).collect();
    cuts.retain(|(_, cut)| {
        snapshot.zone(cut.borrow()).is_none() && !rules.iter().any(|rule| cut.is_within(rule))
    });
    cuts.sort_by(|(one, cut), (other, other_cut)| (one.apex(), cut).cmp(&(other.apex(), other_cut)));
    cuts.into_iter()
}

/// The zone that answers for a name in every view.
fn enclosing<'s>(snapshot: &'s Snapshot, name: &Name) -> Option<&'s Zone> {
    let zone = name.borrow().ancestors().find_map(|apex| snapshot.zone(apex))?;
    zone.header().networks.is_empty().then_some(&**zone)
}

/// Whether no name of a rule's domain is left to the rule.
fn answers_all_of(zone: &Zone, rule: &Name) -> bool {
    zone.header().on_missing == OnMissing::NxDomain
        && !zone.delegations().any(|cut| {
            let cut = cut.to_name();
            rule.is_within(&cut) || cut.is_within(rule)
        })
}
