//! Ids of ARM: `/subscriptions/{id}/resourceGroups/{name}/providers/{namespace}/{type}/{name}/…`.

use std::sync::Arc;

use super::Listing;
use super::object::printable;

/// An id in lower case, so that equality is that of ARM.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArmId(Arc<str>);

impl ArmId {
    /// Takes an id in whatever case.
    pub fn new(text: &str) -> ArmId {
        ArmId(Arc::from(printable(text.trim_end_matches('/')).to_ascii_lowercase()))
    }

    /// The id in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id in lower case, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// The subscription's id.
    pub fn subscription(&self) -> Option<&str> {
        self.behind("subscriptions")
    }

    /// The resource group's name.
    pub fn resource_group(&self) -> Option<&str> {
        self.behind("resourcegroups")
    }

    /// The last segment.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// Namespace and types, `microsoft.network/privateendpoints/privatednszonegroups`; of a listing's URL too.
    pub fn resource_type(&self) -> Option<String> {
        let segments: Vec<&str> = self.0.split('/').collect();
        let providers = segments.iter().rposition(|segment| *segment == "providers");
        // An example of the REST specification misspells `providers`: then the namespace tells where the type begins.
        let namespace = match providers {
            Some(providers) => providers + 1,
            None => segments.iter().position(|segment| segment.starts_with("microsoft."))?,
        };
        let types = segments.get(namespace + 1..)?.iter().step_by(2);
        let typed = types.fold(segments[namespace].to_owned(), |typed, part| typed + "/" + part);
        typed.contains('/').then_some(typed)
    }

    /// The id of the enclosing resource: that of the endpoint for a zone group, of the network for a subnet.
    pub fn parent(&self) -> Option<ArmId> {
        let (front, _) = self.0.rsplit_once('/')?;
        let (front, _) = front.rsplit_once('/')?;
        (!front.is_empty()).then(|| ArmId(Arc::from(front)))
    }

    /// The listing that this resource, or this listing's URL, belongs to.
    pub fn listing(&self) -> Option<Listing> {
        Some(Listing {
            subscription: Arc::from(self.subscription()?),
            resource_type: Arc::from(self.resource_type()?),
        })
    }

    /// Whether it is of a listing, in the plain form that nearly all ids have: of another `false` says nothing.
    pub fn is_of(&self, listing: &Listing) -> bool {
        let Some((_, typed)) = self.0.rsplit_once("/providers/") else { return false };
        let mut parts = listing.resource_type.split('/');
        let is_namespace = typed.split('/').next() == parts.next();
        let types = typed.split('/').skip(1).step_by(2);
        is_namespace && types.eq(parts) && self.subscription() == Some(&*listing.subscription)
    }

    fn behind(&self, key: &str) -> Option<&str> {
        let mut segments = self.0.split('/');
        segments.find(|segment| *segment == key)?;
        segments.next().filter(|segment| !segment.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_apart_whatever_its_case() {
        let id =
            ArmId::new("/Subscriptions/S1/resourcegroups/RG/providers/Microsoft.Network/privateEndpoints/PE");
        assert_eq!(id.subscription(), Some("s1"));
        assert_eq!(id.resource_group(), Some("rg"));
        assert_eq!(id.resource_type().as_deref(), Some("microsoft.network/privateendpoints"));
        let group = ArmId::new(&format!("{}/privateDnsZoneGroups/default", id.as_str()));
        assert_eq!(group.parent(), Some(id.clone()));
        assert_eq!(
            group.resource_type().as_deref(),
            Some("microsoft.network/privateendpoints/privatednszonegroups")
        );
        let misspelt =
            ArmId::new("/subscriptions/s/resourceGroups/g/provider/Microsoft.Network/privateEndpoints/x");
        assert_eq!(misspelt.resource_type(), id.resource_type());
    }

    #[test]
    fn an_id_is_of_its_own_listing_and_of_no_other() {
        let id = |rest: &str| ArmId::new(&format!("/subscriptions/s/resourceGroups/g/providers/{rest}"));
        let endpoint = id("Microsoft.Network/privateEndpoints/pe");
        let group = id("Microsoft.Network/privateEndpoints/pe/privateDnsZoneGroups/default");
        let within = id("Microsoft.Compute/vms/v/providers/Microsoft.Network/privateEndpoints/pe");
        let all = [endpoint, group, within, ArmId::new("/subscriptions/t/x/y/providers/a.b/c/d")];
        for (one, other) in all.iter().flat_map(|one| all.iter().map(move |other| (one, other))) {
            let listing = other.listing().unwrap();
            assert_eq!(one.is_of(&listing), one.listing() == Some(listing), "{one:?} {other:?}");
        }
    }

    #[test]
    fn what_is_no_id_has_no_parts() {
        for text in ["", "/", "x", "/subscriptions/", "/subscriptions/s", "microsoft."] {
            assert_eq!(ArmId::new(text).listing(), None, "{text}");
        }
    }
}
