//! PowerDNS Recursor, as a forwarder with the private-link zones in its authority.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Cache, Scene};
use crate::install;

pub const PACKAGE: &str = "pdns-recursor";

pub fn program() -> anyhow::Result<PathBuf> {
    install::program("pdns_recursor", PACKAGE)
}

pub fn command(scene: &Scene<'_>, folder: &Path, address: SocketAddr) -> anyhow::Result<Command> {
    let zones: Vec<String> = scene
        .zones
        .apexes
        .iter()
        .map(|apex| format!("{apex}={}", scene.zones.file(apex).display()))
        .collect();
    // No validation, as ours has none.
    let mut config = format!(
        "local-address={}
local-port={}
threads=1
pdns-distributes-queries=no
dnssec=off
daemon=no
disable-syslog=yes
write-pid=no
quiet=yes
loglevel=3
socket-dir={}
setuid=
setgid=
allow-from=127.0.0.0/8
dont-query=
security-poll-suffix=
export-etc-hosts=no
stats-ringbuffer-entries=0
auth-zones={}
",
        address.ip(),
        address.port(),
        folder.display(),
        zones.join(","),
    );
    if scene.cache == Cache::Without {
        // Nothing is asked twice: what it keeps of packets only costs.
        writeln!(config, "disable-packetcache=yes")?;
    }
    if let Some(upstream) = scene.upstream {
        writeln!(config, "forward-zones-recurse=.={upstream}")?;
    }
    fs::write(folder.join("recursor.conf"), config)?;
    let mut command = Command::new(program()?);
    command.arg(format!("--config-dir={}", folder.display()));
    Ok(command)
}
