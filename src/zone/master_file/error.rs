//! What can be wrong with a master file, and where.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::folder::{DEPTH_MAX, FILES_MAX, TEXT_BYTES_MAX};
use crate::dns::rdata::RdataError;
use crate::dns::record::UnknownRecordType;
use crate::dns::token::TokenError;
use crate::dns::{Name, NameError, Ttl};
use crate::telemetry::Quoted;

/// A fault and its place; nothing of the file is used.
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
    #[error("`$GENERATE` is not supported: write its records one by one")]
    Generate,
    #[error("`{0}` is not a directive: $ORIGIN, $TTL and $INCLUDE are")]
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
            None => file.to_string(),
        }
    }
}
