//! What one listing tells all of: a subscription, or a resource group of it.

use std::sync::Arc;

use super::arm::ArmId;

/// A subscription or one of its resource groups, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    pub subscription: Arc<str>,
    /// `None`: all of the subscription.
    pub resource_group: Option<Arc<str>>,
}

impl Scope {
    /// All of a subscription.
    pub fn subscription(id: impl Into<Arc<str>>) -> Scope {
        Scope { subscription: id.into(), resource_group: None }
    }

    /// What it is known by: the subscription's id, with `/resourcegroups/{name}` behind it for a group.
    pub fn key(&self) -> Arc<str> {
        match &self.resource_group {
            None => Arc::clone(&self.subscription),
            Some(group) => format!("{}/resourcegroups/{group}", self.subscription).into(),
        }
    }

    /// Where its resources are listed.
    pub fn path(&self) -> String {
        match &self.resource_group {
            None => format!("/subscriptions/{}", self.subscription),
            Some(group) => format!("/subscriptions/{}/resourceGroups/{group}", self.subscription),
        }
    }

    /// Whether a resource lies in it.
    pub fn holds(&self, id: &ArmId) -> bool {
        id.subscription() == Some(&*self.subscription)
            && self.resource_group.as_deref().is_none_or(|group| id.resource_group() == Some(group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_holds_what_lies_in_it_and_not_in_one_whose_name_begins_alike() {
        let all = Scope::subscription("s");
        let group = Scope { resource_group: Some("rg".into()), ..all.clone() };
        let id = |group: &str| {
            ArmId::new(&format!(
                "/Subscriptions/S/resourceGroups/{group}/providers/Microsoft.Network/privateEndpoints/p"
            ))
        };
        assert!(all.holds(&id("RG")) && all.holds(&id("rg-2")));
        assert!(group.holds(&id("RG")) && !group.holds(&id("rg-2")));
        assert!(!all.holds(&ArmId::new("/subscriptions/s2")) && !all.holds(&ArmId::new("x")));
        assert_eq!((&*all.key(), &*group.key()), ("s", "s/resourcegroups/rg"));
    }
}
