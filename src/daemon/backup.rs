//! A backup: one file with all of `state_dir` that nobody could tell the server again.
//!
//! It is a gzipped tar, which every system can look into: `tar xzf` gives a database that `sqlite3` opens and lines of
//! JSON for `jq`. A manifest comes first, with a checksum of each file.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use crate::config::Config;
use crate::persist::{self, CopyContent, PersistError};
use crate::sync::state::{free_name, unix_secs};
use crate::sync::{LastGood, StateError, StateFolder};
use crate::telemetry::in_full;

/// The form that is written and read.
const VERSION: u32 = 1;
/// The first member.
const MANIFEST: &str = "manifest.json";
/// The store, one file of SQLite: zones, records, serials, tokens' hashes, forwarders, the audit.
const RECORDS: &str = "records.db";
/// What sources have published, as it is in `state_dir`.
const SYNC_STATE: &str = "sync-state.jsonl";
/// A larger manifest is none of ours.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;
/// Where a backup is unpacked, in `state_dir`: from there its files are renamed to their places.
const UNPACKED: &str = "restore.new";
/// One that is made for a client lies there until it is open.
const FOR_CLIENT: &str = "backup.tar.gz";
/// What is at their places before goes by this name.
const KEPT_AS: &str = "before-restore";

/// The first member: what the others are.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    privatelink_dns_backup: u32,
    program: String,
    made_at_secs: u64,
    files: Vec<Member>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Member {
    name: String,
    size_bytes: u64,
    sha256: String,
}

/// What was put back.
#[derive(Debug)]
pub struct Restored {
    pub records: Option<CopyContent>,
    /// Sources, and names that they publish.
    pub sources: Option<Vec<(String, usize)>>,
    /// What was there before, under other names.
    pub kept: Vec<PathBuf>,
}

/// Why there is no backup, or nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(
        "the store is {0}: `pg_dump --format=custom --file=FILE {0}` makes a backup of it, and pg_restore restores it"
    )]
    Postgres(String),
    #[error("there is nothing to back up in {}", .0.display())]
    Nothing(PathBuf),
    #[error("a server runs over {}: stop it first", .0.display())]
    Running(PathBuf),
    #[error("{} is no backup: {why}", path.display())]
    NoBackup { path: PathBuf, why: String },
    #[error("{} holds a store that cannot be restored", path.display())]
    Records { path: PathBuf, source: PersistError },
    #[error("{} holds a {SYNC_STATE} that cannot be restored", path.display())]
    SyncState { path: PathBuf, source: StateError },
    #[error("the store cannot be copied")]
    Copy(#[source] PersistError),
    #[error("the store cannot be exchanged")]
    Exchange(#[source] PersistError),
    #[error("the last good state cannot be exchanged")]
    ExchangeState(#[source] StateError),
    #[error("{}: {cause}", path.display())]
    File { path: PathBuf, cause: io::Error },
}

impl BackupError {
    fn file(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
        let path = path.to_owned();
        move |cause| BackupError::File { path, cause }
    }

    /// Whether it is for want of rights, so that another way may do.
    pub fn is_refused(&self) -> bool {
        let is_denied = |cause: &io::Error| cause.kind() == io::ErrorKind::PermissionDenied;
        match self {
            BackupError::File { cause, .. } => is_denied(cause),
            BackupError::Copy(PersistError::File { cause, .. }) => is_denied(cause),
            _ => false,
        }
    }
}

/// A file or folder on the way, which goes when this is dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is gone already has been renamed to its place.
        let _ = match self.0.is_dir() {
            true => fs::remove_dir_all(&self.0),
            false => fs::remove_file(&self.0),
        };
    }
}

/// Makes a backup for a client of the API, one at a time: each takes as much room in `state_dir` as the store.
pub(super) async fn for_client(config: Config, turn: Arc<Mutex<()>>) -> Result<File, String> {
    let _turn = turn.lock().await;
    let path = Scratch(config.state_dir.join(FOR_CLIENT));
    write(&config, &path.0).await.map_err(|error| in_full(&error))?;
    // It has no name any more when this is left, and goes when it is sent.
    File::open(&path.0).map_err(|cause| cause.to_string())
}

/// Writes a backup, for our eyes only; a file that is there is exchanged when the new one is whole. Another process may
/// be a server that runs, this one must not: it would let go of SQLite's locks.
pub async fn back_up(config: &Config, to: &Path) -> Result<(), BackupError> {
    if let Some(records) = config.admin.store.file() {
        match File::options().read(true).write(true).open(&records) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                return Err(BackupError::File { path: records, cause });
            }
            _ => {}
        }
    }
    write(config, to).await
}

async fn write(config: &Config, to: &Path) -> Result<(), BackupError> {
    let store = &config.admin.store;
    let Some(records) = store.file() else { return Err(BackupError::Postgres(store.shown())) };
    let beside = |suffix: &str| {
        let mut path = to.to_owned().into_os_string();
        path.push(suffix);
        Scratch(path.into())
    };
    let (copy, unfinished) = (beside(".records"), beside(".new"));
    let mut members = Vec::new();
    // Not opened: see above.
    match fs::metadata(&records) {
        Ok(_) => {
            store.copy(&copy.0).await.map_err(BackupError::Copy)?;
            members.push((RECORDS, open(&copy.0)?));
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
        Err(cause) => return Err(BackupError::File { path: records, cause }),
    }
    let state = config.state_dir.join(SYNC_STATE);
    match open(&state) {
        Ok(file) => members.push((SYNC_STATE, file)),
        Err(BackupError::File { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if members.is_empty() {
        return Err(BackupError::Nothing(config.state_dir.clone()));
    }
    let failed = |cause| BackupError::File { path: to.to_owned(), cause };
    let packed = unfinished.0.clone();
    let packed = spawn_blocking(move || pack(members, &packed)).await;
    packed.unwrap_or_else(|error| Err(error.into())).map_err(failed)?;
    fs::rename(&unfinished.0, to).map_err(failed)?;
    sync_folder_of(to).map_err(failed)
}

fn open(path: &Path) -> Result<File, BackupError> {
    File::open(path).map_err(BackupError::file(path))
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn pack(mut members: Vec<(&'static str, File)>, to: &Path) -> io::Result<()> {
    let now = unix_secs(SystemTime::now());
    let mut files = Vec::new();
    for (name, file) in &mut members {
        let (size_bytes, sha256) = checksum(file)?;
        file.rewind()?;
        files.push(Member { name: (*name).to_owned(), size_bytes, sha256 });
    }
    let program = env!("CARGO_PKG_VERSION").to_owned();
    let manifest = Manifest { privatelink_dns_backup: VERSION, program, made_at_secs: now, files };
    let mut text = serde_json::to_vec_pretty(&manifest)?;
    text.push(b'\n');
    let out = File::options().write(true).create(true).truncate(true).mode(0o600).open(to)?;
    let mut tar = tar::Builder::new(GzEncoder::new(io::BufWriter::new(&out), Compression::fast()));
    append(&mut tar, MANIFEST, text.len() as u64, now, &text[..])?;
    for ((name, file), member) in members.into_iter().zip(&manifest.files) {
        // As long as it was when its checksum was taken.
        append(&mut tar, name, member.size_bytes, now, file.take(member.size_bytes))?;
    }
    tar.into_inner()?.finish()?.flush()?;
    out.sync_all()
}

fn append(
    tar: &mut tar::Builder<impl Write>,
    name: &str,
    size_bytes: u64,
    now: u64,
    content: impl Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size_bytes);
    header.set_mode(0o600);
    header.set_mtime(now);
    tar.append_data(&mut header, name, content)
}

/// Bytes and SHA-256 of what is left to read.
fn checksum(file: &mut impl Read) -> io::Result<(u64, String)> {
    let (mut context, mut buffer, mut size) = (Context::new(&SHA256), vec![0; 1 << 16], 0);
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((size, HEXLOWER.encode(context.finish().as_ref())));
        }
        context.update(&buffer[..count]);
        size += count as u64;
    }
}

/// Puts a backup in the place of what is in `state_dir`, which is kept under other names. Besides backups it takes what
/// people copied by hand: a `records.db`, with the log beside it if there is one, a `sync-state.jsonl`, or a folder of
/// both. Refused while a server has the store, and when any part is damaged or of a newer program: then nothing changes.
pub async fn restore(config: &Config, from: &Path) -> Result<Restored, BackupError> {
    let store = &config.admin.store;
    if store.file().is_none() {
        return Err(BackupError::Postgres(store.shown()));
    }
    let folder = StateFolder::new(&config.state_dir);
    folder.create().map_err(BackupError::ExchangeState)?;
    let idle = match store.idle() {
        Ok(idle) => idle,
        Err(PersistError::InUse { path }) => return Err(BackupError::Running(path)),
        Err(error) => return Err(BackupError::Exchange(error)),
    };
    let unpacked = config.state_dir.join(UNPACKED);
    // One that died may have left its own.
    drop(Scratch(unpacked.clone()));
    let unpacked = StateFolder::new(&unpacked);
    unpacked.create().map_err(BackupError::ExchangeState)?;
    let _scratch = Scratch(unpacked.path().to_owned());
    unpack(from, unpacked.path())?;

    let records = unpacked.path().join(RECORDS);
    let no_backup = |source| BackupError::Records { path: from.to_owned(), source };
    let held = match records.exists() {
        true => Some(persist::examine(&records).await.map_err(no_backup)?),
        false => None,
    };
    let no_backup = |source| BackupError::SyncState { path: from.to_owned(), source };
    let has_state = unpacked.path().join(SYNC_STATE).exists();
    let sources = unpacked.load().map_err(no_backup)?;
    if held.is_none() && !has_state {
        let why = "it holds neither a store nor a last good state".to_owned();
        return Err(BackupError::NoBackup { path: from.to_owned(), why });
    }

    let mut kept = Vec::new();
    if held.is_some() {
        folder.give_to_owner(&open(&records)?);
        let old = free_name(idle.path(), KEPT_AS);
        let is_kept = idle.exchange(&records, &old).await.map_err(BackupError::Exchange)?;
        kept.extend(is_kept.then_some(old));
    }
    if has_state {
        kept.extend(folder.exchange_with(&unpacked, KEPT_AS).map_err(BackupError::ExchangeState)?);
    }
    let names = |source: &LastGood| (source.source.to_string(), source.desired.names());
    Ok(Restored { records: held, sources: has_state.then(|| sources.iter().map(names).collect()), kept })
}

/// Lays the parts of a backup into a folder, by the names that they have in `state_dir`.
fn unpack(from: &Path, folder: &Path) -> Result<(), BackupError> {
    let failed = BackupError::file(from);
    if from.is_dir() {
        for name in [RECORDS, "records.db-wal", SYNC_STATE] {
            copy_if_there(&from.join(name), &folder.join(name))?;
        }
        return Ok(());
    }
    let mut file = open(from)?;
    let mut magic = [0; 16];
    let count = read_up_to(&mut file, &mut magic).and_then(|count| file.rewind().map(|()| count));
    match &magic[..count.map_err(failed)?] {
        b"SQLite format 3\0" => {
            copy_if_there(from, &folder.join(RECORDS))?;
            let mut log = from.to_owned().into_os_string();
            log.push("-wal");
            copy_if_there(Path::new(&log), &folder.join("records.db-wal"))
        }
        [0x1f, 0x8b, ..] => {
            unpack_tar(file, folder).map_err(|why| BackupError::NoBackup { path: from.to_owned(), why })
        }
        text if text.starts_with(b"{\"sync_state\"") => copy_if_there(from, &folder.join(SYNC_STATE)),
        _ => {
            let why = format!("it is no gzipped tar, no {RECORDS} and no {SYNC_STATE}");
            Err(BackupError::NoBackup { path: from.to_owned(), why })
        }
    }
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match file.read(&mut buffer[count..])? {
            0 => break,
            more => count += more,
        }
    }
    Ok(count)
}

fn copy_if_there(from: &Path, to: &Path) -> Result<(), BackupError> {
    let mut file = match open(from) {
        Ok(file) => file,
        Err(BackupError::File { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let failed = BackupError::file(to);
    make(to).and_then(|mut out| io::copy(&mut file, &mut out)).map(drop).map_err(failed)
}

fn make(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

fn unpack_tar(file: File, folder: &Path) -> Result<(), String> {
    let text = |cause: io::Error| cause.to_string();
    let mut tar = tar::Archive::new(GzDecoder::new(io::BufReader::new(file)));
    let mut manifest: Option<Manifest> = None;
    let mut found = Vec::new();
    for entry in tar.entries().map_err(text)? {
        let mut entry = entry.map_err(text)?;
        let name = entry.path().map_err(text)?.to_string_lossy().into_owned();
        let Some(manifest) = &manifest else {
            if name != MANIFEST {
                return Err(format!("it begins with {name} and not with {MANIFEST}"));
            }
            manifest = Some(read_manifest(&mut entry)?);
            continue;
        };
        let Some(member) = manifest.files.iter().find(|member| member.name == name) else {
            return Err(format!("{name} is not in its {MANIFEST}"));
        };
        // Of names only ours: one with `..` in it would lie elsewhere.
        if ![RECORDS, SYNC_STATE].contains(&&*name) {
            return Err(format!("{name} is no part of a backup"));
        }
        let path = folder.join(&name);
        let written = make(&path).and_then(|mut out| io::copy(&mut entry, &mut out));
        written.map_err(|cause| format!("{name}: {cause}"))?;
        let (size_bytes, sha256) =
            File::open(&path).and_then(|mut file| checksum(&mut file)).map_err(text)?;
        if (size_bytes, &sha256) != (member.size_bytes, &member.sha256) {
            return Err(format!("{name} and its checksum differ"));
        }
        found.push(name);
    }
    // The checksum of all of it comes last.
    io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(text)?;
    let Some(manifest) = manifest else { return Err("it is empty".to_owned()) };
    match manifest.files.iter().find(|member| !found.contains(&member.name)) {
        Some(missing) => Err(format!("{} is missing in it", missing.name)),
        None => Ok(()),
    }
}

fn read_manifest(entry: &mut impl Read) -> Result<Manifest, String> {
    #[derive(Deserialize)]
    struct Head {
        privatelink_dns_backup: u32,
    }
    let mut text = Vec::new();
    entry.take(MANIFEST_BYTES_MAX).read_to_end(&mut text).map_err(|cause| cause.to_string())?;
    let no_manifest = |cause: serde_json::Error| format!("its {MANIFEST} is none of ours: {cause}");
    let Head { privatelink_dns_backup: version } = serde_json::from_slice(&text).map_err(no_manifest)?;
    if version > VERSION {
        return Err(format!(
            "it is of version {version}, this program reads version {VERSION}: use the newer one"
        ));
    }
    serde_json::from_slice(&text).map_err(no_manifest)
}
