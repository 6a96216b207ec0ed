//! The bare responder, as a process of its own.

use std::net::SocketAddr;
use std::process::Command;

pub fn command(address: SocketAddr) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--serve-bare").arg(address.to_string());
    Ok(command)
}
