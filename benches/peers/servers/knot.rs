//! CZ.NIC's Knot DNS.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Scene;
use crate::install;

pub const PACKAGE: &str = "knot";

pub fn program() -> anyhow::Result<PathBuf> {
    install::program("knotd", PACKAGE)
}

pub fn command(scene: &Scene<'_>, folder: &Path, address: SocketAddr) -> anyhow::Result<Command> {
    let zones = scene.zones;
    // Zones are read from their files and never written.
    let mut config = format!(
        "server:
    listen: {}@{}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    rundir: {folder:?}
database:
    storage: {:?}
log:
  - target: stderr
    any: warning
template:
  - id: default
    storage: {:?}
    zonefile-load: whole
    zonefile-sync: -1
    journal-content: none
    semantic-checks: off
zone:
",
        address.ip(),
        address.port(),
        folder.join("db"),
        zones.folder,
    );
    for apex in &zones.apexes {
        writeln!(config, "  - domain: {apex}\n    file: {:?}", zones.file(apex))?;
    }
    let file = folder.join("knot.conf");
    fs::write(&file, config)?;
    let mut command = Command::new(program()?);
    command.arg("-c").arg(file).arg("-s").arg(folder.join("knot.sock"));
    Ok(command)
}
