//! `private_link.cloud`: a cloud that is known, or one of the operator's own with its hosts and suffixes.

use std::fmt::Display;

use super::assembly::Assembly;
use super::file;
use crate::privatelink::{Cloud, Suffixes, Template};
use crate::sync::azure::{Endpoint, Hosts};

/// What of a cloud other parts of the config go by.
pub(super) struct CloudSettings {
    pub cloud: Cloud,
    /// Where the public cloud's names differ; of a custom cloud alone.
    pub suffixes: Option<Suffixes>,
    /// Azure Resource Manager, and Entra ID; each source of a custom cloud may have its own.
    pub endpoint: Option<Endpoint>,
    pub authority: Option<Endpoint>,
}

impl Assembly<'_> {
    pub(super) fn cloud(&mut self, cloud: Cloud, custom: Option<file::CustomCloud>) -> CloudSettings {
        let Some(Hosts { endpoint, authority }) = Hosts::of_cloud(cloud) else {
            return self.custom_cloud(custom);
        };
        if custom.is_some() {
            let message = format!("belongs to cloud = \"custom\"; the hosts and zones of {cloud} are known");
            self.error("private_link.custom", message);
        }
        CloudSettings { cloud, suffixes: None, endpoint: Some(endpoint), authority: Some(authority) }
    }

    fn custom_cloud(&mut self, custom: Option<file::CustomCloud>) -> CloudSettings {
        let cloud = Cloud::Custom;
        let Some(custom) = custom else {
            let message = "a custom cloud needs [private_link.custom] with its suffix, as in \
                           suffix = \"sovcloud-api.fr\"";
            self.error("private_link.cloud", message);
            return CloudSettings { cloud, suffixes: None, endpoint: None, authority: None };
        };
        let mut endpoint = |key: &str, text: Option<String>| {
            text.and_then(|text| self.read(&format!("private_link.custom.{key}"), text.parse::<Endpoint>()))
        };
        let (endpoint, authority) =
            (endpoint("endpoint", custom.endpoint), endpoint("authority", custom.authority));
        let mut suffixes = self.read("private_link.custom.suffix", Suffixes::new(&custom.suffix));
        for (at, file::Replacement { public, own }) in custom.replace.into_iter().enumerate() {
            let key = format!("private_link.custom.replace[{at}]");
            let public = self.read(&format!("{key}.public"), Template::parse_literal(&public));
            let own = self.read(&format!("{key}.own"), Template::parse_literal(&own));
            if let (Some(suffixes), Some(public), Some(own)) = (&mut suffixes, public, own) {
                suffixes.replace(public, own);
            }
        }
        CloudSettings { cloud, suffixes, endpoint, authority }
    }

    /// A value that could be read; what is wrong with another is told.
    pub(super) fn read<T, E: Display>(&mut self, key: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.error(key, error.to_string())).ok()
    }
}
