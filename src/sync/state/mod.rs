//! The folder of what must outlast a restart: what each source has published, and what operators confirmed.

mod confirmation;
mod document;
mod file;
mod line;
mod quick;
mod reader;
mod reading;
mod time;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub use confirmation::Confirmation;
pub use document::{DocumentError, document, read_document};
pub use file::{LastGood, Saved};
pub use time::unix_secs;

use reading::Unread;

/// What sources have published, in lines of JSON.
const STATE_FILE: &str = "sync-state.jsonl";
/// What operators wrote, for a start without the store.
pub const RECORDS_COPY: &str = "records-copy.jsonl";
/// Held while a file of the folder is written: `sync --once` may run beside the server.
const LOCK_FILE: &str = "sync-state.lock";
/// How names of files end that are not whole yet.
const UNFINISHED: &str = ".new";
/// A larger file is none of ours: a million record sets are about half of it.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// The folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateFolder(PathBuf);

/// Why the folder does not serve its purpose.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot read {}: {cause}", path.display())]
    Read { path: PathBuf, cause: io::Error },
    #[error("cannot write {}: {cause}", path.display())]
    Write { path: PathBuf, cause: io::Error },
    #[error("{} is damaged: {cause}", path.display())]
    Damaged { path: PathBuf, cause: file::Damage },
    #[error(
        "{} is of another version of this program and confirms nothing: look at what is held back now, and confirm that",
        path.display()
    )]
    OtherConfirmation { path: PathBuf },
    #[error("{} is larger than {FILE_BYTES_MAX} bytes", path.display())]
    TooLarge { path: PathBuf },
}

impl StateFolder {
    /// The folder at a path; nothing is touched.
    pub fn new(path: &Path) -> StateFolder {
        StateFolder(path.to_owned())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the folder if it is missing, for our eyes only.
    pub fn create(&self) -> Result<(), StateError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.map_err(|cause| StateError::Write { path: self.0.clone(), cause })
    }

    /// What each source had published when that last changed; nothing when no file is there yet.
    pub fn load(&self) -> Result<Vec<LastGood>, StateError> {
        let path = self.0.join(STATE_FILE);
        let file = match open(&path) {
            Ok(file) => file,
            Err(StateError::Read { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        reading::read(file).map_err(|unread| match unread {
            Unread::Input(cause) => StateError::Read { path, cause },
            Unread::Damage(cause) => StateError::Damaged { path, cause },
        })
    }

    /// When the file was last written, if it is there.
    pub fn saved_at(&self) -> Option<SystemTime> {
        fs::metadata(self.0.join(STATE_FILE)).and_then(|file| file.modified()).ok()
    }

    /// Whether a file can be made in the folder, as far as that can be told without making one.
    pub fn is_writable(&self) -> bool {
        // It has no name, so that nothing of it is left whatever happens. File systems that have no such files tell
        // so, and nothing else.
        let made = File::options().write(true).custom_flags(libc::O_TMPFILE).mode(0o600).open(&self.0);
        let is_refused =
            |kind| matches!(kind, io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem);
        !made.is_err_and(|cause| is_refused(cause.kind()))
    }

    /// Writes a file of another part, whole or not at all, for our eyes only; when this answers, it is durable.
    pub fn write_file(
        &self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), StateError> {
        self.replace(name, write)
    }

    /// What a file of another part holds, if it is there.
    pub fn read_file(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        match read(&self.0.join(name)) {
            Err(StateError::Read { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    /// Takes away what a process that was killed was about to write; what it had written stays.
    pub fn sweep(&self) {
        let Ok(_lock) = self.lock() else { return };
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()).filter(|path| is_unfinished(path)) {
            // It is of no use, and does no harm either.
            let _ = fs::remove_file(path);
        }
    }

    /// Replaces what is there, whole or not at all; when this answers, it is durable.
    pub fn save(&self, sources: &[Saved<'_>]) -> Result<(), StateError> {
        self.replace(STATE_FILE, |out| file::write(sources, out))
    }

    /// Keeps a file that cannot be used under another name, for people to look at; answers that name.
    pub fn set_aside(&self) -> Result<PathBuf, StateError> {
        let (path, free) = (self.0.join(STATE_FILE), free_name(&self.0.join(STATE_FILE), "corrupt"));
        let renamed = fs::rename(&path, &free).and_then(|()| self.sync());
        renamed.map_err(|cause| StateError::Write { path, cause })?;
        Ok(free)
    }

    /// Writes a file beside its place and then moves it there: who looks sees the old one or the new one.
    fn replace(
        &self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), StateError> {
        self.create()?;
        let path = self.0.join(name);
        let failed = |cause| StateError::Write { path: path.clone(), cause };
        let lock = self.lock().map_err(failed)?;
        let beside = self.write_beside(name, write).map_err(failed)?;
        fs::rename(beside, &path).and_then(|()| self.sync()).map_err(failed)?;
        drop(lock);
        Ok(())
    }

    /// The first half of [`StateFolder::replace`]: dying behind it leaves the old file as it was.
    fn write_beside(
        &self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<PathBuf> {
        let beside = self.0.join(format!("{name}{UNFINISHED}"));
        let written = self.write_new(&beside, write);
        if written.is_err() {
            // On a full disk each byte counts.
            let _ = fs::remove_file(&beside);
        }
        written.map(|()| beside)
    }

    fn write_new(
        &self,
        beside: &Path,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(beside)?;
        self.give_to_owner(&file);
        let mut out = io::BufWriter::with_capacity(1 << 16, &file);
        write(&mut out)?;
        out.flush()?;
        drop(out);
        file.sync_all()
    }

    fn lock(&self) -> io::Result<File> {
        let path = self.0.join(LOCK_FILE);
        let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        self.give_to_owner(&file);
        file.lock()?;
        Ok(file)
    }

    /// What root writes by `sync --once` must be readable to the server, whose folder it is.
    pub fn give_to_owner(&self, file: &File) {
        if let (Ok(folder), Ok(own)) = (fs::metadata(&self.0), file.metadata())
            && folder.uid() != own.uid()
        {
            // Only root can give files away, and only root needs to.
            let _ = fchown(file, Some(folder.uid()), Some(folder.gid()));
        }
    }

    /// Puts the file of another folder of the same file system in the place of this one's, which is kept under another
    /// name; answers that.
    pub fn exchange_with(&self, other: &StateFolder, kept_as: &str) -> Result<Option<PathBuf>, StateError> {
        let (path, new) = (self.0.join(STATE_FILE), other.0.join(STATE_FILE));
        let failed = |cause| StateError::Write { path: path.clone(), cause };
        let _lock = self.lock().map_err(failed)?;
        let file = File::open(&new).map_err(failed)?;
        self.give_to_owner(&file);
        file.sync_all().map_err(failed)?;
        let kept = path.exists().then(|| free_name(&path, kept_as));
        let renamed = kept.iter().try_for_each(|kept| fs::rename(&path, kept));
        renamed.and_then(|()| fs::rename(&new, &path)).and_then(|()| self.sync()).map_err(failed)?;
        Ok(kept)
    }

    /// Makes a rename or removal durable.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

fn open(path: &Path) -> Result<File, StateError> {
    let failed = |cause| StateError::Read { path: path.to_owned(), cause };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(StateError::TooLarge { path: path.to_owned() });
    }
    Ok(file)
}

fn read(path: &Path) -> Result<Vec<u8>, StateError> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes).map_err(|cause| StateError::Read { path: path.to_owned(), cause })?;
    Ok(bytes)
}

/// A name behind a file's own that no file has: `records.db.damaged-1764450000`, and `-1`, `-2` behind that.
pub fn free_name(path: &Path, kept_as: &str) -> PathBuf {
    let secs = unix_secs(SystemTime::now());
    let names = std::iter::once(String::new()).chain((1..).map(|number| format!("-{number}")));
    let name = |number: String| {
        let mut name = path.to_owned().into_os_string();
        name.push(format!(".{kept_as}-{secs}{number}"));
        PathBuf::from(name)
    };
    names.map(name).find(|name| !name.exists()).expect("the numbers do not end")
}

/// Whether a file of ours was not finished.
fn is_unfinished(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let whole = name.strip_suffix(UNFINISHED).map(Path::new);
    whole.is_some_and(|whole| {
        [STATE_FILE, RECORDS_COPY].map(Path::new).contains(&whole) || confirmation::is_confirmation(whole)
    })
}

#[cfg(test)]
mod tests;
