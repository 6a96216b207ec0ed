//! The zones that all servers serve: master files below one folder, and what stands in them.

use std::fmt::Write;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::Context;

/// Zones of the workloads that do not say otherwise.
pub const ZONES: usize = 60;
pub const RECORDS: u32 = 100_000;

/// Of the addresses; Azure's own is 10, the issue asks for 60.
pub const TTL_SECS: u32 = 60;

/// What Azure's private DNS zones say of themselves.
pub const SERVER: &str = "azureprivatedns.net.";
pub const MAILBOX: &str = "azureprivatedns-host.microsoft.com.";
pub const SOA_TTL_SECS: u32 = 3600;
/// Serial, refresh, retry, expire and minimum, the last of which is the TTL of what does not exist.
pub const SOA_NUMBERS: [u32; 5] = [1, 3600, 300, 2_419_200, 10];

/// Zones with their master files, records spread evenly.
pub struct Zones {
    pub folder: PathBuf,
    /// Without the last dot.
    pub apexes: Vec<String>,
    pub records: u32,
}

impl Zones {
    /// Writes the master files of the first `count` private-link zones of the catalogue.
    pub fn write(folder: PathBuf, count: usize, records: u32) -> anyhow::Result<Zones> {
        let mut apexes = catalogue()?;
        anyhow::ensure!(apexes.len() >= count, "the catalogue has {} zones, not {count}", apexes.len());
        apexes.truncate(count);
        let zones = Zones { folder, apexes, records };
        fs::create_dir_all(&zones.folder)?;
        for (index, apex) in zones.apexes.iter().enumerate() {
            fs::write(zones.file(apex), zones.master_file(index)).with_context(|| format!("zone {apex}"))?;
        }
        Ok(zones)
    }

    /// The master file of a zone.
    pub fn file(&self, apex: &str) -> PathBuf {
        self.folder.join(format!("{apex}.zone"))
    }

    /// The apex of the zone that a record stands in.
    pub fn apex_of(&self, number: u32) -> &str {
        &self.apexes[number as usize % self.apexes.len()]
    }

    fn master_file(&self, index: usize) -> String {
        let [serial, refresh, retry, expire, minimum] = SOA_NUMBERS;
        let mut text = format!(
            "$ORIGIN {}.\n@ {SOA_TTL_SECS} SOA {SERVER} {MAILBOX} {serial} {refresh} {retry} {expire} {minimum}\n@ {SOA_TTL_SECS} NS {SERVER}\n",
            self.apexes[index]
        );
        for number in (index as u32..self.records).step_by(self.apexes.len()) {
            writeln!(text, "{} {TTL_SECS} A {}", label(number), address(number)).expect("a line");
        }
        text
    }
}

/// The first label of a record's owner.
pub fn label(number: u32) -> String {
    format!("acct-{number:05}")
}

/// A label of the same length that no zone has.
pub fn missing_label(number: u32) -> String {
    format!("nope-{number:05}")
}

/// What a record says; so that who knows its owner can tell it.
pub fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 | number)
}

/// The zones of the public cloud that need no region, in the order of the catalogue.
fn catalogue() -> anyhow::Result<Vec<String>> {
    let text = include_str!("../../config/privatelink.toml");
    let catalogue: toml::Table = toml::from_str(text).context("the catalogue")?;
    let mut apexes: Vec<String> = Vec::new();
    let services = catalogue.get("public").and_then(toml::Value::as_array).into_iter().flatten();
    let lines = services.filter_map(|service| service.get("zones")?.as_array()).flatten();
    for apex in lines.filter_map(|line| line.get("zone")?.as_str()) {
        if apex.starts_with("privatelink.")
            && !apex.contains('{')
            && !apexes.iter().any(|other| other == apex)
        {
            apexes.push(apex.to_owned());
        }
    }
    Ok(apexes)
}
