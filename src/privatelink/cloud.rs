//! The clouds of Azure that have Private Link zones of their own.

use std::str::FromStr;

use super::error::CatalogueError;

/// An Azure cloud with Private Link zones of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cloud {
    #[default]
    Public,
    UsGov,
    China,
    /// One whose hosts and suffixes an operator gives; its zones are those of the public cloud below other suffixes.
    Custom,
}

impl Cloud {
    /// All that Microsoft tells the zones of.
    pub const ALL: [Cloud; 3] = [Cloud::Public, Cloud::UsGov, Cloud::China];

    /// Its word in config.
    pub fn as_str(self) -> &'static str {
        match self {
            Cloud::Public => "public",
            Cloud::UsGov => "usgov",
            Cloud::China => "china",
            Cloud::Custom => "custom",
        }
    }
}

impl FromStr for Cloud {
    type Err = CatalogueError;

    fn from_str(text: &str) -> Result<Cloud, CatalogueError> {
        Cloud::ALL
            .into_iter()
            .find(|cloud| cloud.as_str() == text)
            .ok_or_else(|| CatalogueError::UnknownCloud(text.to_owned()))
    }
}

impl std::fmt::Display for Cloud {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.as_str())
    }
}
