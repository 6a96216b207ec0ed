use super::*;
use crate::privatelink::Cloud;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn listed(fqdn: &str, address: &str) -> EndpointName {
    let addresses = vec![address.parse().unwrap()];
    EndpointName { fqdn: name(fqdn), addresses, group_id: None, member: None, zone: None }
}

fn grouped(fqdn: &str, zone: &str, address: &str) -> EndpointName {
    EndpointName { zone: Some(name(zone)), ..listed(fqdn, address) }
}

fn endpoint(id: &str, state: ConnectionState, names: Vec<EndpointName>) -> Endpoint {
    Endpoint {
        id: id.into(),
        name: id.into(),
        subscription: "s".into(),
        resource_group: None,
        virtual_network: Some("v".into()),
        resource: None,
        resource_type: Some("microsoft.recoveryservices/vaults".into()),
        group_ids: vec!["AzureBackup".into()],
        state,
        knowledge: Knowledge::Whole,
        names,
    }
}

fn desired_of(endpoints: Vec<Endpoint>) -> Desired {
    desired(
        &Inventory::new(endpoints, Vec::new()),
        &Catalogue::builtin(Cloud::Public),
        &"source".into(),
        &[],
        |_| 7,
    )
}

fn told(desired: &Desired) -> Vec<String> {
    let publications = desired.publications.iter();
    publications
        .map(|it| {
            format!("{} {} {:?}{:?} {:?}", it.claim.endpoint, it.name, it.ipv4, it.ipv6, it.public_names)
        })
        .collect()
}

#[test]
fn an_endpoint_without_a_name_is_told_of() {
    let odd = || vec![listed("app.example.com", "10.0.0.1")];
    let endpoints = vec![
        endpoint("service", ConnectionState::Approved, Vec::new()),
        endpoint("waiting", ConnectionState::Pending, odd()),
        endpoint("unplaced", ConnectionState::Approved, odd()),
        Endpoint {
            knowledge: Knowledge::Unsettled,
            ..endpoint("unsettled", ConnectionState::Approved, Vec::new())
        },
    ];
    let desired = desired_of(endpoints);
    let told: Vec<String> =
        desired.nameless.iter().map(|it| format!("{} {}", it.endpoint, it.state)).collect();
    assert_eq!(told, ["service Approved", "waiting Pending"]);
    assert_eq!((desired.unplaced.len(), desired.unsettled.len()), (1, 1));
}

#[test]
fn two_endpoints_of_one_name_are_two_publications() {
    let names = |address| vec![listed("a.blob.core.windows.net", address)];
    let one = endpoint("1", ConnectionState::Approved, names("10.0.0.1"));
    let two = endpoint("2", ConnectionState::Approved, names("fd00::1"));
    let desired = desired_of(vec![one, two]);
    assert_eq!(
        told(&desired),
        [
            "1 a.privatelink.blob.core.windows.net. [10.0.0.1][] [a.blob.core.windows.net.]",
            "2 a.privatelink.blob.core.windows.net. [][fd00::1] [a.blob.core.windows.net.]"
        ]
    );
    let claim = &desired.publications[1].claim;
    assert_eq!(
        (&*claim.source, claim.since_secs, claim.virtual_network.as_deref()),
        ("source", 7, Some("v"))
    );
}

#[test]
fn the_wildcard_of_a_whole_zone_is_for_the_service_that_the_catalogue_says_it_is_of() {
    let names = || {
        let wildcards = ["*.cloud.defender.microsoft.com", "*.blob.core.windows.net"];
        wildcards.map(|fqdn| listed(fqdn, "10.0.0.1")).to_vec()
    };
    let of_type = |resource_type: Option<&str>| {
        let resource_type = resource_type.map(Arc::from);
        Endpoint { resource_type, ..endpoint("pe", ConnectionState::Approved, names()) }
    };
    let defender = desired_of(vec![of_type(Some("microsoft.security/PRIVATELINKS"))]);
    assert_eq!(
        told(&defender),
        ["pe *.privatelink.cloud.defender.microsoft.com. [10.0.0.1][] [*.cloud.defender.microsoft.com.]"]
    );
    for other in [Some("Microsoft.Storage/storageAccounts"), None] {
        let desired = desired_of(vec![of_type(other)]);
        assert_eq!((told(&desired).len(), desired.unplaced.len()), (0, 2), "{other:?}");
    }
    let blob = "privatelink.blob.core.windows.net";
    let by_group = vec![grouped(&format!("*.{blob}"), blob, "10.0.0.1")];
    let desired = desired_of(vec![endpoint("pe", ConnectionState::Approved, by_group)]);
    assert_eq!((told(&desired).len(), desired.unplaced.len()), (0, 1));
}

#[test]
fn a_wildcard_where_a_service_has_the_names_of_all_is_nobodys() {
    let (sites, registries) = ("privatelink.azurewebsites.net", "privatelink.azurecr.io");
    let learning = "privatelink.api.azureml.ms";
    for (names, published) in [
        (listed("*.scm.azurewebsites.net", "10.0.0.1"), false),
        (grouped(&format!("*.scm.{sites}"), sites, "10.0.0.1"), false),
        (grouped(&format!("*.westeurope.data.{registries}"), registries, "10.0.0.1"), false),
        // Below a name of the resource's own it takes nobody's.
        (grouped(&format!("*.app.{sites}"), sites, "10.0.0.1"), true),
        (grouped(&format!("*.9b4d2c60.inference.westeurope.{learning}"), learning, "10.0.0.1"), true),
    ] {
        let what = names.fqdn.clone();
        let desired = desired_of(vec![endpoint("pe", ConnectionState::Approved, vec![names])]);
        assert_eq!(told(&desired).len(), usize::from(published), "{what}");
    }
}

#[test]
fn only_approved_endpoints_publish() {
    let names = vec![listed("a.blob.core.windows.net", "10.0.0.1"), listed("a.example", "10.0.0.1")];
    let states = [
        ConnectionState::Pending,
        ConnectionState::Rejected,
        ConnectionState::Disconnected,
        ConnectionState::Other("New".into()),
    ];
    let desired = desired_of(states.map(|state| endpoint("pe", state, names.clone())).to_vec());
    assert_eq!((desired.publications, desired.unplaced), (vec![], vec![]));
    assert_eq!(
        desired.withheld.iter().map(|it| it.state.as_str()).collect::<Vec<_>>(),
        ["Pending", "Rejected", "Disconnected", "New"]
    );
    assert_eq!(desired.withheld[0].public_names, [name("a.blob.core.windows.net")]);
}

#[test]
fn a_zone_group_speaks_for_its_addresses_and_the_interface_for_the_rest() {
    let names = vec![
        grouped("a.privatelink.blob.core.windows.net", "privatelink.blob.core.windows.net", "10.0.0.1"),
        listed("a.blob.core.windows.net", "10.0.0.1"),
        listed("cert.a.blob.core.windows.net", "10.0.0.1"),
        listed("odd.example", "10.0.0.1"),
        listed("new.blob.core.windows.net", "10.0.0.2"),
        listed("a.queue.core.windows.net", "10.0.0.1"),
        listed("unknown.example", "10.0.0.3"),
    ];
    let desired = desired_of(vec![endpoint("pe", ConnectionState::Approved, names)]);
    assert_eq!(
        told(&desired),
        [
            "pe a.privatelink.blob.core.windows.net. [10.0.0.1][] [a.blob.core.windows.net.]",
            "pe new.privatelink.blob.core.windows.net. [10.0.0.2][] [new.blob.core.windows.net.]",
            "pe a.privatelink.queue.core.windows.net. [10.0.0.1][] [a.queue.core.windows.net.]",
        ]
    );
    assert_eq!(desired.unplaced.len(), 1);
    assert_eq!(desired.unplaced[0].fqdn, name("unknown.example"));
    assert!(desired.warnings.is_empty());
}

#[test]
fn a_zone_group_that_differs_counts_and_is_told() {
    let names = vec![
        grouped("a.privatelink.blob.core.windows.net", "privatelink.blob.core.windows.net", "10.0.0.1"),
        listed("a.blob.core.windows.net", "10.0.0.2"),
    ];
    let desired = desired_of(vec![endpoint("pe", ConnectionState::Approved, names)]);
    assert_eq!(
        told(&desired),
        ["pe a.privatelink.blob.core.windows.net. [10.0.0.1][] [a.blob.core.windows.net.]"]
    );
    assert!(matches!(&desired.warnings[..], [Warning::GroupDiffers { .. }]));
}

#[test]
fn an_endpoint_that_the_catalogue_decides_needs_no_zone_group() {
    let catalogue = Catalogue::builtin(Cloud::Public);
    let undecided = |state, names| is_undecided(&endpoint("pe", state, names), &catalogue);
    let (known, odd) = (listed("a.blob.core.windows.net", "10.0.0.1"), listed("a.example", "10.0.0.1"));
    let in_group =
        grouped("a.privatelink.blob.core.windows.net", "privatelink.blob.core.windows.net", "10.0.0.1");
    assert!(!undecided(ConnectionState::Approved, vec![known.clone()]));
    assert!(undecided(ConnectionState::Approved, vec![known, odd.clone()]));
    assert!(!undecided(ConnectionState::Pending, vec![odd.clone()]));
    assert!(!undecided(ConnectionState::Approved, vec![in_group, odd]));
    // Private Link services have no names at all.
    assert!(!undecided(ConnectionState::Approved, vec![]));
    let pe = endpoint("pe", ConnectionState::Approved, vec![]);
    assert!(is_undecided(&Endpoint { knowledge: Knowledge::Unsettled, ..pe }, &catalogue));
}

#[test]
fn what_is_known_of_an_unsettled_endpoint_goes_before_what_it_had() {
    let names = |address| vec![listed("a.blob.core.windows.net", address)];
    let both = [names("10.0.0.1"), vec![listed("b.blob.core.windows.net", "10.0.0.2")]].concat();
    let before = desired_of(vec![endpoint("pe", ConnectionState::Approved, both)]);
    let pe = endpoint("pe", ConnectionState::Approved, names("10.0.0.9"));
    let mut now = desired_of(vec![Endpoint { knowledge: Knowledge::Unsettled, ..pe }]);
    now.carry_over(&before);
    assert_eq!(
        told(&now),
        [
            "pe a.privatelink.blob.core.windows.net. [10.0.0.9][] [a.blob.core.windows.net.]",
            "pe b.privatelink.blob.core.windows.net. [10.0.0.2][] [b.blob.core.windows.net.]"
        ]
    );
}

#[test]
fn what_an_unsettled_endpoint_published_is_to_stay() {
    let unsettled = |state| Endpoint { knowledge: Knowledge::Unsettled, ..endpoint("pe", state, vec![]) };
    assert_eq!(desired_of(vec![unsettled(ConnectionState::Approved)]).unsettled, ["pe".into()]);
    // A rejection counts at once, whatever else is still to come.
    assert!(desired_of(vec![unsettled(ConnectionState::Rejected)]).unsettled.is_empty());
}
