//! The bare responder, as a process of its own.

use std::net::SocketAddr;
use std::process::Command;

use clap::ValueEnum;

use crate::bare::Fault;

pub fn command(address: SocketAddr, fault: Option<Fault>) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--serve-bare").arg(address.to_string());
    if let Some(fault) = fault.and_then(|fault| fault.to_possible_value()) {
        command.arg("--fault").arg(fault.get_name());
    }
    Ok(command)
}
