//! The files of one zone: opened within a folder, within bounds, never in a circle.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::{DEPTH_MAX, FILES_MAX, Fault, TEXT_BYTES_MAX};

/// Opens files and knows which are open.
pub(super) struct Folder {
    /// Canonical: no symlink leads out of it unseen.
    root: PathBuf,
    /// The canonical paths of the files being read, each included by the one before it.
    open: Vec<PathBuf>,
    files_left: usize,
    bytes_left: u64,
}

impl Folder {
    pub(super) fn new(root: &Path) -> Result<Folder, Fault> {
        let root = canonical(root)?;
        Ok(Folder { root, open: Vec::new(), files_left: FILES_MAX, bytes_left: TEXT_BYTES_MAX })
    }

    /// Reads the zone's own file, which the operator named and which may lie anywhere.
    pub(super) fn open_first(&mut self, path: &Path) -> Result<Vec<u8>, Fault> {
        let file = canonical(path)?;
        self.read(path, file)
    }

    /// Reads a file that another one names.
    pub(super) fn open(&mut self, path: &Path) -> Result<Vec<u8>, Fault> {
        let file = canonical(path)?;
        if !file.starts_with(&self.root) {
            return Err(Fault::OutsideFolder(path.to_owned(), self.root.clone()));
        }
        if self.open.contains(&file) {
            return Err(Fault::Loop(path.to_owned()));
        }
        // The zone's own file is open, too, but included by none.
        if self.open.len() > DEPTH_MAX {
            return Err(Fault::TooDeep(path.to_owned()));
        }
        self.files_left = self.files_left.checked_sub(1).ok_or_else(|| Fault::TooMany(path.to_owned()))?;
        self.read(path, file)
    }

    /// The file opened last has been read.
    pub(super) fn close(&mut self) {
        self.open.pop();
    }

    fn read(&mut self, path: &Path, file: PathBuf) -> Result<Vec<u8>, Fault> {
        let unreadable = |error| Fault::Unreadable(path.to_owned(), error);
        // Opening a pipe would wait for someone to write into it.
        let metadata = fs::metadata(&file).map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(Fault::NotAFile(path.to_owned()));
        }
        if metadata.len() > self.bytes_left {
            return Err(Fault::TooLarge(path.to_owned()));
        }
        let mut bytes = Vec::with_capacity(metadata.len() as usize + 1);
        // The file may grow between the look at it and now.
        let mut opened = File::open(&file).map_err(unreadable)?.take(self.bytes_left + 1);
        opened.read_to_end(&mut bytes).map_err(unreadable)?;
        self.bytes_left = self
            .bytes_left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| Fault::TooLarge(path.to_owned()))?;
        self.open.push(file);
        Ok(bytes)
    }
}

fn canonical(path: &Path) -> Result<PathBuf, Fault> {
    fs::canonicalize(path).map_err(|error| Fault::Unreadable(path.to_owned(), error))
}
