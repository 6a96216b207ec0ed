//! Memory that a large pass or large zone files needed for a while goes back to the system.

/// As many names make so much garbage in a pass, some tens of megabytes, that giving it back is worth the milliseconds.
const NAMES_MANY: usize = 10_000;

/// Gives memory back after work on so many names.
// Passes run on whichever thread is free, and glibc keeps for each of them what it once had: without this a server of
// 64,000 endpoints grew by 25 MB with each pass that planned (`cargo bench --bench sync`).
pub(crate) fn give_back(names: usize) {
    if names < NAMES_MANY {
        return;
    }
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, and locks what it works on.
    unsafe {
        libc::malloc_trim(0);
    }
}
