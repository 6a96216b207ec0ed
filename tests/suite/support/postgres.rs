//! A private PostgreSQL for one test: made by `initdb`, heard only on a socket in its own folder, gone with the test.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::skip::skip_outside_ci;
use tempfile::TempDir;

/// A cluster of its own.
pub struct Cluster {
    folder: TempDir,
    bin: PathBuf,
    /// Whom the programs run as: they refuse root.
    user: Option<String>,
}

/// How sure the cluster is to keep what it was told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// As in earnest.
    Synced,
    /// Quicker; only the machine's death would lose something.
    Unsynced,
}

impl Cluster {
    /// Starts one; without PostgreSQL answers `None` and says so, in CI fails.
    pub fn start(disk: Disk) -> Option<Cluster> {
        let Some(bin) = programs() else {
            skip_outside_ci("`initdb` of PostgreSQL is not here (Debian: postgresql)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        // SAFETY: asks for a number.
        let is_root = unsafe { libc::geteuid() } == 0;
        let user = is_root.then(|| "postgres".to_owned());
        if user.is_some() {
            let out = Command::new("id").args(["-u", "postgres"]).output().unwrap();
            let id = String::from_utf8(out.stdout).unwrap();
            let id = id.trim().parse().expect("Debian's postgresql makes the user postgres");
            chown(folder.path(), Some(id), None).unwrap();
        }
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let cluster = Cluster { folder, bin, user };
        let data = cluster.data();
        let made = cluster.run(
            "initdb",
            &[
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "--username=postgres",
                "-D",
                &data,
            ],
        );
        assert!(made.status.success(), "initdb: {made:?}");
        let settings = format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nfsync = {}\nmax_connections = 60\n\
             shared_buffers = '32MB'\nrestart_after_crash = on\n",
            cluster.folder.path().display(),
            if disk == Disk::Synced { "on" } else { "off" },
        );
        let file = format!("{data}/postgresql.conf");
        let before = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, before + &settings).unwrap();
        cluster.run_again();
        Some(cluster)
    }

    /// The address of its one database.
    pub fn url(&self) -> String {
        let socket = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{socket}/postgres")
    }

    /// Starts it once more.
    pub fn run_again(&self) {
        let log = format!("{}/log", self.folder.path().display());
        let started = self.run("pg_ctl", &["start", "-w", "-t", "60", "-D", &self.data(), "-l", &log]);
        let log = || std::fs::read_to_string(&log).unwrap_or_default();
        assert!(started.status.success(), "pg_ctl start: {started:?}\n{}", log());
    }

    /// Ends it as a crash would.
    pub fn kill(&self) {
        let stopped = self.run("pg_ctl", &["stop", "-w", "-m", "immediate", "-D", &self.data()]);
        assert!(stopped.status.success(), "pg_ctl stop: {stopped:?}");
    }

    /// Kills one of its processes like `kill -9`.
    pub fn kill_backend(&self, pid: i64) {
        // SAFETY: the process is of our cluster, whose number it just told.
        assert_eq!(unsafe { libc::kill(i32::try_from(pid).unwrap(), libc::SIGKILL) }, 0);
    }

    fn data(&self) -> String {
        format!("{}/data", self.folder.path().display())
    }

    fn run(&self, program: &str, words: &[&str]) -> Output {
        let program = self.bin.join(program);
        let mut command = match &self.user {
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", user, "--regid", user, "--init-groups"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        // Its server outlives the call and would keep our output open; the environment's own settings are not meant.
        command.args(words).current_dir(self.folder.path()).env_clear().env("PATH", "/usr/bin:/bin");
        let out = std::fs::File::create(self.folder.path().join("out")).unwrap();
        let status =
            command.stdout(out.try_clone().unwrap()).stderr(out).stdin(std::process::Stdio::null()).status();
        let stderr = std::fs::read(self.folder.path().join("out")).unwrap();
        Output { status: status.unwrap(), stdout: Vec::new(), stderr }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.run("pg_ctl", &["stop", "-w", "-m", "immediate", "-D", &self.data()]);
    }
}

/// The folder of PostgreSQL's programs: Debian keeps them out of `PATH`.
fn programs() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    folders.sort();
    folders.reverse();
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    folders.into_iter().find(|folder: &PathBuf| Path::new(folder).join("initdb").is_file())
}
