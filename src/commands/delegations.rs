//! Where zones and forwarding rules do not work together: rules that are never asked, and delegations that clients are
//! sent to.

use std::fmt;

use crate::config::Config;
use crate::dns::Name;
use crate::zone::{OnMissing, Snapshot, Zone};

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
        let rules: Vec<&Name> = config
            .forward
            .rules
            .iter()
            .map(|rule| &rule.domain)
            .filter(|domain| !domain.borrow().is_root())
            .collect();
        let mut misfits: Vec<Misfit> = rules
            .iter()
            .filter_map(|rule| {
                let zone = enclosing(snapshot, rule).filter(|zone| answers_all_of(zone, rule))?;
                Some(Misfit::Unasked { rule: (*rule).clone(), zone: zone.apex().clone() })
            })
            .collect();
        let mut zones: Vec<_> = snapshot.zones().map(|(_, zone)| zone).collect();
        zones.sort_by(|one, other| one.apex().cmp(other.apex()));
        for zone in zones {
            let mut cuts: Vec<Name> = zone.delegations().map(|cut| cut.to_name()).collect();
            // A zone of ours for the child takes precedence.
            cuts.retain(|cut| {
                snapshot.zone(cut.borrow()).is_none() && !rules.iter().any(|rule| cut.is_within(rule))
            });
            cuts.sort();
            let referred = |cut| Misfit::Referred { cut, zone: zone.apex().clone() };
            misfits.extend(cuts.into_iter().map(referred));
        }
        misfits
    }

    /// What to do about it.
    pub(super) fn advice(&self) -> String {
        match self {
            Misfit::Unasked { rule, zone } => format!(
                "delegate {rule} in {zone} by NS records, serve {zone} with on_missing = \"ask-public\", or remove the rule"
            ),
            Misfit::Referred { cut, .. } => format!(
                "a [[forward.rule]] with domain = \"{cut}\" has its servers asked; resolvers follow a referral themselves, \
                 programs do not"
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
