//! File descriptors: as many as the system lets us have, shared out between clients and upstreams.

use tracing::{error, warn};

use crate::{admin, forward, listen};

/// What is open besides connections and upstreams' sockets: standard streams, the runtime, watches, files being read.
const OTHERS_MAX: usize = 32;

/// Connections and questions to upstreams that a server needs to be of any use.
const FEW: usize = 32;

/// The part of all descriptors that connections of the admin API may have: an eighth, so that who opens them all takes
/// none from those who ask.
const API_PART: usize = 8;

/// Connections of the admin API, no more than file descriptors allow.
pub(super) fn api_connections(wanted: usize) -> usize {
    wanted.min(raised_limit() / API_PART).max(1)
}

/// Listening settings with no more TCP connections than file descriptors allow, so that upstreams can still be asked.
pub(super) fn fitted(settings: &listen::Settings, api: &admin::Settings) -> listen::Settings {
    let mut settings = settings.clone();
    // A socket and what watches upstreams for each thread, and TCP sockets that are open twice.
    let listeners = settings.dns.len() * (2 * settings.worker_count() + 2) + settings.tls.len() * 2;
    let of_api = if api.listen.is_empty() { 0 } else { api_connections(api.limits.connections) };
    let room = connections_room(raised_limit().saturating_sub(of_api), listeners);
    // Those that make room for others are beside them for a while.
    let room = (room - room.div_ceil(listen::LEAVING_PART + 1)).max(1);
    let (limit, needed) = (raised_limit(), OTHERS_MAX + listeners + of_api + FEW);
    if limit < needed {
        settings.tcp.connections_max = room;
        error!(
            "File descriptors are too few: {limit}, and sockets, store and files alone take up to {needed}. Connections and \
             questions to upstreams will fail: raise the limit (LimitNOFILE=, `ulimit -Hn`)"
        );
    } else if settings.tcp.connections_max > room {
        warn!(
            tcp.connections_max = room,
            "File descriptors are few: {room} TCP connections at once instead of {}; raise the limit (LimitNOFILE=, \
             `ulimit -Hn`)",
            settings.tcp.connections_max
        );
        settings.tcp.connections_max = room;
    }
    settings
}

/// Connections that leave descriptors for the rest; where they are few, clients and upstreams get half each.
fn connections_room(limit: usize, listeners: usize) -> usize {
    let shared = limit.saturating_sub(OTHERS_MAX + listeners);
    (shared - forward::DESCRIPTORS_MAX.min(shared / 2)).max(1)
}

/// Raises the soft limit to the hard one; the soft one is low for the sake of programs that use `select`.
fn raised_limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a `rlimit` that lives through the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return usize::MAX;
    }
    let soft = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above; the kernel only reads it.
    let raised =
        soft < limit.rlim_max && unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } == 0;
    let limit = if raised { limit.rlim_max } else { soft };
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_upstreams() {
        assert_eq!(connections_room(usize::MAX, 4), usize::MAX - 36 - forward::DESCRIPTORS_MAX);
        assert_eq!(connections_room(1024, 4), 1024 - 36 - 494);
        assert_eq!(connections_room(64, 4), 14);
        assert_eq!(connections_room(10, 4), 1);
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let limit = raised_limit();
        assert_eq!(raised_limit(), limit);
        let fitted = fitted(&listen::Settings::default(), &admin::Settings::default());
        assert!(fitted.tcp.connections_max + fitted.tcp.leaving_max() <= limit);
    }

    #[test]
    fn connections_of_the_api_leave_the_most_to_others() {
        assert!(api_connections(usize::MAX) <= raised_limit() / API_PART);
        assert_eq!(api_connections(1), 1);
    }
}
