//! What systemd is told of the server (sd_notify(3)): nothing where NOTIFY_SOCKET names no socket.

use std::time::Duration;

use sd_notify::NotifyState::{self, *};
use tracing::warn;

/// What ending may take besides: the unit's own bound, counted anew.
const ENDING_PATIENCE: Duration = Duration::from_secs(15);

/// Tells where a start stands.
pub(super) fn starting(standing: &str) {
    tell(&[Status(standing)]);
}

/// Tells that all sockets serve: after the start, and after each reload, whatever came of it.
pub(super) fn ready(standing: &str) {
    tell(&[Ready, Status(standing)]);
}

/// Tells that a reload begins; `ready` ends it.
pub(super) fn reloading() {
    // By its time the manager tells this reload from the one before (systemd 253).
    let now = NotifyState::monotonic_usec_now().ok();
    let states = [Reloading, Status("Reloading")];
    tell(&states.into_iter().chain(now).collect::<Vec<_>>());
}

/// Tells that the server will end, and how long it serves on before.
pub(super) fn stopping(lame_duck: Duration) {
    if lame_duck.is_zero() {
        return tell(&[Stopping, Status("Stopping: answering what has arrived")]);
    }
    let status = format!("Stopping in {} seconds, serving until then", lame_duck.as_secs());
    let extended = (lame_duck + ENDING_PATIENCE).as_micros();
    let extended = ExtendTimeoutUsec(extended.try_into().unwrap_or(u32::MAX));
    tell(&[Stopping, Status(&status), extended]);
}

/// Puts off the restart that WATCHDOG_USEC bounds.
pub(super) fn alive() {
    tell(&[Watchdog]);
}

fn tell(states: &[NotifyState]) {
    if let Err(cause) = sd_notify::notify(states) {
        let told = states.first().map(ToString::to_string).unwrap_or_default();
        warn!("systemd cannot be told {told}: {cause}");
    }
}
