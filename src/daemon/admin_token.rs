//! The token of the first admin, and of one who has none left.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::info;

use super::error::AdministrationError;
use crate::ledger::Minted;
use crate::persist::{
    Audit, Commit, Entry, Persist, PersistError, Precondition, Role, Settings, Source, Stored, StoredChange,
    StoredDocument, StoredToken, Subject,
};

/// The file that the first start leaves an admin's token in.
pub const TOKEN_FILE: &str = "admin.token";

/// Tells in the store that there was a first start: of several instances only one makes the first token.
const FIRST_START: &str = "first-start";

/// Whether there is a token, or was one.
pub(super) fn is_in(stored: &Stored) -> bool {
    stored.entries.iter().any(|(entry, _)| matches!(entry, Entry::Token(_)))
}

/// Without a first token nobody could make others.
pub(super) async fn make_first(persist: &Persist, path: &Path, url: &str) -> Result<(), AdministrationError> {
    let minted = Minted::new();
    write(path, &minted.text)
        .map_err(|source| AdministrationError::TokenFile { path: path.to_owned(), source })?;
    let mark = StoredDocument { name: FIRST_START.into(), body: Arc::new([]) };
    let mut commit = commit_of(&minted, "admin", "first start", "the token of the first admin");
    commit.changes.push(StoredChange::Put(Entry::Document(mark)));
    commit.preconditions.push(Precondition::Absent(Subject::Document(FIRST_START.into())));
    match persist.commit(commit).await {
        Ok(_) => {
            info!("The token of the first admin is in {}: keep it, and take the file away", path.display());
            Ok(())
        }
        Err(cause) => {
            // What it would open is not stored.
            let _ = fs::remove_file(path);
            match cause {
                PersistError::Precondition { .. } => Ok(()),
                source => Err(AdministrationError::Store { url: url.to_owned(), source }),
            }
        }
    }
}

/// Makes an admin's token in the store itself, for operators of whom nobody has one any more; answers it.
pub async fn rescue(settings: &Settings) -> Result<String, AdministrationError> {
    let failed = |source| AdministrationError::Store { url: settings.shown(), source };
    let persist = Persist::open(settings).await.map_err(failed)?;
    let minted = Minted::new();
    let commit = commit_of(&minted, "rescue", "token rescue", "a token made in the store itself");
    let committed = persist.commit(commit).await;
    persist.close().await;
    committed.map_err(failed)?;
    Ok(minted.text)
}

fn commit_of(minted: &Minted, name: &str, actor: &str, comment: &str) -> Commit {
    let token = StoredToken {
        id: minted.id.as_str().into(),
        name: name.into(),
        hash: minted.secret_sha256.into(),
        role: Role::Admin,
        zones: Vec::new(),
        created_secs: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        expires_secs: None,
        revoked_secs: None,
    };
    let audit = Audit {
        source: Source::Rest,
        actor: actor.into(),
        remote: None,
        request_id: None,
        comment: Some(comment.into()),
    };
    Commit { changes: vec![StoredChange::Put(Entry::Token(token))], ..Commit::by(audit) }
}

/// Writes a token for the eyes of our own user only; whoever looks sees it whole.
fn write(path: &Path, token: &str) -> io::Result<()> {
    let beside = path.with_extension("token.new");
    match fs::remove_file(&beside) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written = file.write_all(format!("{token}\n").as_bytes()).and_then(|()| file.sync_all());
    let moved = written.and_then(|()| fs::rename(&beside, path));
    if moved.is_err() {
        // Half a token opens nothing.
        let _ = fs::remove_file(&beside);
    }
    moved
}
