use super::*;
use crate::sync::arm::Body;
use crate::sync::listing::Listings;

const BASE: &str = "/subscriptions/S/resourceGroups/G/providers/Microsoft.Network";

/// An inventory of one endpoint, with keys of its own and whatever comes beside it.
fn inventory(endpoint: &str, others: &str) -> Inventory {
    let text = format!(
        r#"[{{"id": "{BASE}/privateEndpoints/PE", "name": "PE", "networkInterfaces": [{{"id": "{BASE}/networkInterfaces/N"}}],
        {endpoint}}} {others}]"#
    );
    let mut listings = Listings::default();
    listings.add("test", Body::read(text.as_bytes()).unwrap());
    listings.into_inventory().unwrap()
}

fn interface(configurations: &str) -> String {
    format!(r#", {{"id": "{BASE}/networkInterfaces/N", "ipConfigurations": [{configurations}]}}"#)
}

fn configuration(address: &str, fqdns: &str) -> String {
    format!(
        r#"{{"privateIPAddress": "{address}", "privateLinkConnectionProperties": {{"groupId": "g", "fqdns": [{fqdns}]}},
        "subnet": {{"id": "/subscriptions/S/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/V/subnets/a"}}}}"#
    )
}

fn told(inventory: &Inventory) -> Vec<String> {
    let names = inventory.endpoints()[0].names.iter();
    names.map(|name| format!("{} {:?}", name.fqdn, name.addresses)).collect()
}

#[test]
fn the_interface_outranks_the_endpoints_own_list() {
    let own = r#""customDnsConfigs": [{"fqdn": "a.example", "ipAddresses": ["10.0.0.9"]}]"#;
    let configured = format!(
        "{},{}",
        configuration("10.0.0.1", "\"A.example\", \"*.b.example\""),
        configuration("fd00::1", "\"a.example\"")
    );
    let both = inventory(own, &interface(&configured));
    assert_eq!(told(&both), ["a.example. [10.0.0.1, fd00::1]", "*.b.example. [10.0.0.1]"]);
    assert_eq!(
        both.endpoints()[0].virtual_network.as_deref(),
        Some("/subscriptions/s/resourcegroups/g/providers/microsoft.network/virtualnetworks/v")
    );
    assert_eq!(told(&inventory(own, "")), ["a.example. [10.0.0.9]"]);
    assert_eq!(told(&inventory(own, &interface(""))), ["a.example. [10.0.0.9]"]);
}

#[test]
fn addresses_that_no_interface_can_have_are_left_out() {
    for address in [
        "0.0.0.0",
        "127.0.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "::",
        "::1",
        "fe80::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "0.1.2.3",
        "::10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:a9fe:a9fe::1",
    ] {
        let own = format!(
            r#""customDnsConfigs": [{{"fqdn": "a.example", "ipAddresses": ["10.0.0.1", "{address}"]}}]"#
        );
        let inventory = inventory(&own, "");
        assert_eq!(told(&inventory), ["a.example. [10.0.0.1]"], "{address}");
        assert!(matches!(inventory.warnings(), [Warning::BadAddress { .. }]), "{address}");
    }
    let public = inventory(r#""customDnsConfigs": [{"fqdn": "a.example", "ipAddresses": ["8.8.8.8"]}]"#, "");
    assert_eq!(told(&public), ["a.example. [8.8.8.8]"]);
}

#[test]
fn control_characters_and_endless_names_reach_neither_logs_nor_terminals() {
    let long = "a".repeat(100_000);
    let text = format!(
        r#"[{{"id": "{BASE}/privateEndpoints/P\nE\u001b[2J", "name": "P\nE\u001b[2J", "customDnsConfigs":
        [{{"fqdn": "a\nb.example", "ipAddresses": ["10.0.0.1"]}}, {{"fqdn": "{long}", "ipAddresses": []}},
        {{"fqdn": "c.example", "ipAddresses": ["\u001b[2J"]}}],
        "privateLinkServiceConnections": [{{"privateLinkServiceConnectionState": {{"status": "\u0007"}}}}]}}]"#
    );
    let mut listings = Listings::default();
    listings.add("test", Body::read(text.as_bytes()).unwrap());
    let inventory = listings.into_inventory().unwrap();
    let endpoint = &inventory.endpoints()[0];
    assert_eq!((&*endpoint.name, endpoint.state.as_str()), ("P\u{fffd}E\u{fffd}[2J", "\u{fffd}"));
    let mut shown: Vec<String> = inventory.warnings().iter().map(Warning::to_string).collect();
    assert!(shown.len() >= 3, "{shown:?}");
    shown.push(endpoint.id.to_string());
    for shown in shown {
        assert!(!shown.contains(char::is_control) && shown.len() < 1000, "{shown:?}");
    }
}

#[test]
fn a_name_without_an_address_takes_the_only_one_of_the_interface() {
    let own = r#""customDnsConfigs": [{"fqdn": "a.example", "ipAddresses": []}]"#;
    let one = inventory(own, &interface(&configuration("10.0.0.1", "")));
    assert_eq!(told(&one), ["a.example. [10.0.0.1]"]);
    let two = format!("{0},{0}", configuration("10.0.0.1", ""));
    assert!(matches!(inventory(own, &interface(&two)).warnings(), [Warning::NoAddress { .. }]));
}

#[test]
fn zone_groups_come_first_and_keep_their_zone() {
    let group = |name: &str| {
        format!(
            r#", {{"id": "{BASE}/privateEndpoints/pe/privateDnsZoneGroups/default", "privateDnsZoneConfigs": [{{
            "privateDnsZoneId": "/subscriptions/x/resourceGroups/g/providers/Microsoft.Network/privateDnsZones/Z.example",
            "recordSets": [{{"recordSetName": "{name}", "ipAddresses": ["10.0.0.1"]}},
                {{"fqdn": "c.z.example", "ipAddresses": ["10.0.0.2"]}}, {{"recordSetName": "none", "ipAddresses": null}}]}}]}}"#
        )
    };
    let grouped = inventory(r#""customDnsConfigs": []"#, &group("a.b"));
    assert_eq!(told(&grouped), ["a.b.z.example. [10.0.0.1]", "c.z.example. [10.0.0.2]"]);
    assert_eq!(grouped.endpoints()[0].names[0].zone, Some("z.example".parse().unwrap()));
    assert!(matches!(grouped.warnings(), [Warning::NoAddress { .. }]));
    assert!(matches!(
        inventory(r#""tags": null"#, &group("a.other.")).warnings(),
        [Warning::OutOfZone { .. }, ..]
    ));
}

#[test]
fn names_that_are_not_listed_are_not_taken_for_none() {
    let approved =
        r#""privateLinkServiceConnections": [{"privateLinkServiceConnectionState": {"status": "approved"}}]"#;
    let unlisted = inventory(approved, "");
    assert_eq!(unlisted.endpoints()[0].knowledge, Knowledge::Unsettled);
    assert!(matches!(unlisted.warnings(), [Warning::Unsettled { .. }]));
    // A Private Link Service has an interface, and no names.
    let listed = inventory(approved, &interface(&configuration("10.0.0.1", "")));
    assert_eq!(listed.endpoints()[0].knowledge, Knowledge::Whole);
    let updating = format!(r#"{approved}, "provisioningState": "Updating""#);
    let updating = inventory(&updating, &interface(&configuration("10.0.0.1", "")));
    assert_eq!(updating.endpoints()[0].knowledge, Knowledge::Unsettled);
}

#[test]
fn a_connection_that_is_not_approved_outweighs_one_that_is() {
    let state = |automatic: &str, manual: &str| {
        let connection = |status: &str| match status {
            "" => String::new(),
            status => format!(r#"{{"privateLinkServiceConnectionState": {{"status": "{status}"}}}}"#),
        };
        let endpoint = format!(
            r#""privateLinkServiceConnections": [{}], "manualPrivateLinkServiceConnections": [{}]"#,
            connection(automatic),
            connection(manual)
        );
        inventory(&endpoint, "").endpoints()[0].state.clone()
    };
    assert_eq!(state("Approved", ""), ConnectionState::Approved);
    assert_eq!(state("", "APPROVED"), ConnectionState::Approved);
    assert_eq!(state("Approved", "Pending"), ConnectionState::Pending);
    assert_eq!(state("Disconnected", "Approved"), ConnectionState::Disconnected);
    assert_eq!(state("Odd", ""), ConnectionState::Other("Odd".into()));
    assert_eq!(state("", ""), ConnectionState::Other("Unknown".into()));
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_stays() {
    let configured = format!(
        "{},{}",
        configuration("10.0.0.300", "\"a.example\""),
        configuration("10.0.0.1", "\"a..b\", \"b.example\"")
    );
    let inventory = inventory(r#""tags": null"#, &interface(&configured));
    assert_eq!(told(&inventory), ["b.example. [10.0.0.1]"]);
    assert!(matches!(
        inventory.warnings(),
        [Warning::BadAddress { .. }, Warning::NoAddress { .. }, Warning::BadName { .. }]
    ));
}
