//! A limit of the address space: an allocation beyond it ends the process, so that a word at the start is the only one.

use tracing::error;

use crate::config::Config;

/// What threads, allocator and store take before anything is served: 800 MiB were enough, 400 were not, on two cores.
const BASE_BYTES: u64 = 768 << 20;

/// What a further thread takes: its stack, and an arena of the allocator.
const THREAD_BYTES: u64 = 72 << 20;

/// Tells if the limit is below what the config lets the server take.
pub(super) fn check(config: &Config) {
    let Some(limit) = limit() else { return };
    let needed = needed(config);
    if limit < needed {
        error!(
            "The address space is limited to {} MiB, and this config may take {} MiB: the server ends when it has no more. \
             Lift the limit (LimitAS=, `ulimit -v`), or lower cache.size_bytes ({} MiB) and \
             admin.limits.bodies_size_bytes ({} MiB); MemoryMax= bounds what is really used",
            limit >> 20,
            needed >> 20,
            config.cache.size_bytes >> 20,
            config.admin.api.limits.bodies_bytes >> 20,
        );
    }
}

fn needed(config: &Config) -> u64 {
    let bodies = if config.admin.api.listen.is_empty() { 0 } else { config.admin.api.limits.bodies_bytes };
    let threads = config.listen.dns.len() * config.listen.worker_count();
    BASE_BYTES + THREAD_BYTES * threads as u64 + config.cache.size_bytes + bodies as u64
}

/// The soft limit; the hard one may be as low.
fn limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a `rlimit` that lives through the call.
    let is_known = unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) } == 0;
    (is_known && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_needed_grows_with_what_is_configured() {
        let needed = |text: &str| super::needed(&Config::parse(text, Path::new("c.toml")).unwrap());
        let least = needed("[cache]\nsize_bytes = 0\n[admin]\nlisten = []\n");
        assert_eq!(needed("[cache]\nsize_bytes = 1000000\n[admin]\nlisten = []\n"), least + 1_000_000);
        let api = "[cache]\nsize_bytes = 0\n[admin]\nlisten = [\"127.0.0.1:0\"]\nlimits.bodies_size_bytes = 2000000\n";
        assert_eq!(needed(api), least + 2_000_000);
    }
}
