//! How long a start takes: from the program's first moment until the last record of each zone is answered.

use std::collections::HashMap;
use std::fmt::Display;
use std::fs;
use std::hash::Hasher;
use std::io::{BufWriter, Write};
use std::net::Ipv4Addr;
use std::path::Path;

use serde::Serialize;
use serde_json::json;
use siphasher::sip128::{Hasher128, SipHasher13};

use super::{Bench, Found, Workload};
use crate::machine;
use crate::servers::{Kind, Scene};
use crate::table::Figure;
use crate::zones::{ZONES, Zones, address, label};

pub const WORKLOAD: Workload = Workload {
    name: "start",
    about: "seconds to the answer of the last of 1,000,000 records, from master files and, ours, from the stored state",
    peers: &[Kind::Nsd, Kind::Knot],
    run,
};

const RECORDS: u32 = 1_000_000;
const SUBSCRIPTION: &str = "00000000-0000-4000-8000-0000000000a1";
/// The folder of the state, in that of the server.
const STATE: &str = "state";

/// An Azure that is not there.
const SOURCE: &str = r#"
[[sync.source]]
kind = "arm"
name = "azure"
endpoint = "http://127.0.0.1:9"
authority = "http://127.0.0.1:9"
identity_endpoint = "http://127.0.0.1:9"
"#;

fn run(bench: &Bench<'_>) -> anyhow::Result<Found> {
    let zones = Zones::write(bench.folder.join("zones"), ZONES, RECORDS)?;
    let files = Scene {
        // An operator's start has the machine.
        cores: vec![bench.cores.generator, bench.cores.server],
        ..Scene::new(&zones, bench.folder.join("files"), bench.cores.server)
    };
    let stored = Scene {
        folder: bench.folder.join("stored"),
        has_files: false,
        more: SOURCE.to_owned(),
        ..files.clone()
    };
    let ours: Vec<Kind> = bench.servers.iter().filter(|kind| kind.is_ours()).cloned().collect();
    for kind in &ours {
        write_state(&stored.folder.join(kind.name()).join(STATE), &zones)?;
    }
    let what = |from: &str| format!("start with {RECORDS} records from {from}, s");
    let mut figures = Vec::new();
    for (from, scene, kinds) in
        [("master files", &files, bench.servers), ("the stored state", &stored, &ours)]
    {
        let mut servers: Vec<(Kind, Vec<f64>)> =
            kinds.iter().map(|kind| (kind.clone(), Vec::new())).collect();
        for pass in 0..bench.plan.passes {
            for (kind, seconds) in &mut servers {
                machine::go_on()?;
                seconds.push(kind.start(scene)?.took.as_secs_f64());
                eprintln!(
                    "pass {}/{} start from {from}, {}: {:.2} s",
                    pass + 1,
                    bench.plan.passes,
                    kind.name(),
                    seconds[pass]
                );
            }
        }
        figures.push(Figure { what: what(from), digits: 2, servers });
    }
    Ok(Found { rows: Vec::new(), figures })
}

#[derive(Serialize)]
struct Published {
    name: String,
    zone: String,
    addresses: [Ipv4Addr; 1],
    public_names: [String; 1],
    since_secs: u64,
    endpoint: String,
    virtual_network: String,
    subscription: &'static str,
    resource: String,
}

/// The form of `sync::StateFolder`, written here so that builds of other times can be measured; one who reads another form does not start.
fn write_state(folder: &Path, zones: &Zones) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let mut out = BufWriter::new(fs::File::create(folder.join("sync-state.jsonl"))?);
    let mut checksum = SipHasher13::new();
    let mut line = |line: &dyn Display| {
        let line = format!("{line}\n");
        checksum.write(line.as_bytes());
        out.write_all(line.as_bytes())
    };
    line(&json!({ "sync_state": { "version": 1 } }))?;
    line(&json!({ "source": { "name": "azure", "read_at_secs": 1_700_000_000 } }))?;
    let group = format!("/subscriptions/{SUBSCRIPTION}/resourcegroups/rg-prod/providers");
    for number in 0..zones.records {
        let (label, apex) = (label(number), zones.apex_of(number));
        // In the order in which the program writes them: others it reads too, but not as fast.
        let published = Published {
            name: format!("{label}.{apex}."),
            zone: format!("{apex}."),
            addresses: [address(number)],
            public_names: [format!("{label}.{}.", apex.trim_start_matches("privatelink."))],
            since_secs: 1_700_000_000,
            endpoint: format!("{group}/microsoft.network/privateendpoints/pe-{label}"),
            virtual_network: format!("{group}/microsoft.network/virtualnetworks/vnet-{}", number % 50),
            subscription: SUBSCRIPTION,
            resource: format!("{group}/microsoft.storage/storageaccounts/{label}"),
        };
        line(&serde_json::to_string(&HashMap::from([("published", published)]))?)?;
    }
    let checksum = format!("{:032x}", checksum.finish128().as_u128());
    writeln!(out, "{}", json!({ "end": { "checksum": checksum } }))?;
    out.flush()?;
    Ok(())
}
