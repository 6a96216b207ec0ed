//! Bodies in every form that is met, and what is no body.

use super::*;

const ENDPOINT: &str = r#"{"id": "/subscriptions/S/resourceGroups/G/providers/Microsoft.Network/privateEndpoints/PE",
    "name": "PE", "properties": {"subnet": null, "manualPrivateLinkServiceConnections": [{"properties": {
        "privateLinkServiceId": "/subscriptions/X/resourceGroups/G/providers/Microsoft.Sql/servers/db",
        "privateLinkServiceConnectionState": {"status": "Pending"}}}]}}"#;
const FLAT: &str = r#"{"ID": "/subscriptions/s/RESOURCEGROUPS/G/providers/microsoft.network/privateEndpoints/pe",
    "Name": "PE", "manualPrivateLinkServiceConnections": [{"PrivateLinkServiceId":
        "/subscriptions/x/resourcegroups/g/providers/microsoft.sql/Servers/DB", "groupIds": null,
        "privateLinkServiceConnectionState": {"Status": "Pending", "properties": null}}]}"#;

fn read(text: &str) -> Body {
    Body::read(text.as_bytes()).unwrap()
}

fn error(text: &str) -> ArmError {
    Body::read(text.as_bytes()).unwrap_err()
}

#[test]
fn one_endpoint_reads_alike_in_every_form() {
    let resources = read(ENDPOINT).resources;
    assert!(matches!(&resources[..], [Resource::PrivateEndpoint(it)] if it.connections.len() == 1));
    for text in [
        FLAT.to_owned(),
        format!("[{FLAT}]"),
        format!(r#"{{"value": [{ENDPOINT}]}}"#),
        format!(r#"{{"nextLink": null, "VALUE": [{FLAT}]}}"#),
        format!(r#"{{"privateEndpoint": {ENDPOINT}, "note": "x", "tags": {{}}}}"#),
        format!(r#"{{"privateEndpoints": [{ENDPOINT}]}}"#),
        format!(r#"{{"privateEndpoints": {{"value": [{ENDPOINT}]}}}}"#),
    ] {
        assert_eq!(read(&text).resources, resources, "{text}");
    }
}

#[test]
fn other_resources_are_left_out_but_their_listing_is_known() {
    let body = read(
        r#"{"value": [{"id": "/subscriptions/S/resourceGroups/g/providers/Microsoft.Network/privateDnsZones/z",
        "properties": {"subnet": 5}}], "nextLink": "https://next"}"#,
    );
    assert!(body.resources.is_empty());
    assert_eq!(body.pages[0].next_link.as_deref(), Some("https://next"));
    let listing = body.pages[0].listings.first().unwrap();
    assert_eq!((&*listing.subscription, listing.tells_of_endpoints()), ("s", false));
}

#[test]
fn a_list_may_mix_kinds_and_an_empty_one_is_a_page() {
    let nic = r#"{"id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkInterfaces/n",
        "ipConfigurations": [{"privateIpAddress": "10.0.0.1", "privateLinkConnectionProperties": {"fqdns": ["*.a.b"]}}]}"#;
    let body = read(&format!(r#"{{"value": [{nic}, {ENDPOINT}]}}"#));
    let [Resource::NetworkInterface(nic), Resource::PrivateEndpoint(_)] = &body.resources[..] else {
        panic!()
    };
    assert_eq!(nic.ip_configurations[0].address.as_deref(), Some("10.0.0.1"));
    assert_eq!(body.pages[0].listings.len(), 2);
    assert_eq!(read("[]"), read(r#"{"value": []}"#));
    assert_eq!(read("[]").pages.len(), 1);
}

#[test]
fn broken_json_is_refused_with_its_place() {
    let ArmError::Syntax { line, column, message } = error("{\"value\": [\n  {\"id\": \"/sub") else {
        panic!()
    };
    assert_eq!((line, column), (2, 14));
    assert_eq!(message, "EOF while parsing a string");
    // A list item that is no resource is told with the place where it ends.
    let wrong = error("{\"value\": [\n{\"id\": \"/a\"},\n{\"name\": 1}]}");
    assert_eq!(wrong.place().0, 3, "{wrong}");
    assert_eq!(wrong.to_string(), "a resource without an id");
    assert!(matches!(error(""), ArmError::Syntax { .. }));
    assert!(matches!(error("[] []"), ArmError::Syntax { .. }));
    assert!(matches!(error(r#"{"value": 3}"#), ArmError::Syntax { .. }));
    assert!(matches!(error("[3]"), ArmError::Syntax { .. }));
    let shape = error(&ENDPOINT.replace("[{", "{\"a\": [{").replace("}]", "}]}"));
    assert!(
        shape.to_string().ends_with("/pe: `manualPrivateLinkServiceConnections` is not a list of objects")
    );
}

#[test]
fn what_is_no_listing_is_refused() {
    assert!(matches!(error(" <html>502</html>"), ArmError::Html));
    let refused = error(r#"{"error": {"code": "AuthorizationFailed", "message": "no"}}"#);
    assert!(
        matches!(refused, ArmError::Refused { code, message } if code == "AuthorizationFailed" && message == "no")
    );
    for text in ["{}", "3", "\"a\"", r#"{"request": {"method": "GET"}, "response": {"status": 200}}"#, "null"]
    {
        assert!(!matches!(Body::read(text.as_bytes()), Ok(_) | Err(ArmError::Html)), "{text}");
    }
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    let text = format!("[{}", "{\"a\":[".repeat(100_000));
    assert!(matches!(error(&text), ArmError::Syntax { .. }));
}
