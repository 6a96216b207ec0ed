//! The real daemon in this process, on ports that the kernel chooses.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use privatelink_dns::config::Config;
use privatelink_dns::daemon::{Daemon, Ports};
use privatelink_dns::respond::{Responder, Serving};
use privatelink_dns::zone::Snapshot;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::client::PATIENCE;
use super::served::wait_until;

/// A daemon with a folder of its own for config and files.
pub struct TestDaemon {
    pub folder: TempDir,
    pub address: SocketAddr,
    /// Where it listens for DNS over TLS, if it does.
    pub tls: Option<SocketAddr>,
    /// What the admin API asks.
    pub ports: Ports,
    pub responder: Arc<Responder>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
    runtime: Runtime,
}

impl TestDaemon {
    /// Starts with a config (without `[listen]`) and files beside it. Comments of it say more: `# over TLS`, `# over TLS everywhere`
    /// on all addresses, `# ddr NAME` and `# proxy RANGE`.
    pub fn start(config: &str, files: &[(&str, &str)]) -> TestDaemon {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            write(folder.path(), name, text);
        }
        write(folder.path(), "config.toml", &with_listen(config));
        TestDaemon::start_in(folder)
    }

    /// Starts from what lies in a folder, as after a restart.
    pub fn start_in(folder: TempDir) -> TestDaemon {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let path = folder.path().join("config.toml");
        let config = Config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
        let daemon = runtime.block_on(Daemon::start(&path, config)).unwrap_or_else(|error| panic!("{error}"));
        let (address, responder) = (daemon.addresses()[0], Arc::clone(daemon.responder()));
        let tls = daemon.tls_addresses().first().copied();
        let ports = Ports::new(Arc::clone(&responder), daemon.parts().sources.shared().clone());
        let (stop, stopped) = oneshot::channel();
        let running = runtime.spawn(async move {
            let stopped = async {
                // A dropped sender stops the daemon too.
                let _ = stopped.await;
            };
            daemon.run(stopped).await;
        });
        TestDaemon { folder, address, tls, ports, responder, stop, running, runtime }
    }

    /// Writes a file whole, as editors and ConfigMaps do, and leaves it to the daemon to see that.
    pub fn write(&self, name: &str, text: &str) {
        write(self.folder.path(), name, text);
    }

    /// Writes the config.
    pub fn configure(&self, config: &str) {
        self.write("config.toml", &with_listen(config));
    }

    /// What is in use.
    pub fn serving(&self) -> Arc<Serving> {
        self.responder.serving()
    }

    /// What is served.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.responder.store().snapshot()
    }

    /// Waits until what is served is as `wanted`.
    pub fn wait_for(&self, wanted: impl Fn(&Snapshot) -> bool) {
        let mut revisions = self.responder.store().watch();
        let reached = async {
            while !wanted(&self.snapshot()) {
                revisions.changed().await.unwrap();
            }
        };
        let waited = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, reached).await });
        waited.expect("the daemon did not come to the state that was waited for");
    }

    /// Waits until what answers is as `wanted`.
    pub fn wait_for_serving(&self, wanted: impl Fn(&Serving) -> bool) {
        wait_until("the config is in force", || wanted(&self.serving()));
    }

    /// Stops it as SIGTERM does.
    pub fn stop(self) {
        self.leave();
    }

    /// Stops it, and leaves what it kept.
    pub fn leave(self) -> TempDir {
        drop(self.stop);
        self.runtime.block_on(self.running).unwrap();
        self.folder
    }
}

fn with_listen(config: &str) -> String {
    // Tests run at the same time: only those of the API have one.
    let admin = if config.contains("[admin]") { "" } else { "[admin]\nlisten = []\n" };
    let everywhere = config.contains("# over TLS everywhere");
    let ip = if everywhere { "0.0.0.0" } else { "127.0.0.1" };
    let mut tls = String::new();
    if config.contains("# over TLS") {
        tls = format!("tls = [\"{ip}:0\"]\ncertificate = \"tls.crt\"\nkey = \"tls.key\"\n");
    }
    if let Some((_, proxy)) = config.split_once("# proxy ") {
        tls += &format!("proxy_from = [\"{}\"]\n", proxy.lines().next().unwrap());
    }
    if let Some((_, name)) = config.split_once("# ddr ") {
        tls += &format!("ddr_name = \"{}\"\n", name.lines().next().unwrap());
    }
    format!("state_dir = \"state\"\n{config}\n[listen]\ndns = [\"{ip}:0\"]\nworkers = 2\n{tls}{admin}")
}

/// Writes a file whole, as editors and ConfigMaps do.
pub fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, path).unwrap();
}
