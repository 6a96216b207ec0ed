//! The numbers of all parts, for `/metrics`: those of the process and of reloads are told here.

use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use procfs::process::{LimitValue, Process};

use super::parts::Parts;
use crate::admin::{Server, Standing};
use crate::counters;
use crate::listen::Counting;
use crate::telemetry::when::unix_secs;
use crate::telemetry::{Families, Measured, Numbers, label};

counters! {
    /// Reloads of the config.
    pub(super) struct ReloadCounters => ReloadCounts in "config" {
        /// Reloads that put a config in force.
        reloads,
        /// Reloads that failed, so that the config before stayed in force.
        failed_reloads,
    }
}

/// How reloads went.
pub(super) struct Reloads {
    counters: ReloadCounters,
    last: Mutex<Last>,
}

struct Last {
    is_successful: bool,
    /// Of the last one that was.
    success: SystemTime,
}

/// The numbers of all parts.
pub(super) fn all(
    parts: &Parts,
    server: Arc<dyn Server>,
    listeners: Counting,
    reloads: &Arc<Reloads>,
) -> Arc<Numbers> {
    let numbers = Numbers::default();
    numbers.add(Arc::new(build));
    numbers.add(Arc::new(Standing(server)));
    numbers.add(Arc::clone(&parts.responder) as _);
    numbers.add(Arc::new(listeners));
    numbers.add(Arc::clone(&parts.store) as _);
    numbers.add(Arc::new(parts.sources.shared().clone()));
    numbers.add(Arc::clone(reloads) as _);
    numbers.add(Arc::new(process));
    Arc::new(numbers)
}

impl Reloads {
    /// The config is that of the start.
    pub fn new() -> Arc<Reloads> {
        let last = Last { is_successful: true, success: SystemTime::now() };
        Arc::new(Reloads { counters: ReloadCounters::default(), last: Mutex::new(last) })
    }

    /// Counts a reload.
    pub fn note(&self, is_successful: bool) {
        let mut last = self.last.lock();
        last.is_successful = is_successful;
        if is_successful {
            last.success = SystemTime::now();
            self.counters.reloads.add(1);
        } else {
            self.counters.failed_reloads.add(1);
        }
    }
}

impl Measured for Reloads {
    fn measure(&self, families: &mut Families) {
        self.counters.counts().measure(families);
        let last = self.last.lock();
        let about = "1 if the config in force is the one that was read last";
        families.flag("config_last_reload_successful", about, last.is_successful);
        let about = "Unix time of the last start or reload that succeeded";
        families.gauge("config_last_reload_success_timestamp_seconds", about, unix_secs(last.success));
    }
}

fn build(families: &mut Families) {
    let labels = label("version", env!("CARGO_PKG_VERSION"));
    families.gauges("build_info", "1 at the version that runs", [(labels, 1.0)]);
}

/// What the kernel knows of the process; none of it where `/proc` is not there.
fn process(families: &mut Families) {
    let Ok(process) = Process::myself() else { return };
    if let Ok(stat) = process.stat() {
        let ticks = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
        families.counter_secs("process_cpu_seconds", "CPU time spent, user and system", ticks);
        families.gauge("process_virtual_memory_bytes", "Address space in use", stat.vsize as f64);
        let resident = (stat.rss * procfs::page_size()) as f64;
        families.gauge("process_resident_memory_bytes", "Memory in use", resident);
        families.gauge("process_threads", "Threads", stat.num_threads as f64);
        if let Ok(boot) = procfs::boot_time_secs() {
            let start = boot as f64 + stat.starttime as f64 / procfs::ticks_per_second() as f64;
            families.gauge("process_start_time_seconds", "Unix time of the start", start);
        }
    }
    if let Ok(open) = process.fd_count() {
        families.gauge("process_open_fds", "Open file descriptors", open as f64);
    }
    if let Ok(limits) = process.limits()
        && let LimitValue::Value(limit) = limits.max_open_files.soft_limit
    {
        families.gauge("process_max_fds", "File descriptors that may be open", limit as f64);
    }
}
