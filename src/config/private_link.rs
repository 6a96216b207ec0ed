//! `[private_link]`: the catalogue, and what of it is served.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::slice;
use std::sync::Arc;

use super::assembly::Assembly;
use super::cloud::CloudSettings;
use super::{PrivateLinkSettings, file};
use crate::dns::Ttl;
use crate::privatelink::{Block, Catalogue, Cloud, RowError};

impl Assembly<'_> {
    /// What is compiled in, with the operator's file and inline services over it; `None` when these are wrong.
    fn catalogue(
        &mut self,
        cloud: &CloudSettings,
        file: Option<&Path>,
        services: Vec<Block>,
    ) -> Option<Catalogue> {
        let mut catalogue = Catalogue::builtin(cloud.cloud);
        if let Some(path) = file {
            let overlaid = fs::read_to_string(path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))
                .and_then(|text| {
                    Catalogue::with_overlay(cloud.cloud, &text)
                        .map_err(|error| format!("{}: {error}", path.display()))
                });
            match overlaid {
                Ok(overlaid) => catalogue = overlaid,
                Err(message) => {
                    self.error("private_link.catalogue", message);
                    return None;
                }
            }
        }
        let catalogue = match (&cloud.suffixes, cloud.cloud) {
            (Some(suffixes), _) => catalogue.derive(suffixes),
            // What is wrong with its suffixes is an error already.
            (None, Cloud::Custom) => return None,
            (None, _) => catalogue,
        };
        match catalogue.with_services(services) {
            Ok(catalogue) => Some(catalogue),
            Err(RowError { service, zone, key, message }) => {
                self.error(format!("private_link.service[{service}].zones[{zone}].{key}"), message);
                None
            }
        }
    }

    /// `None` when there is no catalogue to tell the zones by.
    pub(super) fn private_link(
        &mut self,
        file: file::PrivateLink,
        cloud: &CloudSettings,
        has_source: bool,
    ) -> Option<PrivateLinkSettings> {
        let catalogue_file = file.catalogue.map(|path| self.whole(path));
        let catalogue = self.catalogue(cloud, catalogue_file.as_deref(), file.service)?;
        let mut regions = Vec::new();
        for (at, region) in file.regions.into_iter().enumerate() {
            match catalogue.zones(&[], slice::from_ref(&region)) {
                Ok(_) => regions.push(region),
                Err(error) => self.error(format!("private_link.regions[{at}]"), error.to_string()),
            }
        }
        let mut zones = BTreeSet::new();
        for (at, selector) in file.zones.iter().enumerate() {
            let named = catalogue.zones(slice::from_ref(selector), &regions);
            let message = match named {
                Ok(named) if named.is_empty() && regions.is_empty() && !has_source => format!(
                    "`{selector}` names zones with a region in their name, but neither private_link.regions \
                     nor a sync source tells which"
                ),
                Ok(named) => {
                    zones.extend(named);
                    continue;
                }
                Err(error) => error.to_string(),
            };
            self.error(format!("private_link.zones[{at}]"), message);
        }
        let ttl = u32::try_from(file.ttl_secs).ok().and_then(Ttl::from_secs);
        if ttl.is_none() {
            self.within("private_link.ttl_secs", file.ttl_secs, 0, Ttl::MAX.secs().into());
        }
        let addresses = self.ranges("private_link.addresses", &file.addresses).collect();
        Some(PrivateLinkSettings {
            addresses,
            catalogue: Arc::new(catalogue),
            catalogue_file,
            selectors: file.zones,
            regions,
            zones: zones.into_iter().collect(),
            ttl: ttl.unwrap_or(Ttl::MAX),
            on_missing: file.on_missing.into(),
            public_names: file.public_names.into(),
            reverse: file.reverse,
        })
    }
}
