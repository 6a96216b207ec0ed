//! From the bodies of listings to an inventory: all pages or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashMap;

use super::arm::{ArmId, Body, Listing, NetworkInterface, Page, PrivateEndpoint, Resource, ZoneGroup};
use super::inventory::{Endpoint, Inventory, Warning};

/// Bodies that together are the listings of a source, each with the place it comes from.
///
/// Who follows `nextLink` itself takes it out of the page; here it means that a page is still owed.
#[derive(Debug, Default)]
pub struct Listings {
    bodies: Vec<(Arc<str>, Arc<Body>)>,
}

/// A page tells of a next one that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a page with a nextLink, but no last page of this listing: export all pages, or none")]
pub struct Incomplete {
    /// Where the page with the link comes from.
    pub origin: Arc<str>,
}

impl Listings {
    /// Adds a body; of a resource that comes twice, the one added last counts.
    pub fn add(&mut self, origin: impl Into<Arc<str>>, body: impl Into<Arc<Body>>) {
        self.bodies.push((origin.into(), body.into()));
    }

    /// The inventory, if no page is missing.
    pub fn into_inventory(self) -> Result<Inventory, Incomplete> {
        self.check_pages()?;
        let mut warnings = Vec::new();
        let mut endpoints = Latest::default();
        let mut interfaces = Latest::default();
        let mut groups = Latest::default();
        for (origin, body) in &self.bodies {
            for resource in &body.resources {
                match resource {
                    Resource::PrivateEndpoint(it) => endpoints.add(&it.id, it, origin, &mut warnings),
                    Resource::NetworkInterface(it) => interfaces.add(&it.id, it, origin, &mut warnings),
                    Resource::ZoneGroup(it) => groups.add(&it.id, it, origin, &mut warnings),
                }
            }
        }
        Ok(join(&endpoints, &interfaces, &groups, warnings))
    }

    /// Every listing that has a page with a link has a last page too.
    // The token of a link is opaque, so a page missing from the middle cannot be told; the end can.
    fn check_pages(&self) -> Result<(), Incomplete> {
        let pages =
            || self.bodies.iter().flat_map(|(origin, body)| body.pages.iter().map(move |it| (origin, it)));
        let last = || pages().filter(|(_, page)| page.next_link.is_none());
        let ended: BTreeSet<&Listing> = last().flat_map(|(_, page)| &page.listings).collect();
        let empty_ends: BTreeSet<&str> =
            last().filter(|(_, page)| page.listings.is_empty()).map(|(origin, _)| series(origin)).collect();
        for (origin, page) in pages() {
            let Some(link) = &page.next_link else { continue };
            let listings = listings_of(link, page);
            if !listings.is_empty() && !listings.iter().any(Listing::tells_of_endpoints) {
                continue;
            }
            let complete = !listings.is_empty() && listings.iter().all(|listing| ended.contains(listing));
            if !complete && !empty_ends.contains(series(origin)) {
                return Err(Incomplete { origin: Arc::clone(origin) });
            }
        }
        Ok(())
    }
}

/// What a page with a link is a page of.
fn listings_of(link: &str, page: &Page) -> BTreeSet<Listing> {
    let path = link.split(['?', '#']).next().unwrap_or_default();
    match ArmId::new(path).listing() {
        Some(listing) => BTreeSet::from([listing]),
        None => page.listings.clone(),
    }
}

/// What `pages-1.json` and `pages-2.json` have in common: an empty page is known by it alone.
fn series(origin: &str) -> &str {
    let stem = origin.rsplit_once('.').map_or(origin, |(stem, _)| stem);
    stem.trim_end_matches(|character: char| character.is_ascii_digit())
}

/// Resources by id, the one added last.
struct Latest<'b, T>(BTreeMap<&'b ArmId, (&'b Arc<str>, &'b T)>);

impl<T> Default for Latest<'_, T> {
    fn default() -> Self {
        Latest(BTreeMap::new())
    }
}

impl<'b, T: PartialEq> Latest<'b, T> {
    fn add(&mut self, id: &'b ArmId, resource: &'b T, origin: &'b Arc<str>, warnings: &mut Vec<Warning>) {
        if let Some((first, known)) = self.0.insert(id, (origin, resource))
            && known != resource
        {
            let (first, second) = (Arc::clone(first), Arc::clone(origin));
            warnings.push(Warning::Duplicate { id: id.shared(), first, second });
        }
    }

    fn values(&self) -> impl Iterator<Item = &'b T> {
        self.0.values().map(|(_, resource)| *resource)
    }
}

/// Gives each endpoint its interfaces and zone groups; those of endpoints that are not listed fall away.
fn join(
    endpoints: &Latest<'_, PrivateEndpoint>,
    interfaces: &Latest<'_, NetworkInterface>,
    groups: &Latest<'_, ZoneGroup>,
    mut warnings: Vec<Warning>,
) -> Inventory {
    let mut owner: HashMap<&ArmId, &ArmId> = HashMap::new();
    for endpoint in endpoints.values() {
        owner.extend(endpoint.network_interfaces.iter().map(|interface| (interface, &endpoint.id)));
    }
    let mut interfaces_of: HashMap<&ArmId, Vec<&NetworkInterface>> = HashMap::new();
    for interface in interfaces.values() {
        let endpoint = interface.private_endpoint.as_ref().or_else(|| owner.get(&interface.id).copied());
        if let Some(endpoint) = endpoint {
            interfaces_of.entry(endpoint).or_default().push(interface);
        }
    }
    let mut groups_of: HashMap<&ArmId, Vec<&ZoneGroup>> = HashMap::new();
    for group in groups.values() {
        groups_of.entry(&group.private_endpoint).or_default().push(group);
    }
    let assembled = endpoints.values().filter_map(|endpoint| {
        let interfaces = interfaces_of.get(&endpoint.id).map(Vec::as_slice).unwrap_or_default();
        let groups = groups_of.get(&endpoint.id).map(Vec::as_slice).unwrap_or_default();
        Endpoint::assemble(endpoint, interfaces, groups, &mut warnings)
    });
    let assembled = assembled.collect();
    Inventory::new(assembled, warnings)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network";
    const LINK: &str = "https://management.azure.com/subscriptions/S/providers/Microsoft.Network/privateEndpoints?$skiptoken=2";

    fn endpoint(name: &str, fqdn: &str) -> String {
        format!(
            r#"{{"id": "{BASE}/privateEndpoints/{name}", "name": "{name}", "customDnsConfigs": [{{"fqdn": "{fqdn}",
            "ipAddresses": ["10.0.0.1"]}}]}}"#
        )
    }

    fn page(items: &[String], link: Option<&str>) -> String {
        let link = link.map_or("null".to_owned(), |link| format!("\"{link}\""));
        format!(r#"{{"value": [{}], "nextLink": {link}}}"#, items.join(","))
    }

    fn inventory(bodies: &[(&str, String)]) -> Result<Inventory, Incomplete> {
        let mut listings = Listings::default();
        for (origin, body) in bodies {
            listings.add(*origin, Body::read(body.as_bytes()).unwrap());
        }
        listings.into_inventory()
    }

    #[test]
    fn all_pages_or_nothing() {
        let first = page(&[endpoint("a", "a.example")], Some(LINK));
        let last = page(&[endpoint("b", "b.example")], None);
        let nic = format!(r#"[{{"id": "{BASE}/networkInterfaces/n"}}]"#);
        let elsewhere = last.replace("/subscriptions/s/", "/subscriptions/other/");
        let both = inventory(&[("2.json", last), ("1.json", first.clone())]).unwrap();
        assert_eq!(both.endpoints().len(), 2);
        for other in [nic, elsewhere, page(&[], None)] {
            let missing = inventory(&[("page1.json", first.clone()), ("other.json", other)]).unwrap_err();
            assert_eq!(&*missing.origin, "page1.json");
        }
    }

    #[test]
    fn an_empty_last_page_is_known_by_its_name() {
        let first = page(&[endpoint("a", "a.example")], Some(LINK));
        assert!(inventory(&[("x/page1.json", first.clone()), ("x/page2.json", page(&[], None))]).is_ok());
        assert!(inventory(&[("x/page1.json", first), ("y/page2.json", page(&[], None))]).is_err());
    }

    #[test]
    fn a_missing_page_of_another_kind_does_not_matter() {
        let records = r#"{"value": [], "nextLink":
            "https://management.azure.com/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/privateDnsZones/z/ALL?x"}"#;
        assert!(inventory(&[("records.json", records.to_owned())]).is_ok());
        let opaque = r#"{"value": [], "nextLink": "?token"}"#;
        assert!(inventory(&[("opaque.json", opaque.to_owned())]).is_err());
    }

    #[test]
    fn the_last_of_two_counts_and_a_difference_is_told() {
        let old = page(&[endpoint("a", "old.example")], None);
        let new = page(&[endpoint("A", "new.example")], None);
        let inventory = |bodies: &[(&str, String)]| super::tests::inventory(bodies).unwrap();
        let same = inventory(&[("1", old.clone()), ("2", old.clone())]);
        assert_eq!((same.endpoints().len(), same.warnings().len()), (1, 0));
        let differing = inventory(&[("1", old), ("2", new)]);
        assert_eq!(differing.endpoints()[0].names[0].fqdn.to_string(), "new.example.");
        let [Warning::Duplicate { first, second, .. }] = differing.warnings() else { panic!() };
        assert_eq!((&**first, &**second), ("1", "2"));
    }

    #[test]
    fn interfaces_and_groups_of_unknown_endpoints_fall_away() {
        let nic = format!(
            r#"[{{"id": "{BASE}/networkInterfaces/n", "privateEndpoint": {{"id": "{BASE}/privateEndpoints/gone"}}}},
            {{"id": "{BASE}/privateEndpoints/gone/privateDnsZoneGroups/default"}}]"#
        );
        assert_eq!(inventory(&[("n", nic)]).unwrap(), Inventory::default());
    }
}
