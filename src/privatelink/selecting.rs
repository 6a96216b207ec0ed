//! From an operator's words to the zones to serve.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::carried::{carried_zone, is_carried_zone};
use super::catalogue::{Catalogue, Zone};
use super::cloud::Cloud;
use super::error::CatalogueError;
use super::geo::Region;
use super::row::Status;
use super::template::{Bindings, Template};
use crate::dns::{Name, NameRef};
use crate::telemetry::nearest;

/// Every current zone.
const ALL: &str = "all";

impl Catalogue {
    /// The zones that `selectors` name: `all`, services, resource types, group ids, zones or their patterns. `regions` fill
    /// {regionName} and {regionCode}; a zone with a placeholder that nothing fills is left out.
    pub fn zones(&self, selectors: &[String], regions: &[String]) -> Result<Vec<Name>, CatalogueError> {
        let regions: Vec<Cow<'_, Region>> =
            regions.iter().map(|region| self.region(region)).collect::<Result<_, _>>()?;
        let mut names = BTreeSet::new();
        for selector in selectors {
            if let Some(name) = self.concrete_zone(selector) {
                names.insert(name);
                continue;
            }
            let zones = self.select(selector);
            if zones.is_empty() {
                return Err(self.unknown_selector(selector));
            }
            names.extend(zones.into_iter().flat_map(|zone| fill(&zone.template, &regions)));
        }
        Ok(names.into_iter().collect())
    }

    /// Whether `selectors` name the zone `apex`, in whatever region; `all` names every private-link zone, those that only
    /// names tell too.
    pub fn selects(&self, selectors: &[String], apex: NameRef<'_>) -> bool {
        let is_named = |zone: &Zone| {
            zone.template.match_suffix(apex, &mut Bindings::default()).is_some_and(<[u8]>::is_empty)
        };
        self.names_private_link(apex)
            && selectors.iter().any(|selector| match self.concrete_zone(selector) {
                Some(zone) => zone.borrow() == apex,
                None => {
                    selector.eq_ignore_ascii_case(ALL)
                        || self.select(selector).iter().any(|zone| is_named(zone))
                }
            })
    }

    /// Whether a zone is a private-link zone: the catalogue has it, or its name tells so.
    pub fn names_private_link(&self, apex: NameRef<'_>) -> bool {
        is_carried_zone(apex) || self.is_private_link_zone(apex).is_some()
    }

    fn region(&self, region: &str) -> Result<Cow<'_, Region>, CatalogueError> {
        let cloud = self.cloud().as_str();
        let known = self.data.regions.find(region).filter(|region| region.cloud == cloud).map(Cow::Borrowed);
        // Of the regions of a custom cloud nobody has told.
        let told = || (self.cloud() == Cloud::Custom).then(|| Region::named(region, cloud)).flatten();
        known.or_else(|| told().map(Cow::Owned)).ok_or_else(|| {
            let names = self.data.regions.iter().filter(|region| region.cloud == cloud);
            let nearest = nearest(region, names.map(|region| region.name.as_str()));
            CatalogueError::UnknownRegion { region: region.to_owned(), nearest }
        })
    }

    /// The zone itself when a selector is its name, filled already. Azure has zones that the catalogue lacks.
    fn concrete_zone(&self, selector: &str) -> Option<Name> {
        let name: Name = selector.parse().ok()?;
        (!selector.contains('{') && self.names_private_link(name.borrow())).then_some(name)
    }

    fn select(&self, selector: &str) -> Vec<&Zone> {
        if selector.eq_ignore_ascii_case(ALL) {
            return self.zones.iter().filter(|zone| zone.status == Status::Current).collect();
        }
        if let Ok(pattern) = Template::parse(selector)
            && let Some(zone) = self.zones.iter().find(|zone| zone.template == pattern)
        {
            return vec![zone];
        }
        let mut found: Vec<(Status, &Zone)> = Vec::new();
        for zone in &self.zones {
            let services = zone.services.iter().map(|at| &self.services()[*at as usize]);
            let named = services.filter(|service| {
                service.name.eq_ignore_ascii_case(selector)
                    || service.resource_type.eq_ignore_ascii_case(selector)
                    || service.group_ids.iter().any(|group| group.eq_ignore_ascii_case(selector))
            });
            found.extend(named.map(|service| service.status).min().map(|status| (status, zone)));
        }
        // Variants and older zones only where a word has nothing current.
        let best = found.iter().map(|(status, _)| *status).min();
        found.into_iter().filter(|(status, _)| Some(*status) == best).map(|(_, zone)| zone).collect()
    }

    fn unknown_selector(&self, selector: &str) -> CatalogueError {
        // A name in a zone, which the zone's own was meant by.
        if let Ok(name) = selector.parse::<Name>()
            && let Some(zone) = carried_zone(name.borrow())
        {
            let zone = zone.to_string().trim_end_matches('.').to_owned();
            return CatalogueError::UnknownSelector { selector: selector.to_owned(), nearest: Some(zone) };
        }
        let zones: Vec<String> = self.zones.iter().map(|zone| zone.template.to_string()).collect();
        let words = self.services().iter().filter(|service| service.has_zone()).flat_map(|service| {
            let groups = service.group_ids.iter().map(String::as_str);
            [service.name.as_str(), service.resource_type.as_str()].into_iter().chain(groups)
        });
        let nearest = nearest(selector, words.chain(zones.iter().map(String::as_str)).chain([ALL]));
        CatalogueError::UnknownSelector { selector: selector.to_owned(), nearest }
    }
}

/// The zones of a template: itself, or one a region; none when something else has to be filled.
fn fill(template: &Template, regions: &[Cow<'_, Region>]) -> Vec<Name> {
    if template.is_literal() {
        return template.fill(b"", &Bindings::default()).map(|name| name.to_name()).into_iter().collect();
    }
    let of_region = |region: &Cow<'_, Region>| {
        let mut bindings = Bindings::default();
        bindings.bind("regionName", region.name.as_bytes())?;
        if !region.geo_code.is_empty() {
            bindings.bind("regionCode", region.geo_code.as_bytes())?;
        }
        template.fill(b"", &bindings).map(|name| name.to_name())
    };
    regions.iter().filter_map(of_region).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_names_its_zones_in_every_region() {
        let catalogue = Catalogue::builtin(Cloud::Public);
        let selects = |selector: &str, zone: &str| {
            catalogue.selects(&[selector.to_owned()], zone.parse::<Name>().unwrap().borrow())
        };
        assert!(selects("cluster", "privatelink.eastus.kusto.windows.net"));
        assert!(selects("all", "privatelink.eastus.kusto.windows.net"));
        assert!(selects("privatelink.blob.core.windows.net", "privatelink.blob.core.windows.net"));
        assert!(!selects("blob", "privatelink.vaultcore.azure.net"));
        assert!(!selects("all", "bank.example"));
        // A zone that the catalogue lacks.
        assert!(selects("all", "privatelink.newservice.azure.net"));
        assert!(selects("privatelink.newservice.azure.net", "privatelink.newservice.azure.net"));
        assert!(!selects("blob", "privatelink.newservice.azure.net"));
        assert!(!selects("privatelink.example", "privatelink.example"));
    }

    fn zones_in(cloud: Cloud, selectors: &[&str], regions: &[&str]) -> Result<Vec<String>, String> {
        let strings = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>();
        let zones = Catalogue::builtin(cloud).zones(&strings(selectors), &strings(regions));
        let text = |name: Name| name.to_string().trim_end_matches('.').to_owned();
        zones.map(|zones| zones.into_iter().map(text).collect()).map_err(|error| error.to_string())
    }

    fn zones(selectors: &[&str], regions: &[&str]) -> Result<Vec<String>, String> {
        zones_in(Cloud::Public, selectors, regions)
    }

    #[test]
    fn all_is_every_current_zone_filled_by_region() {
        let none = zones(&["all"], &[]).unwrap();
        let two = zones(&["all"], &["westeurope", "North Europe"]).unwrap();
        assert!(none.contains(&"privatelink.blob.core.windows.net".to_owned()));
        assert!(none.iter().all(|zone| !zone.contains("kusto") && !zone.contains('{')));
        for zone in [
            "privatelink.westeurope.kusto.windows.net",
            "privatelink.northeurope.azmk8s.io",
            "privatelink.we.backup.windowsazure.com",
            "privatelink.ne.backup.windowsazure.com",
        ] {
            assert!(two.contains(&zone.to_owned()), "{zone}");
        }
        for zone in ["scm.privatelink.azurewebsites.net", "westeurope.privatelink.batch.azure.com"] {
            assert!(!two.contains(&zone.to_owned()), "{zone}");
        }
        assert_eq!(two.len(), none.len() + 2 * 5);
    }

    #[test]
    fn a_selector_is_a_service_a_type_a_group_a_zone_or_a_pattern() {
        let blob = Ok(vec!["privatelink.blob.core.windows.net".to_owned()]);
        assert_eq!(zones(&["Blob"], &[]), blob);
        assert_eq!(zones(&["blob", "privatelink.blob.core.windows.net."], &[]), blob);
        let vault = Ok(vec!["privatelink.vaultcore.azure.net".to_owned()]);
        assert_eq!(zones(&["azure key vault"], &[]), vault);
        assert_eq!(zones(&["microsoft.keyvault/vaults"], &[]), vault);
        let pattern = "privatelink.{regionCode}.backup.windowsazure.com";
        assert_eq!(zones(&[pattern], &["eastus"]).unwrap(), ["privatelink.eus.backup.windowsazure.com"]);
        assert_eq!(zones(&[pattern], &[]).unwrap(), [""; 0]);
        let filled = "privatelink.eastus.azmk8s.io";
        assert_eq!(zones(&[filled], &[]).unwrap(), [filled]);
        assert_eq!(
            zones(&["AzureSiteRecovery"], &["eastus"]).unwrap(),
            ["privatelink.siterecovery.windowsazure.com"]
        );
        let gov = zones_in(Cloud::UsGov, &["vault"], &[]).unwrap();
        assert_eq!(gov, ["privatelink.vaultcore.usgovcloudapi.net"]);
    }

    #[test]
    fn a_zone_that_the_catalogue_lacks_is_named_outright() {
        let new = "privatelink.newservice.azure.net";
        assert_eq!(zones(&[new], &[]).unwrap(), [new]);
        assert!(zones(&["privatelink.example"], &[]).is_err() && zones(&["bank.example"], &[]).is_err());
    }

    #[test]
    fn an_unknown_word_is_an_error_that_names_the_nearest() {
        let error = zones(&["blobs"], &[]).unwrap_err();
        assert!(error.contains("`blobs`") && error.ends_with("did you mean `blob`?"), "{error}");
        let error = zones(&["privatlink.blob.core.windows.net"], &[]).unwrap_err();
        assert!(error.ends_with("did you mean `privatelink.blob.core.windows.net`?"), "{error}");
        let error = zones(&["a.privatelink.newservice.azure.net"], &[]).unwrap_err();
        assert!(error.ends_with("did you mean `privatelink.newservice.azure.net`?"), "{error}");
        let error = zones(&["all"], &["westeurop"]).unwrap_err();
        assert!(error.ends_with("no region `westeurop`; did you mean `westeurope`?"), "{error}");
        assert!(zones(&["all"], &["chinaeast"]).is_err());
        assert!(
            zones(&["xyzzy-plugh-nothing-here"], &[]).unwrap_err().ends_with("`xyzzy-plugh-nothing-here`")
        );
    }
}
