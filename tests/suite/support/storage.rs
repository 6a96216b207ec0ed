//! Storage accounts that a folder of inventory lists, and what a server keeps of them.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::served::{Place, Served};

/// A source that reads the folder; `[private_link]` and `[sync]` come with it.
pub const SOURCE: &str = "[private_link]\npublic_names = \"local\"\n[sync]\ninterval_secs = 1\n\
    withdraw_max_percent = 100\n[[sync.source]]\nkind = \"directory\"\nname = \"azure\"\npath = \"inventory\"\n";

fn inventory(count: usize) -> String {
    let group = "/subscriptions/00000000-0000-4000-8000-0000000000a1/resourceGroups/rg/providers";
    let endpoint = |number: usize| {
        json!({
            "id": format!("{group}/Microsoft.Network/privateEndpoints/pe-{number}"),
            "name": format!("pe-{number}"), "type": "Microsoft.Network/privateEndpoints",
            "provisioningState": "Succeeded",
            "subnet": {"id": format!("{group}/Microsoft.Network/virtualNetworks/hub/subnets/pe")},
            "privateLinkServiceConnections": [{
                "privateLinkServiceId": format!("{group}/Microsoft.Storage/storageAccounts/account{number}"),
                "groupIds": ["blob"], "privateLinkServiceConnectionState": {"status": "Approved"}}],
            "customDnsConfigs": [{
                "fqdn": format!("account{number}.blob.core.windows.net"), "ipAddresses": [format!("10.0.0.{number}")]}],
            "networkInterfaces": []
        })
    };
    json!((1..=count).map(endpoint).collect::<Vec<_>>()).to_string()
}

/// Lists the accounts 1 to `count`.
pub fn write_inventory(place: &Place, count: usize) {
    write_inventory_in(place.folder.path(), count);
}

/// The same below any folder.
pub fn write_inventory_in(folder: &Path, count: usize) {
    super::test_daemon::write(folder, "inventory/pe.json", &inventory(count));
}

/// Names that a restart would begin with.
pub fn kept(state: &Path) -> usize {
    let text = fs::read_to_string(state.join("sync-state.jsonl")).unwrap_or_default();
    text.lines().filter(|line| line.starts_with("{\"published\"")).count()
}

/// Whether an account has its private address.
pub fn published(served: &Served, number: usize) -> bool {
    !served.dns(&format!("account{number}.privatelink.blob.core.windows.net."), "A").is_empty()
}
