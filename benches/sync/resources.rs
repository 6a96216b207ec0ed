//! What the fake Azure lists: each resource as long as the fixtures of `tests/fixtures/arm/lists`, and with tags.

/// Subscriptions, and endpoints in all of them: each has one network interface and one name.
pub const SUBSCRIPTIONS: u32 = 50;
pub const ENDPOINTS: u32 = 64_000;

/// What else the listings hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Interfaces of endpoints only.
    Endpoints,
    /// As many interfaces of virtual machines beside those of endpoints.
    Machines,
}

/// Group of the endpoint, provider of the resource, suffix of its public name.
const SERVICES: [(&str, &str, &str); 5] = [
    ("blob", "Microsoft.Storage/storageAccounts", "blob.core.windows.net"),
    ("file", "Microsoft.Storage/storageAccounts", "file.core.windows.net"),
    ("vault", "Microsoft.KeyVault/vaults", "vault.azure.net"),
    ("sqlServer", "Microsoft.Sql/servers", "database.windows.net"),
    ("namespace", "Microsoft.ServiceBus/namespaces", "servicebus.windows.net"),
];

const TAGS: &str = r#"{"environment":"production","costCenter":"4711-0815","owner":"platform-team@contoso.com","createdBy":"terraform","businessUnit":"retail-europe","dataClassification":"confidential"}"#;

impl Mix {
    pub fn word(self) -> &'static str {
        match self {
            Mix::Endpoints => "endpoints",
            Mix::Machines => "machines",
        }
    }

    pub fn of_word(word: &str) -> Option<Mix> {
        [Mix::Endpoints, Mix::Machines].into_iter().find(|mix| mix.word() == word)
    }
}

pub fn subscription(number: u32) -> String {
    format!("{number:08x}-0000-4000-8000-0000000000a1")
}

/// The items of each listing of a subscription; the endpoints up to one have another address.
pub fn of_subscription(number: u32, mix: Mix, changed: Option<u32>) -> [(&'static str, Vec<String>); 2] {
    let per_subscription = ENDPOINTS / SUBSCRIPTIONS;
    let numbers = || number * per_subscription..(number + 1) * per_subscription;
    let id = subscription(number);
    let endpoints = numbers().map(|number| Numbered::new(&id, number, changed).endpoint());
    let mut interfaces = Vec::new();
    for number in numbers() {
        let numbered = Numbered::new(&id, number, changed);
        interfaces.push(numbered.interface());
        if mix == Mix::Machines {
            interfaces.push(numbered.machine_interface());
        }
    }
    [("privateEndpoints", endpoints.collect()), ("networkInterfaces", interfaces)]
}

/// One endpoint and what belongs to it.
struct Numbered {
    group: String,
    name: String,
    interface: String,
    fqdn: String,
    group_id: &'static str,
    resource: String,
    subnet: String,
    address: String,
    guid: String,
    etag: String,
}

impl Numbered {
    fn new(subscription: &str, number: u32, changed: Option<u32>) -> Numbered {
        let (group_id, provider, suffix) = SERVICES[number as usize % SERVICES.len()];
        let group = format!("/subscriptions/{subscription}/resourceGroups/rg-application-{}", number % 40);
        let name = format!("pe-contosoapp{number:05}-{group_id}-westeurope");
        let is_changed = changed.is_some_and(|last| number <= last);
        let [_, high, middle, low] = number.to_be_bytes();
        let guid = format!("{number:08x}-5898-5635-8240-46693d860164");
        let net = if is_changed { 99 } else { 10 };
        Numbered {
            interface: format!("{group}/providers/Microsoft.Network/networkInterfaces/{name}.nic.{guid}"),
            fqdn: format!("contosoapp{number:05}.{suffix}"),
            resource: format!("{group}/providers/{provider}/contosoapp{number:05}"),
            subnet: format!(
                "/subscriptions/{subscription}/resourceGroups/rg-network-westeurope/providers/Microsoft.Network/virtualNetworks/vnet-spoke{}/subnets/snet-privateendpoints",
                number % 4
            ),
            address: format!("{net}.{high}.{middle}.{low}"),
            etag: format!(r#"W/\"{guid}-{}\""#, u8::from(is_changed)),
            group,
            name,
            group_id,
            guid,
        }
    }

    fn endpoint(&self) -> String {
        let Numbered { group, name, interface, fqdn, group_id, resource, subnet, address, guid, etag } = self;
        let id = format!("{group}/providers/Microsoft.Network/privateEndpoints/{name}");
        format!(
            r#"{{"name":"{name}","id":"{id}","etag":"{etag}","type":"Microsoft.Network/privateEndpoints","location":"westeurope","tags":{TAGS},"properties":{{"provisioningState":"Succeeded","resourceGuid":"{guid}","privateLinkServiceConnections":[{{"name":"{name}","id":"{id}/privateLinkServiceConnections/{name}","etag":"{etag}","properties":{{"provisioningState":"Succeeded","privateLinkServiceId":"{resource}","groupIds":["{group_id}"],"privateLinkServiceConnectionState":{{"status":"Approved","description":"Auto-Approved","actionsRequired":"None"}}}},"type":"Microsoft.Network/privateEndpoints/privateLinkServiceConnections"}}],"manualPrivateLinkServiceConnections":[],"customNetworkInterfaceName":"","subnet":{{"id":"{subnet}"}},"ipConfigurations":[],"networkInterfaces":[{{"id":"{interface}"}}],"customDnsConfigs":[{{"fqdn":"{fqdn}","ipAddresses":["{address}"]}}],"ipVersionType":"IPv4"}}}}"#
        )
    }

    fn interface(&self) -> String {
        let Numbered { group, name, interface, fqdn, group_id, subnet, address, guid, etag, .. } = self;
        let configuration = format!("privateEndpointIpConfig.{guid}");
        format!(
            r#"{{"name":"{name}.nic.{guid}","id":"{interface}","etag":"{etag}","type":"Microsoft.Network/networkInterfaces","kind":"Regular","location":"westeurope","tags":{TAGS},"properties":{{"provisioningState":"Succeeded","resourceGuid":"{guid}","ipConfigurations":[{{"name":"{configuration}","id":"{interface}/ipConfigurations/{configuration}","etag":"{etag}","type":"Microsoft.Network/networkInterfaces/ipConfigurations","properties":{{"provisioningState":"Succeeded","privateIPAddress":"{address}","privateIPAllocationMethod":"Dynamic","subnet":{{"id":"{subnet}"}},"primary":true,"privateIPAddressVersion":"IPv4","privateLinkConnectionProperties":{{"groupId":"{group_id}","requiredMemberName":"{group_id}","fqdns":["{fqdn}"]}}}}}}],"dnsSettings":{{"dnsServers":[],"appliedDnsServers":[],"internalDomainNameSuffix":"abcdefgh1234567890.ax.internal.cloudapp.net"}},"macAddress":"","vnetEncryptionSupported":false,"enableIPForwarding":false,"disableTcpStateTracking":false,"privateEndpoint":{{"id":"{group}/providers/Microsoft.Network/privateEndpoints/{name}"}},"hostedWorkloads":[],"tapConfigurations":[],"nicType":"Standard","allowPort25Out":true,"defaultOutboundConnectivityEnabled":false,"auxiliaryMode":"None","auxiliarySku":"None"}}}}"#
        )
    }

    fn machine_interface(&self) -> String {
        let Numbered { group, name, subnet, address, guid, etag, .. } = self;
        let id = format!("{group}/providers/Microsoft.Network/networkInterfaces/vm-{name}-nic");
        format!(
            r#"{{"name":"vm-{name}-nic","id":"{id}","etag":"{etag}","type":"Microsoft.Network/networkInterfaces","kind":"Regular","location":"westeurope","tags":{TAGS},"properties":{{"provisioningState":"Succeeded","resourceGuid":"{guid}","ipConfigurations":[{{"name":"ipconfig1","id":"{id}/ipConfigurations/ipconfig1","etag":"{etag}","type":"Microsoft.Network/networkInterfaces/ipConfigurations","properties":{{"provisioningState":"Succeeded","privateIPAddress":"{address}","privateIPAllocationMethod":"Dynamic","subnet":{{"id":"{subnet}"}},"primary":true,"privateIPAddressVersion":"IPv4"}}}}],"dnsSettings":{{"dnsServers":[],"appliedDnsServers":[],"internalDomainNameSuffix":"abcdefgh1234567890.ax.internal.cloudapp.net"}},"macAddress":"00-0D-3A-1B-C7-21","enableAcceleratedNetworking":true,"enableIPForwarding":false,"primary":true,"virtualMachine":{{"id":"{group}/providers/Microsoft.Compute/virtualMachines/vm-{name}"}},"nicType":"Standard","hostedWorkloads":[],"tapConfigurations":[]}}}}"#
        )
    }
}
