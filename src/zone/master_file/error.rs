//! What can be wrong with a master file, and where.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::error::ZoneError;
use super::generate;
use crate::dns::rdata::RdataError;
use crate::dns::record::UnknownRecordType;
use crate::dns::token::TokenError;
use crate::dns::{Name, NameError, Ttl};
use crate::telemetry::Quoted;

/// Errors listed of one file: so many have few causes, and each is a line to read.
pub(super) const ERRORS_MAX: usize = 100;
/// Warnings listed of one zone's files.
pub(super) const WARNINGS_MAX: usize = 100;
/// Files that may be open inside each other: people need two, a chain of symlinks or of copies makes more.
pub(super) const DEPTH_MAX: usize = 8;
/// Files of a zone, each as often as it is included: eight files that include each other forty times make billions.
pub(super) const FILES_MAX: usize = 10_000;
/// Text of all files of a zone together: some ten million records, which also fill 1 GiB when served.
pub(super) const TEXT_BYTES_MAX: u64 = 1 << 30;

/// All that is wrong with a master file and those that it includes, in the order they are read; nothing of them is used.
#[derive(Debug)]
pub struct MasterFileErrors {
    /// Not empty.
    pub errors: Vec<MasterFileError>,
    /// Whether reading stopped because there were too many.
    pub is_cut: bool,
}

impl MasterFileErrors {
    /// How many are listed at most.
    pub const COUNT_MAX: usize = ERRORS_MAX;
}

impl fmt::Display for MasterFileErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(out, "{separator}{error}")?;
        }
        match self.is_cut {
            true => write!(out, "\nreading stopped at {ERRORS_MAX} errors"),
            false => Ok(()),
        }
    }
}

impl std::error::Error for MasterFileErrors {}

impl From<MasterFileError> for MasterFileErrors {
    fn from(error: MasterFileError) -> MasterFileErrors {
        MasterFileErrors { errors: vec![error], is_cut: false }
    }
}

/// What was read in another way than it is written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterFileWarning {
    pub file: Arc<Path>,
    pub line: usize,
    pub what: String,
}

impl fmt::Display for MasterFileWarning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

/// A fault and its place.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", self.place(), Quoted(&fault.to_string()))]
pub struct MasterFileError {
    pub file: PathBuf,
    /// From 1; `None` when the file as a whole is at fault.
    pub line: Option<usize>,
    pub fault: Fault,
}

/// What is wrong, with the word at fault.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("{0}")]
    Token(TokenError),
    #[error("`{0}` is not a name: {1}")]
    Name(String, NameError),
    #[error("`{0}` lies outside the zone `{1}`")]
    OutOfZone(Name, Name),
    #[error("the line begins with a space, which stands for the owner above it, but there is none")]
    NoOwner,
    #[error("`{0}` is not a TTL: a number of seconds up to {max}, or units as in `1h30m`", max = Ttl::MAX)]
    Ttl(String),
    #[error("the record has no TTL, and neither `$TTL` nor a record above it says one")]
    NoTtl,
    #[error("class `{0}` is not served, only IN")]
    Class(String),
    #[error("{0}")]
    Type(UnknownRecordType),
    #[error("{0}")]
    Data(RdataError),
    #[error("`{0}` is followed by nothing where {1} must stand")]
    Missing(String, &'static str),
    #[error("`{1}` stands behind the end of `{0}`")]
    Extra(String, String),
    #[error(
        "`{0}` is not a range of `$GENERATE`: start-stop or start-stop/step, of numbers from 0 to 2147483647"
    )]
    GenerateRange(String),
    #[error(
        "`{0}` has a modifier that is none: ${{offset,width,base}} with a base of d, o, x, X, n or N and a width of at \
         most 255"
    )]
    GenerateModifier(String),
    #[error(
        "`$GENERATE` makes more than {} records, or more than {} bytes of them, in this zone",
        generate::RECORDS_MAX,
        generate::TEXT_BYTES_MAX
    )]
    GenerateTooMany,
    #[error("{0}")]
    Zone(ZoneError),
    #[error("`{0}` is not a directive: $ORIGIN, $TTL, $INCLUDE and $GENERATE are")]
    Directive(String),
    #[error("`$INCLUDE` needs a file: this text stands alone")]
    IncludeInText,
    #[error("cannot read `{}`: {}", .0.display(), .1)]
    Unreadable(PathBuf, io::Error),
    #[error("`{}` is not a file", .0.display())]
    NotAFile(PathBuf),
    #[error("`{}` lies outside the folder `{}`, in which included files must be", .0.display(), .1.display())]
    OutsideFolder(PathBuf, PathBuf),
    #[error("`{}` includes itself", .0.display())]
    Loop(PathBuf),
    #[error("`{}` is included more than {DEPTH_MAX} files deep", .0.display())]
    TooDeep(PathBuf),
    #[error("`{}` makes more than {FILES_MAX} files, those that are included again counted again", .0.display())]
    TooMany(PathBuf),
    #[error("`{}` makes the zone's files larger than {TEXT_BYTES_MAX} bytes together", .0.display())]
    TooLarge(PathBuf),
    #[error("the line has bytes that are not UTF-8; write them as \\DDD, names in their xn-- form")]
    NotUtf8,
}

impl MasterFileError {
    fn place(&self) -> impl fmt::Display {
        let file = self.file.display();
        match self.line {
            Some(line) => format!("{file}:{line}"),
            None if matches!(self.fault, Fault::Zone(_)) => format!("zone file {file}"),
            None => file.to_string(),
        }
    }
}
