//! CPU time of a server, of all its processes and threads.

use std::collections::HashMap;
use std::fs;
use std::ops::Sub;
use std::time::Duration;

/// CPU time of one or more processes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    pub user: Duration,
    pub system: Duration,
}

impl Cpu {
    /// What the processes have spent till now; those that have ended count no more.
    pub fn of(processes: &[u32]) -> Cpu {
        let mut sum = Cpu::default();
        for process in processes {
            // proc(5): fields 14 and 15, the time of all threads.
            let Some(fields) = fields(*process) else { continue };
            let time = |field: usize| {
                fields.get(field).and_then(|ticks| ticks.parse().ok()).map_or(Duration::ZERO, of_ticks)
            };
            sum.user += time(11);
            sum.system += time(12);
        }
        sum
    }

    /// What all processes of the machine have spent on one CPU.
    pub fn of_core(core: usize) -> Duration {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let prefix = format!("cpu{core} ");
        let ticks = stat.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default();
        let ticks: Vec<u64> = ticks.split_whitespace().filter_map(|ticks| ticks.parse().ok()).collect();
        // user, nice, system, idle, iowait, irq, softirq.
        [0, 1, 2, 5, 6].iter().filter_map(|field| ticks.get(*field)).map(|ticks| of_ticks(*ticks)).sum()
    }

    pub fn all(self) -> Duration {
        self.user + self.system
    }
}

impl Sub for Cpu {
    type Output = Cpu;

    fn sub(self, earlier: Cpu) -> Cpu {
        Cpu {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }
}

/// A process and all that descend from it.
pub fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(parent) = fields(process).and_then(|fields| fields.get(1)?.parse().ok()) {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(process) = tree.get(next) {
        tree.extend(children.remove(process).unwrap_or_default());
        next += 1;
    }
    tree
}

/// What `/proc/PID/stat` says behind the command, from the state on.
fn fields(process: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(stat.rsplit(')').next()?.split_whitespace().map(str::to_owned).collect())
}

fn of_ticks(ticks: u64) -> Duration {
    // SAFETY: it only reads a number.
    let a_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Duration::from_secs_f64(ticks as f64 / a_second.max(1) as f64)
}
