//! What passes over 64,000 private endpoints and their 64,000 interfaces in 50 subscriptions cost, from the pages of a
//! fake Azure to the zones and the file in `state_dir`: `cargo bench --bench sync`. Fails beyond the bounds below.

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/suite/support/fake_arm.rs"]
mod fake_arm;
mod process;
mod resources;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use privatelink_dns::config::Config;
use privatelink_dns::daemon::Parts;
use privatelink_dns::sources::{SourceState, StateAccess};
use privatelink_dns::sync::azure::Azure;
use privatelink_dns::zone::Origin;

use process::Process;
use resources::{ENDPOINTS, Mix, SUBSCRIPTIONS};

const FIRST_PASS_CPU_MAX: Duration = Duration::from_secs(3);
const UNCHANGED_PASS_CPU_MAX: Duration = Duration::from_secs(1);
/// Passes without a change, and then such with one: so many that memory which grew from pass to pass would show.
const UNCHANGED_PASSES: usize = 10;
const CHANGED_PASSES: usize = 10;
const MEMORY_BYTES_MAX: u64 = 600 << 20;

/// ARM's reads for one subscription and identity: a bucket of 250 that 25 a second flow into.
const READS_MAX: usize = 250;

/// A server without sockets, whose only source is the fake Azure.
struct World {
    arm: Process,
    parts: Parts,
    runtime: tokio::runtime::Runtime,
    azure: Arc<Azure>,
    broken: Vec<String>,
    _state: tempfile::TempDir,
}

impl World {
    fn new(mix: Mix) -> World {
        let arm = Process::start(mix);
        let url = &arm.url;
        let text = format!(
            "[[sync.source]]\nkind = 'arm'\nendpoint = '{url}'\nauthority = '{url}'\nidentity_endpoint = '{url}'\n"
        );
        let mut config = Config::parse(&text, Path::new("/nowhere/config.toml")).expect("a config");
        let state = tempfile::tempdir().expect("a folder");
        config.state_dir = state.path().to_owned();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads");
        let parts = runtime.block_on(async { Parts::restore(&config, StateAccess::Keep).expect("parts") });
        let azure = parts.sources.list()[0].live().expect("Azure").azure().expect("a client");
        World { arm, parts, runtime, azure, broken: Vec::new(), _state: state }
    }

    /// One pass with what is kept of it; answers its CPU time.
    fn pass(&mut self, what: &str) -> Duration {
        let (cpu, begun) = (cpu(), Instant::now());
        let source = &self.parts.sources.list()[0];
        self.runtime.block_on(source.pass_with(&self.azure, &self.parts.store));
        self.parts.sources.keep();
        let (cpu, wall) = (self::cpu() - cpu, begun.elapsed());
        let state = self.parts.sources.list()[0].known().state.clone();
        if !matches!(state, SourceState::Current { .. }) {
            self.broken.push(format!("{what}: {state:?}"));
        }
        let requests = self.arm.requests();
        println!(
            "{what:<26} {cpu:>8.3?} CPU {wall:>8.3?}, {} requests, at most {} in a subscription, peak memory {} MB",
            requests.all,
            requests.most,
            peak_memory_bytes() >> 20
        );
        self.bound(requests.most <= READS_MAX, || format!("{what}: more than {READS_MAX} requests"));
        cpu
    }

    /// A pass after one endpoint got another address.
    fn change_one(&mut self) {
        let before = self.parts.store.snapshot();
        self.arm.change_one();
        self.pass("pass with one change");
        let after = self.parts.store.snapshot();
        let sets = self.parts.store.changes_since(before.revision()).unwrap_or_default();
        let changes: usize = sets.iter().map(|set| set.changes.len()).sum();
        let serials = after
            .zones()
            .filter(|(apex, zone)| before.zone(apex.borrow()).map(|it| it.serial()) != Some(zone.serial()))
            .count();
        println!("{:<26} {changes} record set committed, {serials} serial bumped", "");
        self.bound((sets.len(), changes, serials) == (1, 1, 1), || {
            format!("{} commits of {changes} changes, {serials} serials", sets.len())
        });
    }

    fn bound(&mut self, is_kept: bool, what: impl FnOnce() -> String) {
        if !is_kept {
            self.broken.push(what());
        }
    }

    fn record_sets(&self) -> usize {
        let snapshot = self.parts.store.snapshot();
        let nodes = snapshot.zones().flat_map(|(_, zone)| zone.nodes());
        let offers = nodes.flat_map(|(_, node)| node.slots()).flat_map(|slot| slot.offers());
        offers.filter(|offer| matches!(offer.origin, Origin::Endpoint(_))).count()
    }

    /// All passes of one mix of resources.
    fn run(mut self) -> Vec<String> {
        let megabytes = self.arm.bytes >> 20;
        println!(
            "{SUBSCRIPTIONS} subscriptions, {ENDPOINTS} endpoints and their interfaces, {megabytes} MB of pages"
        );
        let first = self.pass("first pass");
        let published = self.record_sets();
        self.bound(published == ENDPOINTS as usize, || format!("{published} record sets are published"));
        self.bound(first < FIRST_PASS_CPU_MAX, || {
            format!("first pass: more than {FIRST_PASS_CPU_MAX:?} CPU")
        });
        let before = self.parts.store.snapshot();
        for _ in 0..UNCHANGED_PASSES {
            let unchanged = self.pass("pass without a change");
            self.bound(unchanged < UNCHANGED_PASS_CPU_MAX, || {
                format!("pass without a change: more than {UNCHANGED_PASS_CPU_MAX:?} CPU")
            });
        }
        let revision = self.parts.store.load().revision();
        self.bound(revision == before.revision(), || "a pass without a change committed one".to_owned());
        for _ in 0..CHANGED_PASSES {
            self.change_one();
        }
        let memory = peak_memory_bytes();
        println!("{:<26} {} MB", "peak memory", memory >> 20);
        self.bound(memory < MEMORY_BYTES_MAX, || format!("more than {} MB", MEMORY_BYTES_MAX >> 20));
        self.broken
    }
}

/// The CPU time that this process has used, its kernel's share included.
fn cpu() -> Duration {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a whole `rusage`, for which all zeros are a value.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    [usage.ru_utime, usage.ru_stime]
        .iter()
        .map(|time| Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64))
        .sum()
}

/// The most memory that this process ever had.
fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells it");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes << 10
}

/// Gives back what is free, and counts the most memory anew (proc_pid_clear_refs(5)).
fn forget_peak() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, and locks what it works on.
    unsafe {
        libc::malloc_trim(0);
    }
    if let Err(error) = std::fs::write("/proc/self/clear_refs", "5") {
        println!("the peak of what follows is not its own: {error}");
    }
}

fn main() -> ExitCode {
    if process::play_if_asked() {
        return ExitCode::SUCCESS;
    }
    let broken = World::new(Mix::Endpoints).run();
    forget_peak();
    println!(
        "\nthe same, and in the lists of interfaces as many of virtual machines (no bound is set for it)"
    );
    // Bounds are those of the issue, which knows no machines.
    let mixed = World::new(Mix::Machines).run();
    mixed.iter().for_each(|line| println!("beyond it: {line}"));
    broken.iter().for_each(|line| eprintln!("bound broken: {line}"));
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
