//! From root to a user: root binds addresses and reads certificates, the user does all else.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability, CapsHashSet, securebits};
use nix::unistd::{self, AccessFlags, User, geteuid, initgroups, setresgid, setresuid};
use tracing::{info, warn};

use crate::telemetry::Quoted;

/// Why the server does not become the user that the config names.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegesError {
    #[error("user: there is no user `{}` on this machine", Quoted(.0))]
    NoSuchUser(String),
    #[error("user: the users of this machine cannot be looked up")]
    Users(#[source] io::Error),
    #[error("user: the process cannot become `{user}`")]
    Change { user: String, source: io::Error },
    #[error("user: `{user}` gets no capabilities: {why}")]
    Capabilities { user: String, why: String },
    #[error(
        "{} is not to be read and written by `{user}`: `chown -R {user}: {}` gives it to this user",
        path.display(), folder.display()
    )]
    StateFolder { path: PathBuf, folder: PathBuf, user: String },
}

/// Becomes a user for good, who can still bind low ports. To be called before there are other threads: each has
/// capabilities of its own (capabilities(7)), and those that come later have those of the one that makes them.
pub(super) fn become_user(name: &str, state_folder: &Path) -> Result<(), PrivilegesError> {
    let user = User::from_name(name).map_err(|error| PrivilegesError::Users(error.into()))?;
    let user = user.ok_or_else(|| PrivilegesError::NoSuchUser(name.to_owned()))?;
    if !geteuid().is_root() {
        if geteuid() != user.uid {
            warn!("The server was not started as root and does not become `{name}`: it stays who it is");
        }
        return Ok(());
    }
    if user.uid.is_root() {
        return Ok(());
    }
    give_if_new(state_folder, &user);
    change_to(&user)?;
    check_access(state_folder, &user)?;
    info!("The server is user `{name}` now");
    Ok(())
}

/// Gives a state folder that has nothing in it yet to the user; what lies in one that is older stays whose it is.
fn give_if_new(folder: &Path, user: &User) {
    let is_new = fs::symlink_metadata(folder).is_ok_and(|it| it.is_dir() && it.uid() == 0)
        && fs::read_dir(folder).is_ok_and(|mut inside| inside.next().is_none());
    if is_new && let Err(cause) = chown(folder, Some(user.uid.as_raw()), Some(user.gid.as_raw())) {
        warn!("{} cannot be given to `{}`: {cause}", folder.display(), user.name);
    }
}

fn change_to(user: &User) -> Result<(), PrivilegesError> {
    let failed =
        |error: nix::Error| PrivilegesError::Change { user: user.name.clone(), source: error.into() };
    let without = |error: caps::errors::CapsError| PrivilegesError::Capabilities {
        user: user.name.clone(),
        why: error.to_string(),
    };
    // A container may have been started without it; then low ports are none of its business.
    let can_bind =
        caps::has_cap(None, CapSet::Permitted, Capability::CAP_NET_BIND_SERVICE).map_err(without)?;
    let kept: CapsHashSet = can_bind.then_some(Capability::CAP_NET_BIND_SERVICE).into_iter().collect();
    securebits::set_keepcaps(true).map_err(without)?;
    let name = std::ffi::CString::new(user.name.as_str()).expect("a name of the system has no NUL");
    initgroups(&name, user.gid).map_err(failed)?;
    setresgid(user.gid, user.gid, user.gid).map_err(failed)?;
    setresuid(user.uid, user.uid, user.uid).map_err(failed)?;
    securebits::set_keepcaps(false).map_err(without)?;
    // What the process starts, such as the Azure CLI, gets none of them.
    caps::set(None, CapSet::Effective, &kept).map_err(without)?;
    caps::set(None, CapSet::Permitted, &kept).map_err(without)?;
    caps::clear(None, CapSet::Inheritable).map_err(without)
}

/// Whether the user may do with the state folder, and what lies in it, what the server does.
fn check_access(folder: &Path, user: &User) -> Result<(), PrivilegesError> {
    let (file, directory) =
        (AccessFlags::R_OK | AccessFlags::W_OK, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK);
    let denied = |path: &Path| PrivilegesError::StateFolder {
        path: path.to_owned(),
        folder: folder.to_owned(),
        user: user.name.clone(),
    };
    match unistd::access(folder, directory) {
        Ok(()) => {}
        // Nothing is to be kept, or nothing was yet.
        Err(nix::Error::ENOENT) => return Ok(()),
        Err(_) => return Err(denied(folder)),
    }
    let inside = fs::read_dir(folder).map_err(|_| denied(folder))?;
    let mut files = inside.flatten().filter(|it| it.file_type().is_ok_and(|it| it.is_file()));
    match files.find(|it| unistd::access(&it.path(), file).is_err()) {
        Some(closed) => Err(denied(&closed.path())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_that_is_not_there_is_named() {
        let error = become_user("no-such-user", Path::new("/nowhere")).unwrap_err();
        assert_eq!(error.to_string(), "user: there is no user `no-such-user` on this machine");
    }
}
