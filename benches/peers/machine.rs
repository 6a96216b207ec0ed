//! The machine: its cores and who may use them, what it is, and whether its user wants an end.

use std::fs;
use std::io;
use std::mem;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// So many small datagrams wait in a socket; the kernel takes 768 bytes and more for each.
pub const SOCKET_BUFFER_BYTES: libc::c_int = 4 << 20;

/// Where the generator and upstreams run, and where the measured server runs.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    pub generator: usize,
    pub server: usize,
}

impl Cores {
    /// The first two that this process may use.
    pub fn find() -> anyhow::Result<Cores> {
        // SAFETY: zeroes are an empty set; the call writes within the size it is given.
        let allowed = unsafe {
            let mut set: libc::cpu_set_t = mem::zeroed();
            anyhow::ensure!(
                libc::sched_getaffinity(0, size_of_val(&set), &mut set) == 0,
                io::Error::last_os_error()
            );
            set
        };
        // SAFETY: the numbers are within the set.
        let mut cores =
            (0..libc::CPU_SETSIZE as usize).filter(|core| unsafe { libc::CPU_ISSET(*core, &allowed) });
        match (cores.next(), cores.next()) {
            (Some(generator), Some(server)) => Ok(Cores { generator, server }),
            _ => anyhow::bail!("it takes two cores: one for the server, one for the generator"),
        }
    }
}

/// Keeps the calling thread, and what it starts, on these cores. Safe between fork and exec.
pub fn pin(cores: &[usize]) -> io::Result<()> {
    pin_thread(0, cores)
}

/// Keeps all threads of processes on these cores, whatever they chose themselves.
pub fn pin_all(processes: &[u32], cores: &[usize]) -> io::Result<()> {
    for process in processes {
        for entry in fs::read_dir(format!("/proc/{process}/task"))?.flatten() {
            if let Some(thread) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                pin_thread(thread, cores)?;
            }
        }
    }
    Ok(())
}

fn pin_thread(thread: libc::pid_t, cores: &[usize]) -> io::Result<()> {
    // SAFETY: zeroes are an empty set; the numbers came from such a set.
    let result = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        cores.iter().for_each(|core| libc::CPU_SET(*core, &mut set));
        libc::sched_setaffinity(thread, size_of_val(&set), &set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Has the first Ctrl-C, and SIGTERM, end the run in order; the second one kills.
pub fn heed_interrupts() {
    extern "C" fn note(_signal: libc::c_int) {
        IS_INTERRUPTED.store(true, Ordering::Relaxed);
    }
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores to an atomic.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = note as extern "C" fn(libc::c_int) as usize;
            action.sa_flags = libc::SA_RESETHAND;
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

/// Has servers' children whose parent is gone become ours, to be waited for.
pub fn adopt() -> io::Result<()> {
    // SAFETY: it only sets a flag of this process.
    let result = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// An error once the user wants an end.
pub fn go_on() -> anyhow::Result<()> {
    anyhow::ensure!(!IS_INTERRUPTED.load(Ordering::Relaxed), "interrupted");
    Ok(())
}

/// CPU, cores, kernel, date, and the commit that ours was built from.
pub fn description() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']);
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    format!(
        "{model}, {count} cores, Linux {}, {}; our commit {}",
        said("uname", &["-r"]),
        said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        said("git", &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty", "--abbrev=12"])
    )
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
