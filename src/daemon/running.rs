//! The running server: bound, serving, reloaded, drained.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use super::administration::{self, Administration};
use super::error::StartError;
use super::files::{Seen, Stamp, folders, make_state_folder, stamp};
use super::numbers::{self, Reloads};
use super::parts::{LoadError, Parts};
use super::ports::Ports;
use super::settled::Settled;
use super::signals::{Ending, Signals};
use super::sockets::Sockets;
use super::watch::{Watch, Watched};
use super::watchdog::{Served, Watchdog};
use super::{backup, descriptors, notify, observing, told};
use crate::admin::{NotReady, RunningProbes, Server};
use crate::config::{Config, ConfigErrors};
use crate::ledger::Trail;
use crate::listen::{BindError, Drained, Listening};
use crate::observe::Observers;
use crate::respond::{Designation, Responder};
use crate::sources::{StateAccess, WANTED_PAUSE};
use crate::telemetry::{Numbers, in_full};
use crate::zone::{Unwitnessed, Witness};

/// How long requests in flight may take to end when listeners close: longer than a question may take upstream.
const DRAIN_PATIENCE: Duration = Duration::from_secs(3);

/// Looks in a row: files that change with each of them are left to the next round, so that SIGTERM is heard.
const LOOKS_MAX: usize = 4;

/// A server that answers.
pub struct Daemon {
    path: PathBuf,
    config: Config,
    parts: Parts,
    listening: Listening,
    /// Where a service manager wants to hear that queries are answered.
    watchdog: Option<Watchdog>,
    /// Listeners that a reload replaced and that still answer what they had read.
    leaving: JoinSet<Drained>,
    administration: Option<Administration>,
    /// Answers who looks after the server without a token.
    monitors: Option<RunningProbes>,
    numbers: Arc<Numbers>,
    reloads: Arc<Reloads>,
    /// Who is told of queries.
    observers: Arc<Observers>,
    watch: Watch,
    watched: BTreeMap<PathBuf, Watched>,
    signals: Signals,
    ending: Ending,
    settled: Settled,
    /// What the files looked like when they were last read.
    seen: Seen,
    /// What those looked like that are in force.
    in_force: BTreeSet<Stamp>,
}

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    // An editor that writes in place empties a file first; as a config that would withdraw everything.
    #[error("{} is empty", .0.display())]
    Empty(PathBuf),
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// What a look at the files came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reload {
    /// Nothing had changed.
    Unchanged,
    /// Inventories had changed and are read.
    Synced,
    /// Everything is read anew and in force.
    Done,
}

/// Where the watchdog asks.
fn served(config: &Config, listening: &Listening) -> Served {
    Served { addresses: listening.addresses().to_vec(), proxies: config.listen.proxy_from.clone() }
}

/// What clients are told of encrypted transports.
fn designation(config: &Config, listening: &Listening) -> Option<Designation> {
    let (name, server) = (config.ddr_name()?.clone(), listening.tls_server()?.clone());
    Some(Designation { name, tls: listening.tls_addresses().to_vec(), server })
}

impl Daemon {
    /// Binds, loads and serves.
    pub async fn start(path: &Path, config: Config) -> Result<Daemon, StartError> {
        let sockets = Sockets::bind(&config)?;
        Daemon::start_on(sockets, path, config).await
    }

    /// Loads, and serves on sockets that are bound.
    pub async fn start_on(sockets: Sockets, path: &Path, config: Config) -> Result<Daemon, StartError> {
        notify::starting("Reading zones and sources");
        let Sockets { dns, api, monitors } = sockets;
        let (signals, ending) = (Signals::new().map_err(StartError::Signal)?, Ending::default());
        ending.set_lame_duck(config.lame_duck);
        let settled = Settled::of(&config);
        make_state_folder(&config);
        let opened = administration::open(&config.admin, &config.state_dir).await?;
        let written = opened.as_ref().map(|opened| opened.written()).unwrap_or_default();
        let watched = folders(path, &config, &[]);
        let watch = Watch::new(&watched, config.query_log());
        let mut seen = Seen::now(path, &config);
        let trail = opened.as_ref().map(|opened| opened.trail().clone());
        let witness = trail.clone().map(|trail| Box::new(trail) as Box<dyn Witness>);
        let witness = witness.unwrap_or_else(|| Box::new(Unwitnessed));
        let mut parts = Parts::restore_under(&config, StateAccess::Keep, written, witness)?;
        // What was served before the restart is no change.
        trail.iter().for_each(Trail::open);
        parts.sources.publish_all(&parts.store).map_err(LoadError::from)?;
        seen.include(&parts);
        seen.forget_followed(&config);
        // What operators wrote is there with the first answer.
        let mut administration = opened.map(|opened| Administration::begin(opened, &config, &parts));
        let observers = observing::observe(&parts, &config);
        let listening = dns.run(Arc::clone(&parts.responder), &Handle::current())?;
        parts.responder.designate(designation(&config, &listening));
        parts.sources.start(&parts.store);
        let counting = listening.counting();
        let ports = Ports::new(Arc::clone(&parts.responder), parts.sources.shared().clone());
        let (announced, store) = (ending.clone(), administration.as_ref().map(Administration::health));
        let ports = ports.with_limits(counting.clone()).with_observers(Arc::clone(&observers));
        let ports = ports.with_health(move |readiness| {
            if announced.is_announced() {
                let waits_for = "its end: it was told to stop".into();
                readiness.not_ready.push(NotReady { part: "server".into(), waits_for });
            }
            readiness.degraded.extend(store.as_ref().and_then(|store| store()));
        });
        let (of_config, turn) = (config.clone(), Arc::default());
        let ports =
            ports.with_backups(move || Box::pin(backup::for_client(of_config.clone(), Arc::clone(&turn))));
        let (server, reloads): (Arc<dyn Server>, _) = (Arc::new(ports), Reloads::new());
        let numbers = numbers::all(&parts, Arc::clone(&server), counting, &reloads);
        numbers.add(Arc::clone(&observers) as _);
        numbers.show_zone_names(config.monitors.zone_names);
        let monitors = match monitors {
            Some(bound) => Some(bound.serve(Arc::clone(&server), Arc::clone(&numbers))?),
            None => None,
        };
        if let (Some(administration), Some(api)) = (&mut administration, api) {
            administration.serve(api, server, Arc::clone(&numbers), &config)?;
        }
        told::nobody_may_ask(&config);
        // Nobody who asks need wait for that; dying before it leaves what the last one kept.
        parts.sources.tell(&parts.store);
        parts.sources.keep();
        parts.give_back();
        let in_force = seen.config.clone();
        let mut daemon = Daemon {
            path: path.to_owned(),
            config,
            parts,
            listening,
            watchdog: None,
            leaving: JoinSet::new(),
            administration,
            monitors,
            numbers,
            reloads,
            observers,
            watch,
            watched,
            signals,
            ending,
            settled,
            seen,
            in_force,
        };
        // Folders of what zone files include are known by now.
        daemon.watch_what_is_there();
        notify::ready(&daemon.standing());
        daemon.watchdog = Watchdog::begin(served(&daemon.config, &daemon.listening));
        Ok(daemon)
    }

    /// Where the server listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.listening.addresses()
    }

    /// Where the server listens for DNS over TLS.
    pub fn tls_addresses(&self) -> &[SocketAddr] {
        self.listening.tls_addresses()
    }

    /// Where the admin API answers.
    pub fn admin_addresses(&self) -> &[SocketAddr] {
        self.administration.as_ref().map_or(&[], Administration::addresses)
    }

    /// Where monitors are answered without a token.
    pub fn monitor_addresses(&self) -> &[SocketAddr] {
        self.monitors.as_ref().map_or(&[], RunningProbes::addresses)
    }

    /// The config in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What answers.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// What answers, to be asked directly.
    pub fn responder(&self) -> &Arc<Responder> {
        &self.parts.responder
    }

    /// Serves until SIGTERM, and `lame_duck_secs` longer, or until SIGINT, then answers what has arrived.
    pub async fn run_until_signal(mut self) {
        let stop = self.signals.stop(self.ending.clone());
        self.run(stop).await;
    }

    /// Serves until `stop`; SIGHUP and changed files reload, SIGUSR1 asks Azure now.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut next_look = Instant::now() + self.config.sync.interval;
        let mut next_keep = next_look;
        let (mut wanted_at, mut rests_until) = (None, Instant::now());
        loop {
            let azure_passed = Arc::clone(self.parts.sources.passed());
            let shared = self.parts.sources.shared().clone();
            tokio::select! {
                _ = self.signals.hangup.recv() => {
                    let result = tokio::task::block_in_place(|| self.reload());
                    self.log(result);
                    self.observers.reopen();
                    self.look_logged();
                }
                // What does not tell of changes (network file systems) is looked at all the same.
                () = async { tokio::select! { () = self.watch.changed() => {}, () = sleep_until(next_look) => {} } } => {
                    self.look_logged();
                    // Not with each turn: Azure's passes would put it off for ever.
                    next_look = Instant::now() + self.config.sync.interval;
                }
                // What could not be written before is tried again, whether anything has changed or not. Not with each
                // look: a file that cannot be written is a change of its folder.
                () = sleep_until(next_keep) => {
                    tokio::task::block_in_place(|| self.parts.sources.keep());
                    next_keep = Instant::now() + self.config.sync.interval;
                }
                // Many who want it are served by the same; a million names take seconds.
                () = shared.wanted(), if wanted_at.is_none() => wanted_at = Some(rests_until.max(Instant::now())),
                () = async { if let Some(at) = wanted_at { sleep_until(at).await } }, if wanted_at.is_some() => {
                    self.sync_logged();
                    (wanted_at, rests_until) = (None, Instant::now() + WANTED_PAUSE);
                }
                _ = self.signals.nudge.recv() => self.parts.sources.nudge(),
                () = azure_passed.notified() => tokio::task::block_in_place(|| {
                    self.parts.sources.keep();
                    self.parts.sources.tell_drift(&self.parts.store);
                }),
                () = &mut stop => break,
            }
        }
        notify::stopping(Duration::ZERO);
        info!("Stopping: answering what has arrived, taking nothing new");
        self.stop().await;
    }

    /// Answers what has arrived, and stops.
    pub async fn stop(mut self) {
        self.ending.announce();
        self.watchdog = None;
        // Who was told that something is stored finds it served to the end.
        let administration = async {
            if let Some(administration) = self.administration.take() {
                administration.stop().await;
            }
        };
        self.leaving.spawn(self.listening.drain(DRAIN_PATIENCE));
        let ((), drained) = tokio::join!(administration, self.leaving.join_all());
        self.parts.sources.stop();
        self.observers.stop().await;
        let unfinished: usize = drained.iter().map(|drained| drained.unfinished).sum();
        if unfinished > 0 {
            warn!(unfinished, "Stopped with {unfinished} requests unfinished");
        }
    }

    /// Reads what changed: all if a file of the config did, else the inventories.
    pub fn look(&mut self) -> Result<Reload, ReloadError> {
        self.watch_what_is_there();
        let mut now = Seen::now(&self.path, &self.config);
        now.include(&self.parts);
        if now.config != self.seen.config {
            return self.reload();
        }
        // Its passes are in the background, and take their confirmations away.
        let confirmed = now.azure_confirmations.difference(&self.seen.azure_confirmations);
        let confirmed: BTreeSet<PathBuf> = confirmed.map(|file| file.path.clone()).collect();
        self.parts.sources.follow_confirmations(&confirmed);
        self.seen.azure_confirmations = std::mem::take(&mut now.azure_confirmations);
        if now.inventories == self.seen.inventories {
            return Ok(Reload::Unchanged);
        }
        self.seen.inventories = now.inventories;
        self.parts.sync()?;
        self.seen.forget_followed(&self.config);
        // Links below it may lead elsewhere now. A look follows, and sees what changes until then.
        self.watch = Watch::new(&self.watched, self.config.query_log());
        Ok(Reload::Synced)
    }

    /// Watches other folders where links lead elsewhere by now; call it before looking, so that nothing slips between.
    fn watch_what_is_there(&mut self) {
        let folders = folders(&self.path, &self.config, &self.parts.zone_files);
        if folders != self.watched {
            self.watch = Watch::new(&folders, self.config.query_log());
            self.watched = folders;
        }
    }

    /// Where it serves, in a few words.
    fn standing(&self) -> String {
        let addresses: Vec<String> = self.addresses().iter().map(ToString::to_string).collect();
        format!("Serving DNS at {}", addresses.join(", "))
    }

    /// Reads everything anew. On an error the old config stays in force, whole.
    pub fn reload(&mut self) -> Result<Reload, ReloadError> {
        notify::reloading();
        let result = self.read_anew();
        let failed = if result.is_err() { "; the last reload failed, and the log says why" } else { "" };
        notify::ready(&format!("{}{failed}", self.standing()));
        result
    }

    fn read_anew(&mut self) -> Result<Reload, ReloadError> {
        // Looks come before reading: what changes while we read is then seen to differ, and read again.
        self.seen = Seen::now(&self.path, &self.config);
        self.seen.include(&self.parts);
        let config_seen = stamp(self.path.clone());
        if config_seen.length == Some(0) {
            return Err(ReloadError::Empty(self.path.clone()));
        }
        let mut config = Config::load(&self.path)?;
        self.settled.keep_in(&mut config);
        make_state_folder(&config);
        let watched = folders(&self.path, &config, &self.parts.zone_files);
        let watch = Watch::new(&watched, config.query_log());
        let mut seen = Seen::now(&self.path, &config);
        seen.config.retain(|file| file.path != self.path);
        seen.config.insert(config_seen);
        let rebound = match config.listen == self.config.listen {
            true => None,
            false => Some(self.listening.rebind(&descriptors::fitted(&config.listen, &config.admin.api))?),
        };
        match &self.administration {
            Some(administration) => administration.reload(&config, &mut self.parts)?,
            None => self.parts.reload(&config)?,
        }
        self.listening.look_at_certificates();
        self.observers.configure(&config.observe);
        self.parts.sources.start(&self.parts.store);
        seen.forget_followed(&config);
        if let Some(bound) = rebound {
            // The new listeners answer before the old ones close: no query is lost.
            let new = bound.run(Arc::clone(&self.parts.responder), &Handle::current())?;
            let old = std::mem::replace(&mut self.listening, new);
            if let Some(watchdog) = &self.watchdog {
                watchdog.watch(served(&config, &self.listening));
            }
            while self.leaving.try_join_next().is_some() {}
            self.leaving.spawn(old.drain(DRAIN_PATIENCE));
        }
        self.parts.responder.designate(designation(&config, &self.listening));
        seen.include_since(&self.seen, &self.parts);
        self.ending.set_lame_duck(config.lame_duck);
        self.numbers.show_zone_names(config.monitors.zone_names);
        (self.watch, self.watched) = (watch, watched);
        self.seen = seen;
        let old = std::mem::replace(&mut self.config, config);
        told::reloaded(&old, &self.config, (&self.in_force, &self.seen.config));
        self.in_force = self.seen.config.clone();
        Ok(Reload::Done)
    }

    /// Looks until nothing is new, if that comes soon, so that what changed meanwhile is not left lying.
    fn look_logged(&mut self) {
        for _ in 0..LOOKS_MAX {
            let result = tokio::task::block_in_place(|| self.look());
            let goes_on = matches!(result, Ok(Reload::Done | Reload::Synced));
            self.log(result);
            if !goes_on {
                break;
            }
        }
    }

    /// Reads the inventories, whether they look changed or not.
    fn sync_logged(&mut self) {
        let result = tokio::task::block_in_place(|| self.parts.sync());
        self.seen.forget_followed(&self.config);
        if let Err(cause) = result {
            error!("Inventories cannot be published: {}", in_full(&cause));
        }
    }

    fn log(&self, result: Result<Reload, ReloadError>) {
        if !matches!(result, Ok(Reload::Unchanged | Reload::Synced)) {
            self.reloads.note(result.is_ok());
        }
        match result {
            // Each tells by itself what it did.
            Ok(Reload::Unchanged | Reload::Synced | Reload::Done) => {}
            Err(cause) => error!("Nothing was changed by the reload: {}", in_full(&cause)),
        }
    }
}
