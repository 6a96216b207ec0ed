//! Whether wrong servers are noticed: the bare responder with each fault in turn.

use super::{Bench, Found, Workload};
use crate::blast::Transport;
use crate::check;
use crate::questions::{Edns, Question, Questions};
use crate::servers::{Kind, Scene};
use crate::zones::{ZONES, Zones};

use clap::ValueEnum;

use crate::bare::Fault;

pub const WORKLOAD: Workload = Workload {
    name: "control",
    about: "no measurement: the bare responder passes the check, and fails it with each of its faults",
    peers: &[],
    run,
};

const RECORDS: u32 = 6_000;

fn run(bench: &Bench<'_>) -> anyhow::Result<Found> {
    let zones = Zones::write(bench.folder.join("zones"), ZONES, RECORDS)?;
    let scene = Scene::new(&zones, bench.folder.to_owned(), bench.cores.server);
    let transport = Transport::Udp(bench.plan.sending);
    let questions = (0..RECORDS).map(|number| Question::existing(&zones, number)).collect();
    let questions = Questions::new(questions, Edns::Without);
    check::samples(Kind::Bare.start(&scene)?.address, transport, &questions)?;
    for fault in Fault::value_variants() {
        let server = Kind::Wrong(*fault).start(&scene)?;
        // It does not wait for an answer that is never right.
        let noticed = check::samples(server.address, transport, &questions).err();
        let noticed = noticed.map(|error| error.root_cause().to_string());
        anyhow::ensure!(noticed.is_some(), "a server with the fault {fault:?} passes the check");
        eprintln!("control: {fault:?} is noticed: {}", noticed.unwrap_or_default());
    }
    Ok(Found::default())
}
