//! What a source tells all of: of the rest it tells nothing, and what that had stays.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::arm::ArmId;
use super::scope::Scope;
use crate::zone::Claim;

/// What a source tells all of, by [`Scope::key`]; of the rest it tells nothing, and what that had stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Extent {
    /// All there are: what is not listed is gone.
    #[default]
    All,
    AllBut(BTreeSet<Arc<str>>),
    Only(BTreeSet<Arc<str>>),
}

impl Extent {
    /// Whether all is told of where a claim's endpoint lies.
    pub fn covers(&self, claim: &Claim) -> bool {
        let group = || ArmId::new(&claim.endpoint).resource_group().map(Arc::from);
        self.covers_place(&claim.subscription, group)
    }

    /// Whether all is told of where an ARM id lies.
    pub fn covers_id(&self, id: &str) -> bool {
        let id = ArmId::new(id);
        let group = || id.resource_group().map(Arc::from);
        id.subscription().is_none_or(|subscription| self.covers_place(subscription, group))
    }

    /// Whether all is told of a subscription, or of a resource group of it.
    pub fn covers_some_of(&self, subscription: &str) -> bool {
        let is_of = |key: &Arc<str>| {
            key.strip_prefix(subscription).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        match self {
            Extent::All => true,
            Extent::AllBut(others) => !others.iter().any(is_of),
            Extent::Only(these) => these.iter().any(is_of),
        }
    }

    fn covers_place(&self, subscription: &str, group: impl Fn() -> Option<Arc<str>>) -> bool {
        let is_in = |scopes: &BTreeSet<Arc<str>>| {
            let has_group = |group| {
                let scope = Scope { subscription: subscription.into(), resource_group: Some(group) };
                scopes.contains(&scope.key())
            };
            scopes.contains(subscription) || (!scopes.is_empty() && group().is_some_and(has_group))
        };
        match self {
            Extent::All => true,
            Extent::AllBut(others) => !is_in(others),
            Extent::Only(these) => is_in(these),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_of_a_resource_group_covers_nothing_beside_it() {
        let id = |group: &str| {
            format!("/subscriptions/S/resourceGroups/{group}/providers/Microsoft.Network/privateEndpoints/p")
        };
        let one = || BTreeSet::from([Arc::from("s/resourcegroups/one")]);
        let (only, all_but) = (Extent::Only(one()), Extent::AllBut(one()));
        for (group, covered) in [("ONE", true), ("one2", false), ("two", false)] {
            assert_eq!(only.covers_id(&id(group)), covered, "{group}");
            assert_eq!(all_but.covers_id(&id(group)), !covered, "{group}");
        }
        assert!(Extent::Only(BTreeSet::from([Arc::from("s")])).covers_id(&id("one")));
    }
}
