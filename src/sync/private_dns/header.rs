//! What the links of Azure's private DNS zones say of networks and of names that are missing.

use std::fmt;
use std::sync::Arc;

use crate::dns::Name;
use crate::privatelink::{Catalogue, Template};
use crate::zone::{AzureZone, Network, Networks, OnMissing, ZoneHeader};

/// What an operator should know of how zones were imported.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remark {
    /// The zone is linked to no virtual network that a `[[network]]` names.
    NotLinked { apex: Name, zone: Arc<str> },
    /// `private_link.zones` leaves the zone out.
    NotSelected { apex: Name, zone: Arc<str> },
    /// Links of one name differ in their `resolutionPolicy`.
    PoliciesDiffer { apex: Name },
    /// Everybody else's names would not exist.
    PublicSuffix { apex: Name },
}

/// Whether a zone is to be imported: a network of ours sees it, or there are none.
pub fn is_ours(zone: &AzureZone, networks: &Networks) -> bool {
    networks.iter().next().is_none() || networks.iter().any(|(_, network)| sees(zone, network))
}

/// Whether a network's clients see the zone. One that names no virtual network may lie anywhere, as on-premises.
fn sees(zone: &AzureZone, network: &Network) -> bool {
    network.virtual_networks.is_empty() || zone.is_linked_to(&network.virtual_networks)
}

/// The settings of a zone that these zones of Azure are imported into: `base`, with what their links say.
pub fn imported_header<'z>(
    base: ZoneHeader,
    zones: impl Iterator<Item = &'z AzureZone>,
    networks: &Networks,
    catalogue: &Catalogue,
) -> (ZoneHeader, Vec<Remark>) {
    let mut header = base;
    let ours: Vec<&AzureZone> = zones.filter(|zone| is_ours(zone, networks)).collect();
    if ours.is_empty() {
        return (header, Vec::new());
    }
    let seen_by: Vec<Arc<str>> = networks
        .iter()
        .filter(|(_, network)| ours.iter().any(|zone| sees(zone, network)))
        .map(|(_, network)| Arc::clone(&network.name))
        .collect();
    header.networks = if seen_by.len() == networks.iter().count() { Vec::new() } else { seen_by };
    let named = |id: &Arc<str>| networks.iter().any(|(_, network)| network.virtual_networks.contains(id));
    let links = || ours.iter().flat_map(|zone| &zone.links);
    let mut policies: Vec<OnMissing> =
        links().filter(|link| named(&link.virtual_network)).map(|link| link.on_missing).collect();
    if policies.is_empty() {
        policies = links().map(|link| link.on_missing).collect();
    }
    let redirects = policies.contains(&OnMissing::AskPublic);
    let refuses = policies.contains(&OnMissing::NxDomain);
    match (redirects, refuses) {
        // Nothing is linked: what config says stays.
        (false, false) => {}
        (true, _) => header.on_missing = OnMissing::AskPublic,
        (false, true) => header.on_missing = OnMissing::NxDomain,
    }
    let mut remarks = Vec::new();
    if redirects && refuses {
        remarks.push(Remark::PoliciesDiffer { apex: header.apex.clone() });
    }
    if header.on_missing == OnMissing::NxDomain && is_public_suffix(&header.apex, catalogue) {
        header.on_missing = OnMissing::AskPublic;
        remarks.push(Remark::PublicSuffix { apex: header.apex.clone() });
    }
    (header, remarks)
}

/// A zone of all storage accounts of the world without those of others makes these vanish (facts §3).
pub fn is_public_suffix(apex: &Name, catalogue: &Catalogue) -> bool {
    let Ok(pattern) = Template::parse(&apex.to_string()) else { return false };
    catalogue.services().iter().any(|service| service.public_suffixes.contains(&pattern))
}

impl fmt::Display for Remark {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remark::NotLinked { apex, zone } => write!(
                out,
                "{apex} is not imported from {zone}: it is linked to no virtual network that a [[network]] names"
            ),
            Remark::NotSelected { apex, zone } => {
                write!(out, "{apex} is not imported from {zone}: private_link.zones leaves it out")
            }
            Remark::PoliciesDiffer { apex } => write!(
                out,
                "links of {apex} differ in their resolutionPolicy: names that it lacks are asked upstream; a [[zone]] \
                 with on_missing decides"
            ),
            Remark::PublicSuffix { apex } => write!(
                out,
                "{apex} is a public suffix of Azure: names that it lacks are asked upstream, as everybody else's \
                 would not exist"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privatelink::Cloud;
    use crate::zone::VirtualNetworkLink;

    fn zone(links: &[(&str, OnMissing)]) -> AzureZone {
        let link = |(network, on_missing): &(&str, OnMissing)| VirtualNetworkLink {
            virtual_network: (*network).into(),
            on_missing: *on_missing,
        };
        let links = links.iter().map(link).collect();
        AzureZone { id: "/zone".into(), subscription: "s".into(), links, source: "zones".into() }
    }

    fn networks(list: &[(&str, &[&str])]) -> Networks {
        let of = |(name, ids): &(&str, &[&str])| Network {
            name: (*name).into(),
            clients: Vec::new(),
            virtual_networks: ids.iter().map(|id| (*id).into()).collect(),
        };
        Networks::new(list.iter().map(of).collect(), Vec::new()).unwrap()
    }

    fn header(zones: &[AzureZone], networks: &Networks) -> (OnMissing, Vec<String>, bool) {
        let base = ZoneHeader::private_link("privatelink.blob.core.windows.net.".parse().unwrap());
        let catalogue = Catalogue::builtin(Cloud::Public);
        let (header, remarks) = imported_header(base, zones.iter(), networks, &catalogue);
        (header.on_missing, header.networks.iter().map(ToString::to_string).collect(), !remarks.is_empty())
    }

    use OnMissing::{AskPublic, NxDomain};

    #[test]
    fn links_tell_what_a_miss_means_and_who_sees_the_zone() {
        let all = networks(&[]);
        assert_eq!(header(&[zone(&[("v1", NxDomain)])], &all), (NxDomain, vec![], false));
        assert_eq!(header(&[zone(&[("v1", AskPublic)])], &all), (AskPublic, vec![], false));
        assert_eq!(header(&[zone(&[("v1", NxDomain), ("v2", AskPublic)])], &all), (AskPublic, vec![], true));
        // Without a link config has its way.
        assert_eq!(header(&[zone(&[])], &all), (AskPublic, vec![], false));
        let two = networks(&[("one", &["v1"]), ("two", &["v2"])]);
        let one = zone(&[("v1", NxDomain), ("elsewhere", AskPublic)]);
        assert_eq!(header(std::slice::from_ref(&one), &two), (NxDomain, vec!["one".to_owned()], false));
        assert_eq!(header(&[one, zone(&[("v2", NxDomain)])], &two), (NxDomain, vec![], false));
    }

    #[test]
    fn a_public_suffix_never_hides_the_names_of_others() {
        let suffix = ZoneHeader::plain("blob.core.windows.net.".parse().unwrap());
        let catalogue = Catalogue::builtin(Cloud::Public);
        let zone = zone(&[("v1", NxDomain)]);
        let (header, remarks) = imported_header(suffix, [&zone].into_iter(), &networks(&[]), &catalogue);
        assert_eq!((header.on_missing, remarks.len()), (AskPublic, 1));
    }

    #[test]
    fn a_network_without_virtual_networks_sees_every_zone() {
        let some = networks(&[("hub", &["v1"]), ("office", &[])]);
        let elsewhere = zone(&[("v9", AskPublic)]);
        assert!(is_ours(&elsewhere, &some));
        assert_eq!(header(&[elsewhere], &some), (AskPublic, vec!["office".to_owned()], false));
        assert_eq!(header(&[zone(&[("v1", NxDomain)])], &some), (NxDomain, vec![], false));
    }

    #[test]
    fn a_zone_that_none_of_our_networks_is_linked_to_is_not_ours() {
        let named = networks(&[("hub", &["v1"])]);
        assert!(!is_ours(&zone(&[("v2", AskPublic)]), &named) && !is_ours(&zone(&[]), &named));
        assert!(is_ours(&zone(&[("v1", AskPublic)]), &named) && is_ours(&zone(&[]), &networks(&[])));
    }
}
