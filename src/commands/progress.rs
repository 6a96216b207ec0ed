//! A line that tells how far something is, where somebody looks on.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

/// Fast enough to be seen to move, slow enough to be read.
const EVERY: Duration = Duration::from_millis(200);

/// Back to the line's start, and away with what is behind it.
const WIPE: &str = "\r\x1b[K";

/// Waits for `work`, and tells on stderr how far it is if that is a terminal.
pub(super) async fn shown<T>(name: &str, progress: &impl Display, work: impl Future<Output = T>) -> T {
    let stderr = std::io::stderr();
    match stderr.is_terminal() {
        true => shown_on(stderr, name, progress, work).await,
        false => work.await,
    }
}

async fn shown_on<T>(
    mut terminal: impl Write,
    name: &str,
    progress: &impl Display,
    work: impl Future<Output = T>,
) -> T {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut work = std::pin::pin!(work);
    // A terminal that is gone is no reason to stop.
    let mut tell = |text: &str| drop(terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush()));
    loop {
        tokio::select! {
            biased;
            done = &mut work => {
                tell(WIPE);
                return done;
            }
            _ = ticks.tick() => tell(&format!("{WIPE}{name}: {progress}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_line_is_rewritten_in_place_and_wiped_at_the_end() {
        let mut terminal = Vec::new();
        let work = async {
            tokio::time::sleep(EVERY + EVERY / 2).await;
            7
        };
        assert_eq!(shown_on(&mut terminal, "live", &"1 of 2", work).await, 7);
        let expected = format!("{WIPE}live: 1 of 2{WIPE}live: 1 of 2{WIPE}");
        assert_eq!(String::from_utf8(terminal).unwrap(), expected);
    }
}
