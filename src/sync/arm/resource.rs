//! The three resources that tell of private endpoints, reduced to what names and addresses need.

use std::sync::Arc;

use super::id::ArmId;
use super::object::{Json, Object, printable};

const PRIVATE_ENDPOINT: &str = "microsoft.network/privateendpoints";
const NETWORK_INTERFACE: &str = "microsoft.network/networkinterfaces";
const ZONE_GROUP: &str = "microsoft.network/privateendpoints/privatednszonegroups";

/// The types of the resources below, in lower case.
pub const TYPES: [&str; 3] = [PRIVATE_ENDPOINT, NETWORK_INTERFACE, ZONE_GROUP];

/// A resource that the inventory is built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    PrivateEndpoint(PrivateEndpoint),
    NetworkInterface(NetworkInterface),
    ZoneGroup(ZoneGroup),
}

/// `Microsoft.Network/privateEndpoints`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateEndpoint {
    pub id: ArmId,
    /// As Azure writes it.
    pub name: Arc<str>,
    pub provisioning_state: Option<Arc<str>>,
    pub subnet: Option<ArmId>,
    /// The automatic connections and behind them the manual ones.
    pub connections: Vec<Connection>,
    pub network_interfaces: Vec<ArmId>,
    pub custom_dns: Vec<CustomDns>,
}

/// A connection to the resource behind the endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    pub resource: Option<ArmId>,
    pub group_ids: Vec<Arc<str>>,
    pub status: Option<Arc<str>>,
}

/// A name and its addresses as the endpoint itself lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomDns {
    pub fqdn: Option<Arc<str>>,
    pub addresses: Vec<Arc<str>>,
}

/// `Microsoft.Network/networkInterfaces` that belongs to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkInterface {
    pub id: ArmId,
    pub private_endpoint: Option<ArmId>,
    pub ip_configurations: Vec<IpConfiguration>,
}

/// One address of an interface and the names that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpConfiguration {
    pub address: Option<Arc<str>>,
    pub subnet: Option<ArmId>,
    pub group_id: Option<Arc<str>>,
    pub member: Option<Arc<str>>,
    pub fqdns: Vec<Arc<str>>,
}

/// `Microsoft.Network/privateEndpoints/privateDnsZoneGroups`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneGroup {
    pub id: ArmId,
    pub private_endpoint: ArmId,
    pub record_sets: Vec<RecordSet>,
}

/// A record set that Azure keeps in a private DNS zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSet {
    /// The zone's name.
    pub zone: Arc<str>,
    /// Relative to the zone.
    pub name: Option<Arc<str>>,
    pub fqdn: Option<Arc<str>>,
    pub addresses: Vec<Arc<str>>,
}

/// The id that every resource has.
pub fn id_of(item: &Object<'_>) -> Result<ArmId, String> {
    let id = item.own("id").and_then(Json::as_text).filter(|id| !id.is_empty());
    id.map(ArmId::new).ok_or_else(|| "a resource without an id".to_owned())
}

impl Resource {
    /// Reads a resource; `None` for one that says nothing of private endpoints.
    pub fn read(id: &ArmId, item: &Object<'_>) -> Result<Option<Resource>, String> {
        let told = item.own("type").and_then(Json::as_text).map(str::to_ascii_lowercase);
        let read = match told.or_else(|| id.resource_type()).as_deref() {
            Some(PRIVATE_ENDPOINT) => {
                PrivateEndpoint::read(id, item).map(|endpoint| Some(Resource::PrivateEndpoint(endpoint)))
            }
            Some(NETWORK_INTERFACE) => {
                NetworkInterface::read(id, item).map(|interface| Some(Resource::NetworkInterface(interface)))
            }
            Some(ZONE_GROUP) => ZoneGroup::read(id, item).map(|group| group.map(Resource::ZoneGroup)),
            _ => Ok(None),
        };
        read.map_err(|cause| format!("{}: {cause}", id.as_str()))
    }
}

impl PrivateEndpoint {
    fn read(id: &ArmId, item: &Object<'_>) -> Result<PrivateEndpoint, String> {
        let mut connections = Vec::new();
        // Cross-tenant connections are always manual; either list may hold an approved one.
        for key in ["privateLinkServiceConnections", "manualPrivateLinkServiceConnections"] {
            for connection in item.objects(key)? {
                connections.push(Connection::read(connection)?);
            }
        }
        let interfaces = item.objects("networkInterfaces")?;
        Ok(PrivateEndpoint {
            id: id.clone(),
            name: Arc::from(printable(item.own("name").and_then(Json::as_text).unwrap_or(id.name()))),
            provisioning_state: shared(item.text("provisioningState")?),
            subnet: reference(item, "subnet")?,
            connections,
            network_interfaces: interfaces.into_iter().map(id_of).collect::<Result<_, _>>()?,
            custom_dns: read_all(item.objects("customDnsConfigs")?, CustomDns::read)?,
        })
    }
}

impl Connection {
    fn read(item: &Object<'_>) -> Result<Connection, String> {
        let state = item.object("privateLinkServiceConnectionState")?;
        Ok(Connection {
            resource: item.text("privateLinkServiceId")?.map(ArmId::new),
            group_ids: all_shared(item.texts("groupIds")?),
            status: shared(state.map(|state| state.text("status")).transpose()?.flatten()),
        })
    }
}

impl CustomDns {
    fn read(item: &Object<'_>) -> Result<CustomDns, String> {
        Ok(CustomDns { fqdn: shared(item.text("fqdn")?), addresses: all_shared(item.texts("ipAddresses")?) })
    }
}

impl NetworkInterface {
    fn read(id: &ArmId, item: &Object<'_>) -> Result<NetworkInterface, String> {
        Ok(NetworkInterface {
            id: id.clone(),
            private_endpoint: reference(item, "privateEndpoint")?,
            ip_configurations: read_all(item.objects("ipConfigurations")?, IpConfiguration::read)?,
        })
    }
}

impl IpConfiguration {
    fn read(item: &Object<'_>) -> Result<IpConfiguration, String> {
        let link = item.object("privateLinkConnectionProperties")?;
        let of_link = |key| link.map_or(Ok(None), |link| link.text(key));
        Ok(IpConfiguration {
            address: shared(item.text("privateIPAddress")?),
            subnet: reference(item, "subnet")?,
            group_id: shared(of_link("groupId")?),
            member: shared(of_link("requiredMemberName")?),
            fqdns: all_shared(link.map_or(Ok(Vec::new()), |link| link.texts("fqdns"))?),
        })
    }
}

impl ZoneGroup {
    fn read(id: &ArmId, item: &Object<'_>) -> Result<Option<ZoneGroup>, String> {
        let Some(private_endpoint) = id.parent() else { return Ok(None) };
        let mut record_sets = Vec::new();
        for config in item.objects("privateDnsZoneConfigs")? {
            let Some(zone) = config.text("privateDnsZoneId")?.map(ArmId::new) else { continue };
            for record_set in config.objects("recordSets")? {
                record_sets.push(RecordSet {
                    zone: Arc::from(zone.name()),
                    name: shared(record_set.text("recordSetName")?),
                    fqdn: shared(record_set.text("fqdn")?),
                    addresses: all_shared(record_set.texts("ipAddresses")?),
                });
            }
        }
        Ok(Some(ZoneGroup { id: id.clone(), private_endpoint, record_sets }))
    }
}

fn shared(text: Option<&str>) -> Option<Arc<str>> {
    text.map(|text| Arc::from(printable(text)))
}

fn all_shared(texts: Vec<&str>) -> Vec<Arc<str>> {
    texts.into_iter().filter(|text| !text.is_empty()).map(|text| Arc::from(printable(text))).collect()
}

fn reference(item: &Object<'_>, key: &str) -> Result<Option<ArmId>, String> {
    Ok(item.object(key)?.and_then(|object| object.own("id")).and_then(Json::as_text).map(ArmId::new))
}

fn read_all<T>(
    items: Vec<&Object<'_>>,
    read: impl Fn(&Object<'_>) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    items.into_iter().map(read).collect()
}
