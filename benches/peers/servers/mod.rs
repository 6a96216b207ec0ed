//! The servers that are measured: how each is told what to serve, started on its core, and ended.

mod bare;
mod buffers;
mod dnsdist;
mod knot;
mod nsd;
pub mod ours;
mod recursor;
mod unbound;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::bare::Fault;
use crate::machine;
use crate::questions::Question;
use crate::zones::Zones;
use crate::{check, cpu, install};

/// For a server to answer its last record.
const START_TIMEOUT: Duration = Duration::from_secs(300);
/// For a server to end when it is asked to.
const END_TIMEOUT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(2);

/// A server that can be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A build of this crate's program, by the name it has in the table.
    Ours {
        label: String,
        path: PathBuf,
    },
    Nsd,
    Knot,
    Unbound,
    Recursor,
    Dnsdist,
    /// The floor.
    Bare,
    /// The floor with a fault, which must be noticed.
    Wrong(Fault),
}

/// Whether forwarded answers are kept, where it can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    With,
    Without,
}

/// What a server is started for.
#[derive(Clone)]
pub struct Scene<'s> {
    pub zones: &'s Zones,
    /// For what servers write, a folder each.
    pub folder: PathBuf,
    /// Where the server may run.
    pub cores: Vec<usize>,
    /// Where all other names are asked.
    pub upstream: Option<SocketAddr>,
    pub cache: Cache,
    /// What only ours is told: threads for UDP, ranges of clients a network, the API, and lines of its config.
    pub workers: usize,
    pub networks: Vec<Vec<String>>,
    pub admin: Option<SocketAddr>,
    /// Whether zones come from their master files.
    pub has_files: bool,
    pub more: String,
}

impl<'s> Scene<'s> {
    /// These zones on one core, and nothing else.
    pub fn new(zones: &'s Zones, folder: PathBuf, core: usize) -> Scene<'s> {
        Scene {
            zones,
            folder,
            cores: vec![core],
            upstream: None,
            cache: Cache::With,
            workers: 1,
            networks: Vec::new(),
            admin: None,
            has_files: true,
            more: String::new(),
        }
    }
}

/// A server that runs; dropping it ends it with all its processes.
pub struct Server {
    pub kind: Kind,
    pub address: SocketAddr,
    /// The one that was started, and its children.
    pub processes: Vec<u32>,
    /// From its start until its last records were answered.
    pub took: Duration,
    child: Child,
}

impl Kind {
    /// Its name in the table and on the command line.
    pub fn name(&self) -> &str {
        match self {
            Kind::Ours { label, .. } => label,
            Kind::Nsd => "nsd",
            Kind::Knot => "knot",
            Kind::Unbound => "unbound",
            Kind::Recursor => "recursor",
            Kind::Dnsdist => "dnsdist",
            Kind::Bare => "bare",
            Kind::Wrong(_) => "wrong",
        }
    }

    pub fn is_ours(&self) -> bool {
        matches!(self, Kind::Ours { .. })
    }

    /// What it is, for those who read the table.
    pub fn description(&self) -> String {
        match self {
            Kind::Ours { label, path } => format!("{label} = {}", path.display()),
            Kind::Nsd => format!("nsd {}", install::version(nsd::PACKAGE)),
            Kind::Knot => format!("knot {}", install::version(knot::PACKAGE)),
            Kind::Unbound => format!("unbound {}", install::version(unbound::PACKAGE)),
            Kind::Recursor => format!("recursor {}", install::version(recursor::PACKAGE)),
            Kind::Dnsdist => format!("dnsdist {}", install::version(dnsdist::PACKAGE)),
            Kind::Bare | Kind::Wrong(_) => "bare = a responder that looks nothing up".to_owned(),
        }
    }

    /// Installs it if it is missing.
    pub fn install(&self) -> anyhow::Result<()> {
        match self {
            Kind::Ours { path, .. } => {
                anyhow::ensure!(path.is_file(), "there is no program at {}", path.display());
            }
            Kind::Nsd => drop(nsd::program()?),
            Kind::Knot => drop(knot::program()?),
            Kind::Unbound => drop(unbound::program()?),
            Kind::Recursor => drop(recursor::program()?),
            Kind::Dnsdist => drop(dnsdist::program()?),
            Kind::Bare | Kind::Wrong(_) => {}
        }
        Ok(())
    }

    /// Starts it on the servers' core; it answers when this returns.
    pub fn start(&self, scene: &Scene<'_>) -> anyhow::Result<Server> {
        let server = self.start_in(scene).with_context(|| format!("{} does not start", self.name()))?;
        // Knot binds its first worker for UDP to the first core of the machine, which is the generator's.
        machine::pin_all(&server.processes, &scene.cores)
            .with_context(|| format!("{} cannot be kept on its core", self.name()))?;
        buffers::enlarge(&server.processes)
            .unwrap_or_else(|error| eprintln!("{}: its sockets keep their buffers: {error}", self.name()));
        Ok(server)
    }

    fn start_in(&self, scene: &Scene<'_>) -> anyhow::Result<Server> {
        let folder = scene.folder.join(self.name());
        fs::create_dir_all(&folder)?;
        let address = free_address()?;
        let mut command = match self {
            Kind::Ours { path, .. } => ours::command(path, scene, &folder, address)?,
            Kind::Nsd => nsd::command(scene, &folder, address)?,
            Kind::Knot => knot::command(scene, &folder, address)?,
            Kind::Unbound => unbound::command(scene, &folder, address)?,
            Kind::Recursor => recursor::command(scene, &folder, address)?,
            Kind::Dnsdist => dnsdist::command(scene, &folder, address)?,
            Kind::Bare => bare::command(address, None)?,
            Kind::Wrong(fault) => bare::command(address, Some(*fault))?,
        };
        let log = folder.join("log");
        let file = fs::File::create(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        command.current_dir(&folder);
        // A group of its own, to end all of its processes by.
        command.process_group(0);
        let cores = scene.cores.clone();
        let parent = std::process::id();
        // SAFETY: only system calls between fork and exec.
        unsafe {
            command.pre_exec(move || {
                // SIGTERM: those with children end them.
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) != 0 {
                    return Err(io::Error::last_os_error());
                }
                if libc::getppid() as u32 != parent {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                machine::pin(&cores)
            });
        }
        let begun = Instant::now();
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        let processes = vec![child.id()];
        let mut server = Server { kind: self.clone(), address, processes, took: Duration::ZERO, child };
        server.wait_for(&self.proofs(scene)).with_context(|| {
            let log = fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(10).collect();
            lines.into_iter().rev().collect::<Vec<_>>().join("\n")
        })?;
        server.took = begun.elapsed();
        server.processes = cpu::tree(server.child.id());
        Ok(server)
    }

    /// Questions whose answers tell that it serves: the last record of each zone, or one that upstream knows.
    fn proofs(&self, scene: &Scene<'_>) -> Vec<Question> {
        let zones = scene.zones;
        let count = zones.apexes.len() as u32;
        match self {
            Kind::Wrong(_) => Vec::new(),
            Kind::Unbound | Kind::Recursor | Kind::Dnsdist => vec![Question::forwarded(0)],
            _ => {
                let last = zones.records.saturating_sub(count)..zones.records;
                last.map(|number| Question::existing(zones, number)).collect()
            }
        }
    }
}

impl Server {
    /// Until these are answered.
    fn wait_for(&mut self, proofs: &[Question]) -> anyhow::Result<()> {
        let begun = Instant::now();
        // One that never answers rightly has no proofs; a port that cannot be had is its.
        while proofs.is_empty() && UdpSocket::bind(self.address).is_ok() {
            anyhow::ensure!(begun.elapsed() < START_TIMEOUT, "it does not listen");
            thread::sleep(PAUSE);
        }
        for question in proofs {
            while let Err(error) = check::one(self.address, question) {
                machine::go_on()?;
                if let Some(status) = self.child.try_wait()? {
                    bail!("it ended: {status}");
                }
                if begun.elapsed() > START_TIMEOUT {
                    return Err(error.context(question.name.clone()));
                }
                thread::sleep(PAUSE);
            }
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Its first process only, which ends the others in order.
            // SAFETY: the child is ours and not waited for yet.
            unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
        }
        let begun = Instant::now();
        while begun.elapsed() < END_TIMEOUT && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(PAUSE);
        }
        // What it left; a group's number is not given out again while one of it is there.
        let group = -(self.child.id() as libc::pid_t);
        // SAFETY: numbers only; the children of a child that is gone are ours, see `machine::adopt`.
        unsafe {
            libc::kill(group, libc::SIGKILL);
            while libc::waitpid(group, std::ptr::null_mut(), 0) > 0 {}
        }
    }
}

/// Free for UDP and TCP just now.
pub fn free_address() -> io::Result<SocketAddr> {
    loop {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = socket.local_addr()?;
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
}
