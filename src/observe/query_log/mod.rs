//! The query log: a line for each query of clients, or for those that are looked for.

mod filter;
mod line;
mod settings;
mod writer;

use std::io;
use std::sync::Arc;
use std::thread;

use tokio_util::task::TaskTracker;

use self::line::Line;
use self::writer::Writer;
use super::counters::Tally;
use super::moment::Moment;
use super::outlet::{Outlet, outlet};
use super::{Kind, Seen};
use crate::dns::Gist;

pub use self::filter::Filter;
pub use self::settings::{Format, Settings};

/// Makes lines of events, and has them written.
pub(super) struct QueryLog {
    pub settings: Settings,
    lines: Outlet,
}

impl QueryLog {
    /// Begins to write, in a thread of its own, which counts among `tracker`'s until it has written all.
    pub fn new(settings: Settings, tally: Arc<dyn Tally>, tracker: &TaskTracker) -> io::Result<QueryLog> {
        let (lines, inlet) = outlet(tally);
        let (writer, token) = (Writer::new(settings.path.clone()), tracker.token());
        thread::Builder::new().name("query-log".to_owned()).spawn(move || {
            let _token = token;
            writer.run(inlet);
        })?;
        Ok(QueryLog { settings, lines })
    }

    /// Takes an event, if it is one to be logged.
    pub fn take(&mut self, seen: Seen<'_>, moment: &Moment) {
        let Kind::Client { .. } = seen.event.kind else { return };
        let gist = Gist::read(seen.reply);
        if self.settings.filter.takes(seen, gist.as_ref())
            && let Some(line) = Line::of(seen, gist.as_ref(), moment)
        {
            self.lines.push(|bytes| line.write(self.settings.format, bytes));
        }
    }

    /// Hands over what was taken.
    pub fn flush(&mut self) {
        self.lines.flush();
    }

    /// Opens the file anew.
    pub fn reopen(&self) {
        self.lines.reopen();
    }
}
