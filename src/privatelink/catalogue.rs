//! The catalogue of one cloud, indexed so that a name finds its lines without reading all of them.

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::cloud::Cloud;
use super::data::{Block, Data, RowError, Service};
use super::error::CatalogueError;
use super::geo::Region;
use super::mapping::Mapping;
use super::row::Status;
use super::suffixes::Suffixes;
use super::template::{Bindings, Template};
use crate::dns::{Name, NameRef};

/// Which public names lead into which private zones, in one cloud.
#[derive(Debug, Clone)]
pub struct Catalogue {
    cloud: Cloud,
    pub(super) data: Data,
    pub(super) mappings: Vec<IndexedMapping>,
    /// Mappings by the literal end of their public and of their private names.
    by_public: Index,
    by_private: Index,
    pub(super) zones: Vec<Zone>,
    by_zone: Index,
}

/// A mapping and the lines of the catalogue that have it.
#[derive(Debug, Clone)]
pub(super) struct IndexedMapping {
    pub(super) mapping: Mapping,
    pub(super) services: SmallVec<[u32; 4]>,
    /// The best status of those lines.
    pub(super) status: Status,
    /// The number of labels behind the last placeholder of the public name.
    pub(super) literal_labels: usize,
}

/// A zone, or a family of zones, and the lines of the catalogue that name it.
#[derive(Debug, Clone)]
pub(super) struct Zone {
    pub(super) template: Template,
    pub(super) services: SmallVec<[u32; 4]>,
    /// The best status of those lines.
    pub(super) status: Status,
}

/// Numbers of mappings or zones by the literal end of a name.
#[derive(Debug, Clone, Default)]
struct Index(HashMap<Name, SmallVec<[u32; 4]>>);

impl Catalogue {
    /// What is compiled in.
    pub fn builtin(cloud: Cloud) -> Catalogue {
        Catalogue::of(cloud, Data::builtin().clone())
    }

    /// What is compiled in with an operator's file laid over it; errors name line and key.
    pub fn with_overlay(cloud: Cloud, text: &str) -> Result<Catalogue, CatalogueError> {
        Ok(Catalogue::of(cloud, Data::builtin().overlay(text)?))
    }

    /// The catalogue of a custom cloud: its own lines, and those of the public cloud below `suffixes`.
    pub fn derive(self, suffixes: &Suffixes) -> Catalogue {
        Catalogue::of(Cloud::Custom, self.data.derive(suffixes))
    }

    /// This catalogue with services laid over it, as an overlay's are.
    pub fn with_services(self, blocks: Vec<Block>) -> Result<Catalogue, RowError> {
        if blocks.is_empty() {
            return Ok(self);
        }
        let (cloud, mut data) = (self.cloud, self.data);
        data.lay_over(cloud, blocks)?;
        Ok(Catalogue::of(cloud, data))
    }

    fn of(cloud: Cloud, data: Data) -> Catalogue {
        let mut catalogue = Catalogue {
            cloud,
            data: Data::default(),
            mappings: Vec::new(),
            by_public: Index::default(),
            by_private: Index::default(),
            zones: Vec::new(),
            by_zone: Index::default(),
        };
        catalogue.add_services(data.services(cloud));
        catalogue.data = data;
        catalogue
    }

    fn add_services(&mut self, services: &[Service]) {
        let (mut known_mappings, mut known_zones) = (HashMap::new(), HashMap::new());
        for (at, service) in (0..).zip(services) {
            for mapping in &service.mappings {
                let number = *known_mappings.entry(mapping).or_insert_with(|| self.add_mapping(mapping));
                let indexed = &mut self.mappings[number as usize];
                indexed.services.push(at);
                indexed.status = indexed.status.min(service.status);
            }
            if let Some(template) = service.zone.as_ref().filter(|_| service.has_zone()) {
                let number = *known_zones.entry(template).or_insert_with(|| self.add_zone(template));
                let zone = &mut self.zones[number as usize];
                zone.services.push(at);
                zone.status = zone.status.min(service.status);
            }
        }
    }

    fn add_mapping(&mut self, mapping: &Mapping) -> u32 {
        let number = self.mappings.len() as u32;
        let public = mapping.public.literal_suffix();
        self.mappings.push(IndexedMapping {
            mapping: mapping.clone(),
            services: SmallVec::new(),
            status: Status::Unknown,
            literal_labels: public.borrow().label_count(),
        });
        self.by_public.insert(public, number);
        self.by_private.insert(mapping.private.literal_suffix(), number);
        number
    }

    fn add_zone(&mut self, template: &Template) -> u32 {
        let number = self.zones.len() as u32;
        let zone = Zone { template: template.clone(), services: SmallVec::new(), status: Status::Unknown };
        self.zones.push(zone);
        self.by_zone.insert(template.literal_suffix(), number);
        number
    }

    /// The cloud this is the catalogue of.
    pub fn cloud(&self) -> Cloud {
        self.cloud
    }

    /// All lines, an overlay's first.
    pub fn services(&self) -> &[Service] {
        self.data.services(self.cloud)
    }

    /// All regions of all clouds, by name.
    pub fn regions(&self) -> impl Iterator<Item = &Region> {
        self.data.regions.iter()
    }

    /// The geo code of a region, given its name or display name.
    pub fn geo_code(&self, region: &str) -> Option<&str> {
        self.data.regions.find(region).map(|region| region.geo_code.as_str())
    }

    /// The lines that name the zone `apex`, the best first; `None` when it is no private-link zone.
    pub fn is_private_link_zone(&self, apex: NameRef<'_>) -> Option<Vec<&Service>> {
        let mut services: Vec<_> = self
            .zones_above(apex)
            .filter(|(_, front)| front.is_empty())
            .flat_map(|(zone, _)| zone.services.iter().map(|at| &self.services()[*at as usize]))
            .collect();
        services.sort_by_key(|service| service.status);
        (!services.is_empty()).then_some(services)
    }

    /// The zones that a name is or lies in, with the labels in front of their apex.
    pub(super) fn zones_above<'a>(&'a self, name: NameRef<'a>) -> impl Iterator<Item = (&'a Zone, &'a [u8])> {
        self.by_zone.find(name).filter_map(move |number| {
            let zone = &self.zones[number as usize];
            let front = zone.template.match_suffix(name, &mut Bindings::default())?;
            Some((zone, front))
        })
    }

    /// The mappings whose public names end like `name`.
    pub(super) fn mappings_of_public(&self, name: NameRef<'_>) -> impl Iterator<Item = &IndexedMapping> {
        self.by_public.find(name).map(|number| &self.mappings[number as usize])
    }

    /// The mappings whose private names end like `name`.
    pub(super) fn mappings_of_private(&self, name: NameRef<'_>) -> impl Iterator<Item = &IndexedMapping> {
        self.by_private.find(name).map(|number| &self.mappings[number as usize])
    }
}

impl Index {
    fn insert(&mut self, suffix: Name, number: u32) {
        self.0.entry(suffix).or_default().push(number);
    }

    fn find(&self, name: NameRef<'_>) -> impl Iterator<Item = u32> {
        name.ancestors().filter_map(|ancestor| self.0.get(ancestor.as_wire())).flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn overlay(text: &str) -> Result<Catalogue, CatalogueError> {
        Catalogue::with_overlay(Cloud::Public, text)
    }

    fn error(text: &str) -> String {
        overlay(text).unwrap_err().to_string()
    }

    fn place(catalogue: &Catalogue, fqdn: &str) -> Option<String> {
        let place = catalogue.place(name(fqdn).borrow(), Default::default())?;
        Some(place.record.to_string())
    }

    #[test]
    fn the_file_has_every_row_of_the_sources() {
        let lines = Cloud::ALL.map(|cloud| Catalogue::builtin(cloud).services().len());
        assert_eq!(lines, [159, 82, 53]);
        assert_eq!(Catalogue::builtin(Cloud::Public).regions().count(), 95);
        for cloud in Cloud::ALL {
            for service in Catalogue::builtin(cloud).services() {
                assert!(!service.name.is_empty() && service.resource_type.starts_with("Microsoft."));
                assert!(!service.sources.is_empty());
                assert_eq!(service.zone.is_none(), service.status >= Status::None, "{}", service.name);
            }
        }
    }

    #[test]
    fn geo_codes_are_found_by_either_name_of_a_region() {
        let catalogue = Catalogue::builtin(Cloud::Public);
        for (region, code) in [
            ("westcentralus", "wcus"),
            ("North Europe", "ne"),
            ("spaincentral", "spc"),
            ("chinanorth3", "bjb3"),
            ("USGovVirginia", "ugv"),
        ] {
            assert_eq!(catalogue.geo_code(region), Some(code));
        }
        assert_eq!(catalogue.geo_code("atlantis"), None);
    }

    #[test]
    fn a_zone_is_told_from_a_name_in_it_and_from_other_zones() {
        let catalogue = Catalogue::builtin(Cloud::Public);
        let services = |apex: &str| {
            let apex = name(apex);
            let services = catalogue.is_private_link_zone(apex.borrow())?;
            Some(services.iter().map(|service| service.name.as_str()).collect::<Vec<_>>())
        };
        assert_eq!(services("privatelink.vaultcore.azure.net"), Some(vec!["Azure Key Vault"]));
        assert_eq!(services("privatelink.westeurope.kusto.windows.net"), Some(vec!["Azure Data Explorer"]));
        assert!(services("privatelink.blob.core.windows.net").unwrap().contains(&"Azure Storage"));
        assert_eq!(services("kv.privatelink.vaultcore.azure.net"), None);
        assert_eq!(services("privatelink.vaultcore.azure.cn"), None);
        assert_eq!(services("corp.internal"), None);
        assert_eq!(services("."), None);
    }

    #[test]
    fn an_overlay_adds_a_zone_replaces_a_line_and_overrides_a_geo_code() {
        let catalogue = overlay(
            r#"
            [[public]]
            service = "Our shop"
            type = "Contoso.Shop/shops"
            zones = [{ groups = ["shop"], zone = "privatelink.shop.contoso.com", public = ["shop.contoso.com"] }]
            [[public]]
            service = "Azure Key Vault"
            type = "microsoft.keyvault/vaults"
            zones = [{ zone = "privatelink.vaultcore.azure.net", public = ["vault.example.net"] }]
            [regions]
            spaincentral = { code = "ESC" }
            atlantis = { code = "atl", name = "Atlantis" }
            "#,
        )
        .unwrap();
        assert_eq!(catalogue.services().len(), Catalogue::builtin(Cloud::Public).services().len() + 1);
        let shop = place(&catalogue, "a.shop.contoso.com");
        assert_eq!(shop.as_deref(), Some("a.privatelink.shop.contoso.com."));
        let vault = place(&catalogue, "a.vault.example.net");
        assert_eq!(vault.as_deref(), Some("a.privatelink.vaultcore.azure.net."));
        assert_eq!(place(&catalogue, "a.vault.azure.net"), None);
        assert_eq!(catalogue.geo_code("spaincentral"), Some("esc"));
        assert_eq!(catalogue.geo_code("Atlantis"), Some("atl"));
        assert_eq!(catalogue.data.regions.find("spaincentral").unwrap().display_name, "Spain Central");
        assert!(overlay("").is_ok());
    }

    #[test]
    fn an_overlay_can_take_a_zone_away() {
        let catalogue = overlay(
            "[[public]]\nservice = \"x\"\ntype = \"Microsoft.Search/searchServices\"\n\
             zones = [{ zone = \"privatelink.search.windows.net\", status = \"none\" }]",
        )
        .unwrap();
        assert_eq!(place(&catalogue, "a.search.windows.net"), None);
        let zone = name("privatelink.search.windows.net");
        assert_eq!(catalogue.is_private_link_zone(zone.borrow()).map(|services| services.len()), None);
    }

    #[test]
    fn an_error_of_an_overlay_names_its_line_and_key() {
        let block = "[[public]]\nservice = \"x\"\ntype = \"A.B/c\"\nzones = [\n  ";
        for (row, expected) in [
            (r#"{ zone = "a..b" }"#, "line 5: `zone`: `a..b` is no name: a label is empty"),
            (r#"{ zone = "a.b", public = ["c.d", "{e.f"] }"#, "line 5: `public`: `{e.f` has a brace"),
            (r#"{ zone = 3 }"#, "line 5: `zone`: "),
            (r#"{ zone = "a.b", status = "old" }"#, "line 5: `status`: unknown variant `old`"),
            (r#"{ zone = "a.b", zonee = "c" }"#, "line 5: unknown field `zonee`"),
            (r#"{ public = ["a.b"] }"#, "line 5: `zone`: is missing"),
            (
                r#"{ zone = "privatelink.{x}.b", public = ["c.d"] }"#,
                "line 5: `public`: `c.d` does not tell {x}",
            ),
            (
                r#"{ zone = "a.b", public = ["a.b"] }"#,
                "line 5: `public`: `a.b` would be its own private name",
            ),
        ] {
            let message = error(&format!("{block}{row}\n]"));
            assert!(message.starts_with(expected), "{message}");
        }
        let message = error("\n[regions]\nx = { code = \"a.b\" }");
        assert_eq!(message, "line 3: `code`: a geo code is 1 to 16 letters and digits");
        assert!(error("[[public]]\nservice = \"x\"").starts_with("line 1: missing field `type`"));
        assert!(error("a = ").starts_with("line 1: "));
    }

    #[test]
    fn a_custom_cloud_has_what_the_public_one_has_below_its_suffixes_and_its_own_lines() {
        let text = r#"
            [[public]]
            service = "Our shop"
            type = "Contoso.Shop/shops"
            zones = [{ groups = ["shop"], zone = "privatelink.shop.azure.net", public = ["shop.azure.net"] }]
            [[custom]]
            service = "Azure Container Registry"
            type = "Microsoft.ContainerRegistry/registries"
            zones = [
                { zone = "privatelink.registry.fr", public = ["registry.fr"] },
                { zone = "privatelink.azurecr.sovcloud-api.fr", status = "none" },
            ]
            [regions]
            bleufrancecentral = { code = "bfc", cloud = "custom" }
        "#;
        let suffixes = Suffixes::new("sovcloud-api.fr").unwrap();
        let catalogue = Catalogue::with_overlay(Cloud::Custom, text).unwrap().derive(&suffixes);
        assert_eq!(catalogue.cloud(), Cloud::Custom);
        for (public, private) in [
            ("a.blob.core.sovcloud-api.fr", Some("a.privatelink.blob.core.sovcloud-api.fr.")),
            ("kv.vault.sovcloud-api.fr", Some("kv.privatelink.vaultcore.sovcloud-api.fr.")),
            (
                "c.bleufrancecentral.redis.sovcloud-api.fr",
                Some("c.bleufrancecentral.privatelink.redis.sovcloud-api.fr."),
            ),
            (
                "pg.postgres.database.sovcloud-api.fr",
                Some("pg.privatelink.postgres.database.sovcloud-api.fr."),
            ),
            ("a.shop.sovcloud-api.fr", Some("a.privatelink.shop.sovcloud-api.fr.")),
            ("a.registry.fr", Some("a.privatelink.registry.fr.")),
            ("a.azurecr.sovcloud-api.fr", None),
            ("a.blob.core.windows.net", None),
        ] {
            assert_eq!(place(&catalogue, public).as_deref(), private, "{public}");
        }
        let zones = |region: &str| {
            let selectors = ["AzureBackup", "cluster"].map(str::to_owned);
            let zones = catalogue.zones(&selectors, &[region.to_owned()]).unwrap();
            let mut zones: Vec<String> = zones.iter().map(ToString::to_string).collect();
            zones.retain(|zone| zone.contains("kusto") || zone.contains("backup"));
            zones.sort();
            zones
        };
        let kusto = |region: &str| format!("privatelink.{region}.kusto.sovcloud-api.fr.");
        let backup = "privatelink.bfc.backup.windowsazure.sovcloud-api.fr.".to_owned();
        assert_eq!(zones("bleufrancecentral"), [backup, kusto("bleufrancecentral")]);
        // A region that nobody told the code of has zones by its name alone.
        assert_eq!(zones("bleufrancesouth"), [kusto("bleufrancesouth")]);
        assert!(catalogue.zones(&[], &["bleu.france".to_owned()]).is_err());
    }

    #[test]
    fn a_cloud_is_read_by_its_word() {
        for cloud in Cloud::ALL {
            assert_eq!(cloud.to_string().parse(), Ok(cloud));
        }
        assert!("germany".parse::<Cloud>().unwrap_err().to_string().contains("public, usgov and china"));
    }
}
