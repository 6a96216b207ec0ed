//! PowerDNS dnsdist, which hands questions on and keeps packets; it knows no zones.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Cache, Scene};
use crate::install;

pub const PACKAGE: &str = "dnsdist";

pub fn program() -> anyhow::Result<PathBuf> {
    install::program("dnsdist", PACKAGE)
}

pub fn command(scene: &Scene<'_>, folder: &Path, address: SocketAddr) -> anyhow::Result<Command> {
    let mut config = format!(
        "setLocal(\"{address}\")
setACL({{\"127.0.0.0/8\"}})
setSecurityPollSuffix(\"\")
"
    );
    if let Some(upstream) = scene.upstream {
        // Up without asking whether it is.
        config += &format!("newServer({{address=\"{upstream}\"}}):setUp()\n");
    }
    if scene.cache == Cache::With {
        config += "getPool(\"\"):setCache(newPacketCache(1000000, {maxTTL=86400}))\n";
    }
    let file = folder.join("dnsdist.conf");
    fs::write(&file, config)?;
    let mut command = Command::new(program()?);
    command.arg("--supervised").arg("--disable-syslog").arg("-C").arg(file);
    Ok(command)
}
