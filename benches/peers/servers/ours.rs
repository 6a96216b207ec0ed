//! A build of this crate's program.

use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

use super::Scene;

/// Builds the program as those who use it do, and tells where it is.
// Not `CARGO_BIN_EXE_…`: benchmarks are built with features that only tests want, among them a clock of tokio's that costs.
pub fn build() -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "build",
        "--release",
        "--bin",
        "privatelink-dns",
        "--message-format",
        "json-render-diagnostics",
    ]);
    command.arg("--manifest-path").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    eprintln!("cargo build --release");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cargo")?;
    let mut program = None;
    for line in BufReader::new(child.stdout.take().context("cargo says nothing")?).lines() {
        let message: serde_json::Value = serde_json::from_str(&line?).unwrap_or_default();
        if let Some(path) = message["executable"].as_str() {
            program = Some(PathBuf::from(path));
        }
    }
    let status = child.wait()?;
    anyhow::ensure!(status.success(), "cargo build --release: {status}");
    program.context("cargo build --release made no program")
}

pub fn command(
    path: &Path,
    scene: &Scene<'_>,
    folder: &Path,
    address: SocketAddr,
) -> anyhow::Result<Command> {
    let zones = scene.zones;
    let list = |address: Option<SocketAddr>| address.map(|address| format!("\"{address}\""));
    let admin = list(scene.admin).unwrap_or_default();
    let upstream = list(scene.upstream).unwrap_or_default();
    let mut config = format!(
        "state_dir = \"state\"
[listen]
dns = [\"{address}\"]
workers = {}
[listen.tcp]
messages_max = 1000000000
[admin]
listen = [{admin}]
[forward]
upstreams = [{upstream}]
{}
",
        scene.workers, scene.more
    );
    for (number, clients) in scene.networks.iter().enumerate() {
        writeln!(config, "[[network]]\nname = \"network-{number}\"\nclients = {clients:?}")?;
    }
    for apex in zones.apexes.iter().filter(|_| scene.has_files) {
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
