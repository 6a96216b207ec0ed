//! NLnet Labs' NSD.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Scene;
use crate::install;

pub const PACKAGE: &str = "nsd";

pub fn program() -> anyhow::Result<PathBuf> {
    install::program("nsd", PACKAGE)
}

pub fn command(scene: &Scene<'_>, folder: &Path, address: SocketAddr) -> anyhow::Result<Command> {
    let zones = scene.zones;
    let at = |name: &str| folder.join(name);
    // One process answers; without a limit on replies, which would drop ours; only what was asked for is in a reply.
    let mut config = format!(
        "server:
    ip-address: {}@{}
    server-count: 1
    username: \"\"
    chroot: \"\"
    zonesdir: {:?}
    database: \"\"
    pidfile: {:?}
    xfrdfile: {:?}
    zonelistfile: {:?}
    xfrdir: {folder:?}
    rrl-ratelimit: 0
    rrl-whitelist-ratelimit: 0
    minimal-responses: yes
    round-robin: no
remote-control:
    control-enable: no
",
        address.ip(),
        address.port(),
        zones.folder,
        at("nsd.pid"),
        at("xfrd.state"),
        at("zone.list"),
    );
    for apex in &zones.apexes {
        writeln!(config, "zone:\n    name: {apex:?}\n    zonefile: {:?}", zones.file(apex))?;
    }
    let file = at("nsd.conf");
    fs::write(&file, config)?;
    let mut command = Command::new(program()?);
    command.arg("-d").arg("-c").arg(file);
    Ok(command)
}
