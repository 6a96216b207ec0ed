//! What the catalogue has to say about a name, for people.

use std::fmt;

use super::catalogue::Catalogue;
use super::cloud::Cloud;
use super::data::Service;
use super::placing::Placement;
use super::row::Status;
use crate::dns::{Name, NameRef};
use crate::telemetry::nearest;

/// Everything the catalogue knows about one name.
#[derive(Debug, Clone)]
pub struct Description {
    pub name: Name,
    pub cloud: Cloud,
    pub kind: Kind,
    /// Where the name is served, the likeliest first.
    pub places: Vec<Placement>,
    /// The names that clients use for it.
    pub public_names: Vec<Name>,
    /// The lines that know it, the best first.
    pub services: Vec<Service>,
}

/// What a name is to the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The apex of a private zone.
    Zone,
    /// A name in a private zone.
    Private,
    /// A name that leads into a private zone.
    Public,
    /// A public suffix below which names lead into private zones, or a name below it that has no record of its own.
    Suffix,
    /// Nothing; the zone that looks most like it, if one does.
    Unknown { nearest: Option<String> },
}

impl Catalogue {
    /// Says what `name` is: a zone, a private or public name, a public suffix, or unknown.
    pub fn describe(&self, name: NameRef<'_>) -> Description {
        let describe = |kind, places, public_names, services: Vec<&Service>| {
            let mut services: Vec<Service> = services.into_iter().cloned().collect();
            services.sort_by_key(|service| service.status);
            let name = name.to_name();
            Description { name, cloud: self.cloud(), kind, places, public_names, services }
        };
        if let Some(services) = self.is_private_link_zone(name) {
            return describe(Kind::Zone, Vec::new(), Vec::new(), services);
        }
        if let Some(zone) = self.private_zone_of(name) {
            let services = zone.services.iter().map(|at| &self.services()[*at as usize]);
            let places = self.place(name, super::placing::Hint::default()).into_iter().collect();
            return describe(Kind::Private, places, self.public_names(name), services.collect());
        }
        let places = self.private_names(name).into_vec();
        let services = self.services().iter();
        if !places.is_empty() {
            let leads = |service: &&Service| {
                let mut ways = service.mappings.iter().filter_map(|mapping| mapping.inward(name, &[]));
                ways.any(|(_, record)| places.iter().any(|place| place.record == record))
            };
            let services = services.filter(leads).collect();
            return describe(Kind::Public, places, vec![name.to_name()], services);
        }
        let below = |service: &&Service| {
            let mut suffixes = service.public_suffixes.iter();
            suffixes.any(|suffix| suffix.match_suffix(name, &mut Default::default()).is_some())
        };
        let services: Vec<&Service> = services.filter(below).collect();
        if !services.is_empty() {
            return describe(Kind::Suffix, places, Vec::new(), services);
        }
        describe(Kind::Unknown { nearest: self.nearest_zone(name) }, places, Vec::new(), services)
    }

    /// The zone whose own name, or whose public suffix, looks most like the end of `name`.
    fn nearest_zone(&self, name: NameRef<'_>) -> Option<String> {
        let patterns: Vec<(String, String)> = self
            .services()
            .iter()
            .filter(|service| service.has_zone() && service.status == Status::Current)
            .flat_map(|service| {
                let zone = service.zone.as_ref().map(|zone| zone.to_string()).unwrap_or_default();
                let suffixes = service.public_suffixes.iter().map(|suffix| suffix.to_string());
                suffixes.chain([zone.clone()]).map(move |pattern| (pattern, zone.clone())).collect::<Vec<_>>()
            })
            .collect();
        // The longest end that looks like something tells most.
        name.ancestors().take_while(|end| end.label_count() > 1).find_map(|end| {
            let end = end.to_string();
            let pattern =
                nearest(end.trim_end_matches('.'), patterns.iter().map(|(pattern, _)| pattern.as_str()))?;
            patterns.iter().find(|(known, _)| *known == pattern).map(|(_, zone)| zone.clone())
        })
    }
}

impl fmt::Display for Description {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, cloud) = (&self.name, self.cloud);
        match &self.kind {
            Kind::Zone => writeln!(out, "{name} is a private zone (cloud {cloud})")?,
            Kind::Private => writeln!(out, "{name} is a private name (cloud {cloud})")?,
            Kind::Public => writeln!(out, "{name} is a public name (cloud {cloud})")?,
            Kind::Suffix => writeln!(
                out,
                "{name} is or lies below a public suffix (cloud {cloud}), but no record can be told from it alone"
            )?,
            Kind::Unknown { nearest: Some(zone) } => {
                return writeln!(out, "{name} is unknown (cloud {cloud}); the nearest zone is {zone}");
            }
            Kind::Unknown { nearest: None } => return writeln!(out, "{name} is unknown (cloud {cloud})"),
        }
        for place in &self.places {
            let record = place.record.borrow().relative_to(place.zone.borrow());
            writeln!(out, "  zone          {}", place.zone)?;
            writeln!(out, "  record        {record}")?;
            writeln!(out, "  private name  {}", place.record)?;
        }
        for name in &self.public_names {
            writeln!(out, "  public name   {name}")?;
        }
        self.services.iter().try_for_each(|service| write_service(service, out))
    }
}

fn write_service(service: &Service, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let words = |words: &[String]| if words.is_empty() { "none".to_owned() } else { words.join(", ") };
    writeln!(out, "  service       {}", service.name)?;
    writeln!(out, "    type        {}", service.resource_type)?;
    writeln!(out, "    group ids   {}", words(&service.group_ids))?;
    if let Some(zone) = &service.zone {
        writeln!(out, "    zone        {zone}")?;
    }
    let suffixes: Vec<String> = service.public_suffixes.iter().map(|suffix| suffix.to_string()).collect();
    writeln!(out, "    public      {}", words(&suffixes))?;
    writeln!(out, "    status      {}", service.status)?;
    if !service.note.is_empty() {
        writeln!(out, "    note        {}", service.note)?;
    }
    Ok(())
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Status::Current => "current",
            Status::Variant => "variant (seen, not to be made as a zone of its own)",
            Status::Older => "older (renamed or dropped since)",
            Status::None => "none (Microsoft has no zone)",
            Status::Unknown => "unknown (the sources disagree)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(text: &str) -> Description {
        let name: Name = text.parse().unwrap();
        Catalogue::builtin(Cloud::Public).describe(name.borrow())
    }

    #[test]
    fn a_public_name_is_told_its_zone_record_and_services() {
        let description = describe("kv01.vault.azure.net");
        assert_eq!(description.kind, Kind::Public);
        assert_eq!(
            description.to_string(),
            "kv01.vault.azure.net. is a public name (cloud public)\n  \
             zone          privatelink.vaultcore.azure.net.\n  \
             record        kv01\n  \
             private name  kv01.privatelink.vaultcore.azure.net.\n  \
             public name   kv01.vault.azure.net.\n  \
             service       Azure Key Vault\n    \
             type        Microsoft.KeyVault/vaults\n    \
             group ids   vault\n    \
             zone        privatelink.vaultcore.azure.net\n    \
             public      vault.azure.net, vaultcore.azure.net\n    \
             status      current\n    \
             note        public suffix vault.azure.net differs from the zone stem vaultcore.azure.net\n"
        );
    }

    #[test]
    fn private_names_zones_and_suffixes_are_told_apart() {
        let private = describe("acct.privatelink.blob.core.windows.net");
        assert_eq!(private.kind, Kind::Private);
        assert_eq!(private.public_names[0].to_string(), "acct.blob.core.windows.net.");
        let zone = describe("privatelink.blob.core.windows.net");
        assert_eq!(zone.kind, Kind::Zone);
        assert!(zone.services.iter().any(|service| service.name == "Azure Managed Disks"));
        assert_eq!(describe("blob.core.windows.net").kind, Kind::Suffix);
        let renamed = describe("ep.eastus.inference.ml.azure.com");
        assert_eq!(renamed.kind, Kind::Suffix);
        assert!(renamed.to_string().contains("Azure Machine Learning workspace"));
    }

    #[test]
    fn an_unknown_name_is_told_the_nearest_zone() {
        for (text, zone) in [
            ("acct.privatelink.blob.core.window.net", Some("privatelink.blob.core.windows.net")),
            ("acct.blob.core.window.net", Some("privatelink.blob.core.windows.net")),
            ("kv.vault.azur.net", Some("privatelink.vaultcore.azure.net")),
            ("www.example.org", None),
            (".", None),
        ] {
            let description = describe(text);
            assert_eq!(description.kind, Kind::Unknown { nearest: zone.map(str::to_owned) });
            assert!(description.to_string().contains("is unknown"));
        }
    }
}
