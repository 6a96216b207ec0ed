//! A build of this crate's program.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::zones::Zones;

pub fn command(path: &Path, zones: &Zones, folder: &Path, address: SocketAddr) -> anyhow::Result<Command> {
    let mut config = format!(
        "state_dir = \"state\"\n[listen]\ndns = [\"{address}\"]\nworkers = 1\n[admin]\nlisten = []\n[forward]\nupstreams = []\n"
    );
    for apex in &zones.apexes {
        let file = zones.file(apex);
        writeln!(config, "[[zone]]\nname = \"{apex}\"\nfile = {file:?}\non_missing = \"nxdomain\"")?;
    }
    let file = folder.join("config.toml");
    fs::write(&file, config)?;
    let mut command = Command::new(path);
    command.args(["serve", "-c"]).arg(file);
    for variable in
        ["PRIVATELINK_DNS_CONFIG", "PRIVATELINK_DNS_SERVER", "PRIVATELINK_DNS_TOKEN_FILE", "RUST_LOG"]
    {
        command.env_remove(variable);
    }
    Ok(command)
}
