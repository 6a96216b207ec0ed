//! Debian's packages of the peers: installed where they are missing, without starting their services.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

/// invoke-rc.d(8) asks this program whether a service may be started; 101 is no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Where a peer's program is; its package is installed if it is not there.
pub fn program(name: &str, package: &str) -> anyhow::Result<PathBuf> {
    if let Some(path) = find(name) {
        return Ok(path);
    }
    eprintln!("installing {package}");
    let _guard = ServicesStayOff::new()?;
    as_root("apt-get", &["update", "-q"])?;
    as_root("apt-get", &["install", "-q", "-y", "--no-install-recommends", package])?;
    find(name).with_context(|| format!("{package} is installed, but there is no {name}"))
}

/// The version of an installed package.
pub fn version(package: &str) -> String {
    let output = Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// Servers stand in sbin, which not everyone's PATH has.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Its messages go to stderr: stdout is the table's.
fn as_root(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    // SAFETY: it only reads a number.
    let is_root = unsafe { libc::geteuid() } == 0;
    let mut command = if is_root { Command::new("env") } else { Command::new("sudo") };
    if !is_root {
        command.arg("env");
    }
    command.arg("DEBIAN_FRONTEND=noninteractive").arg(program).args(arguments);
    let status = command.stdin(Stdio::null()).stdout(std::io::stderr()).status();
    let status = status.with_context(|| format!("{program} cannot be run"))?;
    anyhow::ensure!(status.success(), "{program} {}: {status}", arguments.join(" "));
    Ok(())
}

/// Has packages not start their services while it lives.
struct ServicesStayOff {
    is_ours: bool,
}

impl ServicesStayOff {
    fn new() -> anyhow::Result<ServicesStayOff> {
        if Path::new(POLICY).exists() {
            // A container's; it says what its owner wants.
            return Ok(ServicesStayOff { is_ours: false });
        }
        let here = tempfile::tempdir()?;
        let policy = here.path().join("policy-rc.d");
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(&policy)?;
        file.write_all(b"#!/bin/sh\nexit 101\n")?;
        drop(file);
        as_root("cp", &[&policy.to_string_lossy(), POLICY])?;
        Ok(ServicesStayOff { is_ours: true })
    }
}

impl Drop for ServicesStayOff {
    fn drop(&mut self) {
        if self.is_ours && as_root("rm", &[POLICY]).is_err() {
            eprintln!("{POLICY} could not be removed: it keeps new services from starting");
        }
    }
}
