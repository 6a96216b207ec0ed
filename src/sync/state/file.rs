//! The file of what sources have published: a line of JSON for each name, a checksum in the last line.
//!
//! JSON, so that `grep` and `jq` answer an operator's question; a million names are read in about a second.

use std::borrow::Cow;
use std::hash::Hasher;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::SystemTime;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::super::Desired;
use super::line::{Line, PrivateZoneLine, PublishedLine, RecordSetLine, WithheldLine};
use super::time::unix_secs;
use crate::dns::NameError;

/// The form that is written and read.
pub(super) const VERSION: u32 = 1;

/// What a source has published, to be written.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    pub source: &'a str,
    /// When the inventory was read.
    pub read_at: SystemTime,
    /// Of this, publications, private DNS zones, what is withheld and what is held back are written.
    pub desired: &'a Desired,
}

/// What a source had published before the restart.
#[derive(Clone, Debug, PartialEq)]
pub struct LastGood {
    pub source: Arc<str>,
    /// When its inventory was read, to the second.
    pub read_at: SystemTime,
    /// Only publications, private DNS zones, what is withheld and what is held back.
    pub desired: Desired,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    #[error("it ends early")]
    CutShort,
    #[error("its content and its checksum differ")]
    Checksum,
    #[error("it is of version {0}, this program reads version {VERSION}")]
    Version(u32),
    #[error("line {line}: {cause}")]
    Line { line: usize, cause: serde_json::Error },
    #[error("line {line}: `{name}`: {cause}")]
    Name { line: usize, name: String, cause: NameError },
    #[error("line {line}: {data} is not valid data of a {rtype} record")]
    Data { line: usize, rtype: String, data: String },
    #[error("line {line} does not belong there")]
    Order { line: usize },
}

pub(super) fn write(sources: &[Saved<'_>], out: &mut dyn Write) -> io::Result<()> {
    let mut lines = Lines { out, line: Vec::new(), checksum: SipHasher13::new() };
    lines.put(&Line::SyncState { version: VERSION })?;
    for Saved { source, read_at, desired } in sources {
        let read_at_secs = unix_secs(*read_at);
        let held_back = desired.held_back.as_ref().map(Cow::Borrowed);
        lines.put(&Line::Source { name: (*source).into(), read_at_secs, held_back })?;
        for publication in &desired.publications {
            lines.put(&Line::Published(Box::new(PublishedLine::of(publication))))?;
        }
        for withheld in &desired.withheld {
            lines.put(&Line::Withheld(WithheldLine::of(withheld)))?;
        }
        for zone in &desired.zones {
            lines.put(&Line::PrivateZone(PrivateZoneLine::of(zone)))?;
            for record_set in &zone.record_sets {
                lines.put(&Line::RecordSet(RecordSetLine::of(record_set)))?;
            }
        }
    }
    let checksum = text_of(&lines.checksum).into();
    lines.put(&Line::End { checksum })
}

struct Lines<'o> {
    out: &'o mut dyn Write,
    line: Vec<u8>,
    checksum: SipHasher13,
}

impl Lines<'_> {
    fn put(&mut self, line: &Line<'_>) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        self.checksum.write(&self.line);
        self.out.write_all(&self.line)
    }
}

pub(super) fn text_of(checksum: &SipHasher13) -> String {
    format!("{:032x}", checksum.finish128().as_u128())
}
