//! The thread that writes lines, to a file that may be exchanged or to standard output.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::super::outlet::{Inlet, Order};

/// Clients' questions are for the operator and their group.
const MODE: u32 = 0o640;

/// A file that cannot be written is tried again after this long.
const PAUSE: Duration = Duration::from_secs(5);

/// Writes lines.
pub(super) struct Writer {
    /// `None` for standard output.
    path: Option<PathBuf>,
    out: Option<Box<dyn Write + Send>>,
    /// When writing failed last, until it goes again.
    failed: Option<Instant>,
}

impl Writer {
    pub fn new(path: Option<PathBuf>) -> Writer {
        Writer { path, out: None, failed: None }
    }

    /// Writes what comes until there will be no more.
    pub fn run(mut self, mut lines: Inlet) {
        // There from the start: whoever waits for it need not ask first.
        self.open();
        while let Some(order) = lines.wait_for_next() {
            match order {
                Order::Write(piece) => match self.write(&piece.bytes) {
                    true => lines.tally.add_written(piece.items),
                    false => lines.tally.add_dropped(piece.items),
                },
                Order::Reopen => self.open(),
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> bool {
        if self.out.is_none() && self.failed.is_none_or(|failed| failed.elapsed() >= PAUSE) {
            self.open();
        }
        let Some(out) = &mut self.out else { return false };
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Ok(()) => true,
            Err(error) => {
                self.out = None;
                self.fail(&error);
                false
            }
        }
    }

    fn open(&mut self) {
        let opened = match &self.path {
            None => Ok(Box::new(io::stdout()) as Box<dyn Write + Send>),
            Some(path) => open_file(path).map(|file| Box::new(file) as Box<dyn Write + Send>),
        };
        match opened {
            Ok(out) => {
                self.out = Some(out);
                if self.failed.take().is_some() {
                    info!("The query log is written again: {}", self.shown());
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Tells of the first failure. A file that is open stays so: lines go on there until another can be opened.
    fn fail(&mut self, error: &io::Error) {
        if self.failed.replace(Instant::now()).is_none() {
            warn!("The query log cannot be written, and drops lines: {}: {error}", self.shown());
        }
    }

    fn shown(&self) -> String {
        self.path.as_ref().map_or_else(|| "standard output".to_owned(), |path| path.display().to_string())
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(MODE).open(path)
}
