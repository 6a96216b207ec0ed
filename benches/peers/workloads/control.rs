//! Whether wrong servers are noticed: the bare responder with each fault in turn.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{Bench, Found, Workload};
use crate::bare::Fault;
use crate::blast::{self, Target, Transport};
use crate::check;
use crate::lane::Tally;
use crate::questions::{Edns, Question, Questions};
use crate::servers::{Kind, Scene};
use crate::zones::{ZONES, Zones};

pub const WORKLOAD: Workload = Workload {
    name: "control",
    about: "no measurement: the bare responder passes the check, and fails it with each of its faults",
    peers: &[],
    run,
};

const RECORDS: u32 = 6_000;

/// All faults, and what the check says of them: another error would hide that it does not see the fault.
const NOTICED: [(Fault, &str); 9] = [
    (Fault::Address, "another answer"),
    (Fault::Rcode, "another rcode"),
    (Fault::NotAuthoritative, "AA is clear"),
    (Fault::Truncated, "TC is set"),
    (Fault::Id, "another id"),
    (Fault::Question, "another question"),
    (Fault::NoAnswer, "not so many answers"),
    (Fault::Length, "incorrect rdata length"),
    (Fault::Silence, "no reply"),
];

fn run(bench: &Bench<'_>) -> anyhow::Result<Found> {
    let zones = Zones::write(bench.folder.join("zones"), ZONES, RECORDS)?;
    let scene = Scene::new(&zones, bench.folder.to_owned(), bench.cores.server);
    let transport = Transport::Udp(bench.plan.sending);
    let questions = (0..RECORDS).map(|number| Question::existing(&zones, number)).collect();
    let mut questions = Questions::new(questions, Edns::Without);
    check::samples(Kind::Bare.start(&scene)?.address, transport, &questions)?;
    for (fault, told) in NOTICED {
        let server = Kind::Wrong(fault).start(&scene)?;
        let noticed = check::samples(server.address, transport, &questions).err();
        let noticed = noticed.map(|error| format!("{error:#}")).unwrap_or_default();
        anyhow::ensure!(noticed.contains(told), "{fault:?} is not noticed, but `{noticed}`");
        if fault.is_in_header() {
            let target = Target {
                address: server.address,
                processes: &server.processes,
                core: bench.cores.server,
                transport,
                sources: &[Ipv4Addr::LOCALHOST],
            };
            let moment = Duration::from_millis(100);
            let flood = blast::flood(target, &mut questions, moment, moment, &mut || Ok(()))?;
            let Tally { answered, wrong, .. } = flood.whole;
            anyhow::ensure!(answered == 0 && wrong > 0, "the generator takes {fault:?} for right");
        }
        eprintln!("control: {fault:?} is noticed: {told}");
    }
    Ok(Found::default())
}
