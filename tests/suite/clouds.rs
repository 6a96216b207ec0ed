//! Azure clouds other than the public one, from listing to answer.

use crate::azure::published;
use crate::support::client::{answers, ask};
use crate::support::fake_arm::{FIRST, FakeArm};
use crate::support::test_daemon::TestDaemon;

/// What the public cloud lists, as a sovereign one would.
fn sovereign(text: String) -> String {
    ["windows.net", "azure.net", "azure.com"]
        .iter()
        .fold(text, |text, suffix| text.replace(&format!(".{suffix}\""), ".sovcloud-api.fr\""))
}

#[test]
fn a_custom_cloud_is_listed_at_its_host_and_served_below_its_suffix() {
    let arm = FakeArm::start();
    arm.add(FIRST, sovereign);
    arm.show_only(&[FIRST]);
    let url = arm.url();
    let daemon = TestDaemon::start(
        &format!(
            "[forward]\nupstreams = []\n[private_link]\ncloud = 'custom'\npublic_names = 'local'\n\
             [private_link.custom]\nendpoint = '{url}'\nauthority = '{url}'\nsuffix = 'sovcloud-api.fr'\n\
             [sync]\ninterval_secs = 3600\n[[sync.source]]\nkind = 'arm'\nidentity_endpoint = '{url}'\n"
        ),
        &[],
    );
    daemon.wait_for(|snapshot| published(snapshot).len() == 3);
    for (public, private, address) in [
        ("contosodata01.blob.core", "contosodata01.privatelink.blob.core", "10.1.0.5"),
        ("contosokv01.vault", "contosokv01.privatelink.vaultcore", "10.1.0.6"),
    ] {
        let reply = ask(daemon.address, &format!("{public}.sovcloud-api.fr."), "A");
        let private = format!("{private}.sovcloud-api.fr.");
        let expected =
            [format!("{public}.sovcloud-api.fr. 10 CNAME {private}"), format!("{private} 10 A {address}")];
        assert_eq!(answers(&reply), expected);
    }
    daemon.stop();
}
