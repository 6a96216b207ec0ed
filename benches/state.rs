//! What keeping and restoring the last good state of 100,000 record sets costs: `cargo bench --bench state`.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use privatelink_dns::dns::Name;
use privatelink_dns::privatelink::{Catalogue, Cloud};
use privatelink_dns::sync::publication::Publication;
use privatelink_dns::sync::{self, Desired, PublishSettings, Saved, StateFolder};
use privatelink_dns::zone::{Author, Claim, Store, Unwitnessed};

const RECORDS: u32 = 100_000;

fn publication(zone: &Name, number: u32) -> Publication {
    let group =
        "/subscriptions/00000000-0000-4000-8000-0000000000a1/resourcegroups/rg-storage-prod/providers";
    let claim = Claim {
        endpoint: format!("{group}/microsoft.network/privateendpoints/pe-account{number}").into(),
        virtual_network: Some(
            format!("{group}/microsoft.network/virtualnetworks/vnet-{}", number % 50).into(),
        ),
        subscription: "00000000-0000-4000-8000-0000000000a1".into(),
        resource: Some(format!("{group}/microsoft.storage/storageaccounts/account{number}").into()),
        source: "azure".into(),
        since_secs: 1_700_000_000,
    };
    let [_, high, middle, low] = number.to_be_bytes();
    Publication {
        zone: zone.clone(),
        name: Name::parse(&format!("account{number}"), zone.borrow()).expect("a name"),
        ipv4: vec![[10, high, middle, low].into()],
        ipv6: Vec::new(),
        public_names: vec![format!("account{number}.blob.core.windows.net.").parse().expect("a name")],
        claim: Arc::new(claim),
    }
}

fn main() {
    let zone: Name = "privatelink.blob.core.windows.net.".parse().expect("a name");
    let publications = (0..RECORDS).map(|number| publication(&zone, number)).collect();
    let desired = Desired { publications, ..Desired::default() };
    let outer = tempfile::tempdir().expect("a folder");
    let folder = StateFolder::new(outer.path());

    let begun = Instant::now();
    let saved = Saved { source: "azure", read_at: SystemTime::now(), desired: &desired };
    folder.save(&[saved]).expect("a file");
    println!("save    {RECORDS} record sets: {:?}", begun.elapsed());

    let begun = Instant::now();
    let last = folder.load().expect("the file").remove(0);
    let loaded = begun.elapsed();
    let store = Store::new(Box::new(Unwitnessed));
    let catalogue = Catalogue::builtin(Cloud::Public);
    let settings = PublishSettings::default();
    let planned =
        |snapshot: &_| Ok(sync::plan(&last.desired, &last.source, &settings, &catalogue, snapshot).changes);
    store.commit_with(Author::Config, planned).expect("a commit");
    println!("restore {RECORDS} record sets: {:?}, of it {loaded:?} to read them", begun.elapsed());

    let begun = Instant::now();
    store.commit_with(Author::Config, planned).expect("nothing to commit");
    println!("pass    without a change: {:?}", begun.elapsed());
}
