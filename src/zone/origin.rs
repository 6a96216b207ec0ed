//! Where a record set comes from. Every record set carries it; claims of endpoints are never merged.

use std::fmt;
use std::sync::Arc;

use super::header::OnMissing;

/// Who put a record set into a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built in: the SOA of a private-link zone, the special names of RFC 6761 and 6303.
    BuiltIn,
    /// A master file.
    File,
    /// An operator, by the admin API.
    Rest,
    /// A dynamic update (RFC 2136).
    Update,
    /// A zone transfer (RFC 5936).
    Transfer,
    /// An approved private endpoint.
    Endpoint(Arc<Claim>),
    /// A private DNS zone of Azure, which gives way to the endpoints themselves.
    AzureZone(Arc<AzureZone>),
}

/// One private endpoint's claim to a name. ARM ids are lower-cased: their case differs between answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// ARM id of the private endpoint.
    pub endpoint: Arc<str>,
    /// ARM id of the virtual network that the endpoint's address lies in.
    pub virtual_network: Option<Arc<str>>,
    /// Id of the endpoint's subscription.
    pub subscription: Arc<str>,
    /// ARM id of the resource behind the endpoint.
    pub resource: Option<Arc<str>>,
    /// The sync source that listed the endpoint.
    pub source: Arc<str>,
    /// When this claim was first seen, in seconds since 1970.
    pub since_secs: u64,
}

impl Claim {
    /// Whether `other` says the same, whenever it was first seen.
    pub fn is_but_for_time(&self, other: &Claim) -> bool {
        let Claim { endpoint, virtual_network, subscription, resource, source, since_secs: _ } = self;
        *endpoint == other.endpoint
            && *virtual_network == other.virtual_network
            && *subscription == other.subscription
            && *resource == other.resource
            && *source == other.source
    }
}

/// A private DNS zone of Azure that is imported. ARM ids are lower-cased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureZone {
    /// ARM id of the private DNS zone.
    pub id: Arc<str>,
    /// Id of the zone's subscription.
    pub subscription: Arc<str>,
    /// The virtual networks that it is linked to.
    pub links: Vec<VirtualNetworkLink>,
    /// The sync source that listed the zone.
    pub source: Arc<str>,
}

/// A private DNS zone's link to a virtual network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualNetworkLink {
    /// ARM id of the virtual network.
    pub virtual_network: Arc<str>,
    /// What its `resolutionPolicy` says.
    pub on_missing: OnMissing,
}

impl AzureZone {
    /// Whether the zone is linked to one of these virtual networks.
    pub fn is_linked_to(&self, virtual_networks: &[Arc<str>]) -> bool {
        self.links.iter().any(|link| virtual_networks.contains(&link.virtual_network))
    }
}

impl Origin {
    /// Whether an operator's hand is behind it, which outranks all that comes from Azure.
    pub fn is_operators(&self) -> bool {
        !matches!(self, Origin::Endpoint(_) | Origin::AzureZone(_))
    }

    /// Whether `other` comes from the same place, so that a new record set of the one replaces that of the other.
    pub fn replaces(&self, other: &Origin) -> bool {
        match (self, other) {
            (Origin::Endpoint(mine), Origin::Endpoint(theirs)) => {
                mine.endpoint == theirs.endpoint && mine.source == theirs.source
            }
            (Origin::AzureZone(mine), Origin::AzureZone(theirs)) => {
                mine.id == theirs.id && mine.source == theirs.source
            }
            (mine, theirs) => std::mem::discriminant(mine) == std::mem::discriminant(theirs),
        }
    }
}

impl fmt::Display for Origin {
    /// Reads behind record data: "from private endpoint …".
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::BuiltIn => out.write_str("(built in)"),
            Origin::File => out.write_str("from a master file"),
            Origin::Rest => out.write_str("from an operator"),
            Origin::Update => out.write_str("from a dynamic update"),
            Origin::Transfer => out.write_str("from a zone transfer"),
            Origin::Endpoint(claim) => {
                write!(out, "from private endpoint {}", claim.endpoint)?;
                match &claim.virtual_network {
                    Some(network) => write!(out, " in virtual network {network}"),
                    None => Ok(()),
                }
            }
            Origin::AzureZone(zone) => write!(out, "from private DNS zone {}", zone.id),
        }
    }
}
