//! Which Azure, as whom, and what of it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use super::super::arm::ArmId;
use super::super::scope::Scope;
use crate::privatelink::Cloud;

/// The version of Microsoft.Network that is asked for; sovereign clouds lag behind the newest (facts §4).
pub const NETWORK_API_VERSION: &str = "2024-05-01";

/// The version that tells a link's `resolutionPolicy`.
pub const PRIVATE_DNS_API_VERSION: &str = "2024-06-01";

/// Where Azure Arc's agent keeps the keys of its challenges.
pub const ARC_KEY_FOLDER: &str = "/var/opt/azcmagent/tokens";

/// One source of live Azure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub name: String,
    pub subject: Subject,
    /// Ids in lower case; none for all that the identity sees, or that the management group has.
    pub subscriptions: Vec<Arc<str>>,
    /// Resource groups of these subscriptions, at least one of each; none for all of each.
    pub resource_groups: Vec<Scope>,
    /// Where subscriptions are looked for.
    pub management_group: Option<String>,
    /// Ids of subscriptions that are not listed though they are found, and that keep nothing published.
    pub exclude_subscriptions: Vec<Arc<str>>,
    pub credential: CredentialSettings,
    /// Azure Resource Manager.
    pub endpoint: Endpoint,
    /// Entra ID.
    pub authority: Endpoint,
    /// Where a managed identity gets its tokens: the host's own metadata service or Azure Arc's agent.
    pub identity_endpoint: Endpoint,
    pub api_version: String,
    /// The time between passes; `None` for that of all sources.
    pub interval: Option<Duration>,
    /// The first wait before something that failed is asked again; each further one is twice as long.
    pub retry: Duration,
}

/// What of Azure is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Private endpoints and their network interfaces.
    Endpoints,
    /// Private DNS zones with all that is in them.
    PrivateZones,
}

/// As whom Azure is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSettings {
    /// The host's own identity, or one of those that users assigned to it.
    ManagedIdentity {
        assigned: Option<UserAssigned>,
    },
    AzureArc {
        key_folder: PathBuf,
    },
    WorkloadIdentity {
        tenant_id: String,
        client_id: String,
        token_file: PathBuf,
    },
    ClientSecret {
        tenant_id: String,
        client_id: String,
        secret: SecretPlace,
    },
    /// PEM with a certificate and its RSA key.
    ClientCertificate {
        tenant_id: String,
        client_id: String,
        file: PathBuf,
    },
    AzureCli {
        command: PathBuf,
    },
}

/// What tells one managed identity from others of the same host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserAssigned {
    ClientId(String),
    ObjectId(String),
    /// Its ARM id.
    ResourceId(String),
}

/// Where a secret is; config never holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretPlace {
    File(PathBuf),
    Environment(String),
}

/// Scheme, host and port.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

/// Text that is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("`{0}` is no URL such as https://management.azure.com")]
    Url(String),
    #[error("`{0}` is more than scheme, host and port")]
    Rest(String),
    #[error("`{0}` is not https; http is good for loopback addresses only")]
    Plain(String),
}

/// Where a cloud is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// Azure Resource Manager.
    pub endpoint: Endpoint,
    /// Entra ID.
    pub authority: Endpoint,
}

impl Hosts {
    /// Those of a cloud that Microsoft tells them of; `None` for a custom one.
    pub fn of_cloud(cloud: Cloud) -> Option<Hosts> {
        // Facts §4.
        let (endpoint, authority) = match cloud {
            Cloud::Public => ("https://management.azure.com", "https://login.microsoftonline.com"),
            Cloud::UsGov => ("https://management.usgovcloudapi.net", "https://login.microsoftonline.us"),
            Cloud::China => {
                ("https://management.chinacloudapi.cn", "https://login.partner.microsoftonline.cn")
            }
            Cloud::Custom => return None,
        };
        Some(Hosts { endpoint: Endpoint::known(endpoint), authority: Endpoint::known(authority) })
    }
}

impl Settings {
    /// All that the host's own identity sees at these hosts.
    pub fn of_hosts(hosts: Hosts) -> Settings {
        let Hosts { endpoint, authority } = hosts;
        Settings {
            name: "azure".to_owned(),
            subject: Subject::Endpoints,
            subscriptions: Vec::new(),
            resource_groups: Vec::new(),
            management_group: None,
            exclude_subscriptions: Vec::new(),
            credential: CredentialSettings::ManagedIdentity { assigned: None },
            endpoint,
            authority,
            identity_endpoint: Endpoint::metadata_service(),
            api_version: NETWORK_API_VERSION.to_owned(),
            interval: None,
            retry: Duration::from_secs(2),
        }
    }

    /// Whether nothing is left out.
    pub fn names_all(&self) -> bool {
        let lists = [&self.subscriptions, &self.exclude_subscriptions];
        lists.iter().all(|ids| ids.is_empty()) && self.resource_groups.is_empty()
    }

    /// Whether what lies at an ARM id may be published at all: what is not named, an operator let go.
    pub fn names(&self, id: &str) -> bool {
        let id = ArmId::new(id);
        let is_in = |ids: &[Arc<str>]| ids.iter().any(|it| Some(&**it) == id.subscription());
        let is_named = match self.resource_groups.as_slice() {
            [] => self.subscriptions.is_empty() || is_in(&self.subscriptions),
            groups => groups.iter().any(|group| group.holds(&id)),
        };
        is_named && !is_in(&self.exclude_subscriptions)
    }
}

impl UserAssigned {
    /// The parameter of the metadata service.
    pub(super) fn parameter(&self) -> (&'static str, &str) {
        match self {
            UserAssigned::ClientId(id) => ("client_id", id),
            UserAssigned::ObjectId(id) => ("object_id", id),
            // The documentation's name; `msi_res_id` is an older one.
            UserAssigned::ResourceId(id) => ("mi_res_id", id),
        }
    }
}

impl Endpoint {
    fn known(text: &str) -> Endpoint {
        Endpoint(Url::parse(text).expect("the URL is written above"))
    }

    /// The metadata service of a virtual machine; it is link-local and has no TLS.
    pub fn metadata_service() -> Endpoint {
        Endpoint::known("http://169.254.169.254")
    }

    /// Azure Arc's agent on this host.
    pub fn arc_agent() -> Endpoint {
        Endpoint::known("http://127.0.0.1:40342")
    }

    /// A URL at this endpoint.
    pub(super) fn at(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(path);
        url
    }

    /// Whether a URL leads to this endpoint and nowhere else.
    pub(super) fn is_of(&self, url: &Url) -> bool {
        url.origin() == self.0.origin() && url.username().is_empty() && url.password().is_none()
    }

    /// The host and, if it is not the usual one, the port.
    pub(super) fn host(&self) -> String {
        host_of(&self.0)
    }

    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }
}

/// The host of a URL and, if it is not the usual one, the port.
pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    // Not `localhost`: what that is, the upstreams would tell.
    host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Endpoint, EndpointError> {
        let url = Url::parse(text).map_err(|_| EndpointError::Url(text.to_owned()))?;
        let has_rest = url.path() != "/" || url.query().is_some() || url.fragment().is_some();
        // A password in the text is not repeated.
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointError::Rest(format!("{}://…@{}", url.scheme(), host_of(&url))));
        }
        match url.scheme() {
            _ if !url.has_host() => Err(EndpointError::Url(text.to_owned())),
            "https" | "http" if has_rest => Err(EndpointError::Rest(text.to_owned())),
            "https" => Ok(Endpoint(url)),
            "http" if is_loopback(&url) || Endpoint(url.clone()) == Endpoint::metadata_service() => {
                Ok(Endpoint(url))
            }
            "http" => Err(EndpointError::Plain(text.to_owned())),
            _ => Err(EndpointError::Url(text.to_owned())),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_not_sent_in_the_open() {
        for good in [
            "https://management.azure.com",
            "https://management.azure.com/",
            "https://arm.example:8443",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "http://169.254.169.254",
        ] {
            let endpoint: Endpoint = good.parse().unwrap();
            assert_eq!(endpoint.to_string(), good.trim_end_matches('/'));
        }
        for bad in [
            "http://management.azure.com",
            "http://127.0.0.1.example",
            "http://localhost:8080",
            "https://user:password@management.azure.com",
            "https://management.azure.com/path",
            "https://management.azure.com/?query",
            "ftp://127.0.0.1",
            "management.azure.com",
            "",
        ] {
            let error = bad.parse::<Endpoint>().expect_err(bad).to_string();
            assert!(!error.contains("password"), "{error}");
        }
    }
}
