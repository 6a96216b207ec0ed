//! An operator's yes to a pass that was held back, left for the running server to find.

use std::borrow::Cow;
use std::hash::Hasher;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use super::super::held_back::Fingerprint;
use super::{StateError, StateFolder, read};

/// How names of files that hold confirmations begin.
const PREFIX: &str = "sync-confirmed-";

/// What is written into them: of version 1, which did not say so, a plan was all that a pass changes.
const VERSION: u32 = 2;

/// A yes to one plan, and to no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    pub source: String,
    pub plan: Fingerprint,
}

/// The file's content.
#[derive(Serialize, Deserialize)]
struct Content<'a> {
    #[serde(default)]
    version: u32,
    source: Cow<'a, str>,
    plan: Fingerprint,
}

impl StateFolder {
    /// Leaves a confirmation for the server.
    pub fn confirm(&self, confirmation: &Confirmation) -> Result<(), StateError> {
        let name = file_name(&confirmation.source);
        self.replace(&name, |out| {
            let Confirmation { source, plan } = confirmation;
            let content = Content { version: VERSION, source: source.into(), plan: *plan };
            serde_json::to_writer(&mut *out, &content)?;
            out.write_all(b"\n")
        })
    }

    /// What was confirmed for a source; what cannot be read, or is of another version, confirms nothing.
    pub fn confirmed(&self, source: &str) -> Result<Option<Fingerprint>, StateError> {
        let path = self.confirmation_file(source);
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(StateError::Read { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let told: Content<'_> = match serde_json::from_slice(&bytes) {
            Ok(told) => told,
            Err(cause) => return Err(StateError::Read { path, cause: cause.into() }),
        };
        if told.version != VERSION {
            return Err(StateError::OtherConfirmation { path });
        }
        Ok((told.source == source).then_some(told.plan))
    }

    /// Takes a confirmation away, which is to come before what it permits: so it permits that once.
    pub fn forget_confirmation(&self, source: &str) -> Result<(), StateError> {
        let path = self.confirmation_file(source);
        match std::fs::remove_file(&path).and_then(|()| self.sync()) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(StateError::Write { path, cause }),
            _ => Ok(()),
        }
    }

    /// Where a confirmation for a source lies, if there is one.
    pub fn confirmation_file(&self, source: &str) -> PathBuf {
        self.0.join(file_name(source))
    }

    /// The files that wait to be seen.
    pub fn confirmation_files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        paths.filter(|path| is_confirmation(path)).collect()
    }
}

/// Whether a path is that of a confirmation.
pub(super) fn is_confirmation(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(PREFIX) && name.ends_with(".json")
}

/// A source's name may hold anything, a file's name may not.
fn file_name(source: &str) -> String {
    let mut hasher = SipHasher13::new();
    hasher.write(source.as_bytes());
    format!("{PREFIX}{:016x}.json", hasher.finish())
}
