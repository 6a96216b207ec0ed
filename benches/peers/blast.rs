//! The generator: so many questions in flight that the server's core has always work, or questions at a pace for latency.
//!
//! It never sleeps in the kernel, so no server pays for waking it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::cpu::Cpu;
use crate::datagrams::{Datagrams, Sending};
use crate::lane::{Lane, Tally};
use crate::machine;
use crate::questions::{Questions, RUN};
use crate::stream::Stream;

/// Questions in flight over all sockets: a queue before the server longer than any of them reads at once, within its buffers, and
/// no more than one client network may have wait.
const IN_FLIGHT_MAX: usize = 960;
/// On a connection, which loses nothing.
const IN_FLIGHT_TCP_MAX: usize = 256;

/// Silence after which all that is in flight is lost; the Recursor reads thousands of questions before it goes on with any.
const LOST_AFTER: Duration = Duration::from_secs(1);

/// How often a list is asked to fill a cache.
const FILLS_MAX: usize = 10;

/// What questions go over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp(Sending),
    Tcp,
}

/// What was counted while the server's core was full.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// Over the whole run, with warm-up and end.
    pub whole: Tally,
    /// Answers within the measured window.
    pub answered: u64,
    pub took: Duration,
    /// Of the server.
    pub cpu: Cpu,
    /// Of anything else on the server's core.
    pub foreign: Duration,
}

/// How long answers took, sorted, and what was lost.
#[derive(Debug)]
pub struct Paced {
    pub took: Vec<Duration>,
    pub tally: Tally,
}

impl Paced {
    /// The time that this share of the answers took at most.
    pub fn at(&self, share: f64) -> Duration {
        let last = self.took.len().saturating_sub(1) as f64;
        self.took.get((last * share).round() as usize).copied().unwrap_or_default()
    }
}

/// How to measure one server.
#[derive(Clone, Copy)]
pub struct Target<'t> {
    pub address: SocketAddr,
    pub processes: &'t [u32],
    /// Where the server runs.
    pub core: usize,
    pub transport: Transport,
    /// Who asks: a socket for each.
    pub sources: &'t [Ipv4Addr],
}

/// What the generator does besides, once a round: it has no time to lose.
pub type Aside<'a> = &'a mut dyn FnMut() -> anyhow::Result<()>;

impl Target<'_> {
    fn lane(&self, source: Ipv4Addr) -> anyhow::Result<Box<dyn Lane>> {
        Ok(match self.transport {
            Transport::Udp(sending) => Box::new(Datagrams::to(self.address, source, sending)?),
            Transport::Tcp => Box::new(Stream::to(self.address, source)?),
        })
    }
}

/// Sockets that are served in turn.
struct Lanes {
    lanes: Vec<Box<dyn Lane>>,
    /// On each.
    in_flight_max: usize,
    quiet_since: Option<Instant>,
}

impl Lanes {
    fn to(target: &Target<'_>) -> anyhow::Result<Lanes> {
        let lanes =
            target.sources.iter().map(|source| target.lane(*source)).collect::<anyhow::Result<_>>()?;
        let in_flight_max = match target.transport {
            Transport::Udp(_) => (IN_FLIGHT_MAX / target.sources.len()).clamp(RUN, IN_FLIGHT_MAX / 4),
            Transport::Tcp => IN_FLIGHT_TCP_MAX,
        };
        Ok(Lanes { lanes, in_flight_max, quiet_since: None })
    }

    /// Asks where not too much is in flight, and counts what has come.
    fn round(
        &mut self,
        mut questions: Option<&mut Questions>,
        tally: &mut Tally,
        aside: &mut dyn FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut is_quiet = true;
        for lane in &mut self.lanes {
            if let Some(questions) = questions.as_deref_mut()
                && lane.awaited().in_flight + RUN <= self.in_flight_max
            {
                lane.send(questions.burst(), tally)?;
            }
            is_quiet &= lane.receive(tally, &mut |_| {})? == 0;
            aside()?;
        }
        if !is_quiet {
            self.quiet_since = None;
        } else if self.quiet_since.get_or_insert_with(Instant::now).elapsed() > LOST_AFTER {
            self.quiet_since = None;
            self.lanes.iter_mut().for_each(|lane| lane.awaited().give_up(tally));
        }
        Ok(())
    }

    /// Waits for what is in flight.
    fn drain(
        &mut self,
        tally: &mut Tally,
        aside: &mut dyn FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        while tally.answered + tally.wrong + tally.lost < tally.sent {
            self.round(None, tally, aside)?;
        }
        Ok(())
    }
}

/// Asks all once, until all are answered, so that a cache has them.
pub fn fill(target: Target<'_>, questions: &mut Questions, aside: Aside<'_>) -> anyhow::Result<()> {
    // One socket: a forwarder with a full cache is fast, one with an empty cache is not.
    let mut lanes = Lanes::to(&Target { sources: &target.sources[..1], ..target })?;
    let mut tally = Tally::default();
    for _ in 0..FILLS_MAX {
        tally = Tally::default();
        while (tally.sent as usize) < questions.count() {
            lanes.round(Some(questions), &mut tally, aside)?;
        }
        lanes.drain(&mut tally, aside)?;
        machine::go_on()?;
        if tally.answered == tally.sent {
            return Ok(());
        }
    }
    anyhow::bail!("its cache is not filled: of {} questions {} are answered", tally.sent, tally.answered)
}

/// Keeps the server's core full for `warm_up` and then for `window`, in which it counts.
pub fn flood(
    target: Target<'_>,
    questions: &mut Questions,
    warm_up: Duration,
    window: Duration,
    aside: Aside<'_>,
) -> anyhow::Result<Flood> {
    let mut lanes = Lanes::to(&target)?;
    let mut tally = Tally::default();
    let read = || (Cpu::of(target.processes), Cpu::of_core(target.core), Instant::now());
    let begun = Instant::now();
    while begun.elapsed() < warm_up {
        lanes.round(Some(questions), &mut tally, aside)?;
    }
    let (before, (cpu, core, begun)) = (tally, read());
    machine::go_on()?;
    while begun.elapsed() < window {
        lanes.round(Some(questions), &mut tally, aside)?;
    }
    let (after, (cpu_after, core_after, ended)) = (tally, read());
    machine::go_on()?;
    lanes.drain(&mut tally, aside)?;
    let cpu = cpu_after - cpu;
    Ok(Flood {
        whole: tally,
        answered: after.answered - before.answered,
        took: ended - begun,
        cpu,
        foreign: (core_after - core).saturating_sub(cpu.all()),
    })
}

/// Asks one question after the other at a rate, whether or not answers come.
pub fn pace(
    target: Target<'_>,
    questions: &mut Questions,
    a_second: u32,
    window: Duration,
    aside: Aside<'_>,
) -> anyhow::Result<Paced> {
    let mut lane = target.lane(target.sources[0])?;
    let mut tally = Tally::default();
    let mut sent_at = vec![Instant::now(); 1 << 16];
    let mut took = Vec::new();
    let begun = Instant::now();
    let mut due = begun;
    let mut last_sent = begun;
    loop {
        let now = Instant::now();
        if now >= due && due < begun + window {
            let mut burst = questions.burst();
            // Of a run the first: at a pace nothing goes in bursts.
            burst.wire = &mut burst.wire[..burst.length];
            burst.rights = &burst.rights[..1];
            sent_at[usize::from(lane.awaited().next)] = now;
            lane.send(burst, &mut tally)?;
            due += Duration::from_secs(1) / a_second;
            last_sent = now;
            machine::go_on()?;
        }
        lane.receive(&mut tally, &mut |id| took.push(sent_at[usize::from(id)].elapsed()))?;
        aside()?;
        if due >= begun + window {
            if tally.answered + tally.wrong + tally.lost == tally.sent {
                break;
            }
            if last_sent.elapsed() > LOST_AFTER {
                lane.awaited().give_up(&mut tally);
            }
        }
    }
    took.sort_unstable();
    Ok(Paced { took, tally })
}
