//! Passes over one source: what is listed is read and published, by the run loop or in the background.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand::Rng;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::known::SourceState;
use super::listing::{Listing, Live};
use super::reading::{Reading, whole};
use super::role::Role;
use super::source::Source;
use super::spare;
use crate::sync::Fingerprint;
use crate::sync::azure::{Azure, AzureError, Pass};
use crate::telemetry::in_full;
use crate::zone::{Store, ZoneError};

/// A pass that clients wanted is followed by another one of these after this pause: events come as long as somebody
/// deploys, and each pass lists everything.
pub(crate) const WANTED_PAUSE: Duration = Duration::from_secs(10);
/// Passes begin this far apart at least when an operator of this machine nudges or confirms: they must not use up the reads
/// that ARM allows, 250 and 25 more a second, of which a pass takes four.
const NUDGED_APART: Duration = Duration::from_millis(500);

impl Source {
    /// What the source says now, or why nothing is known of it; nothing of it is published yet.
    pub async fn read(&self, store: &Store) -> Result<Reading, String> {
        let Some(live) = self.live() else { return self.read_folder() };
        let listed = match live.azure() {
            Ok(azure) => azure.pass().await,
            Err(error) => Err(error),
        };
        listed.map(|pass| self.reading(pass, store)).map_err(|error| in_full(&error))
    }

    /// One pass.
    pub async fn pass_once(self: &Arc<Self>, store: &Arc<Store>) {
        match self.live() {
            Some(live) => {
                self.pass(live, &mut None, store).await;
            }
            None => self.pass_folder(store).unwrap_or_else(|cause| self.fail(in_full(&cause))),
        }
    }

    /// One pass over Azure as a client of whom more is asked.
    pub async fn pass_with(self: &Arc<Self>, azure: &Arc<Azure>, store: &Arc<Store>) {
        if let Some(live) = self.live() {
            self.pass(live, &mut Some(Arc::clone(azure)), store).await;
        }
    }

    /// Passes over Azure for as long as this instance lists.
    pub(super) async fn run(self: Arc<Self>, store: Arc<Store>) {
        let Some(live) = self.live() else { return };
        let mut role = self.ground.roles.watch();
        let lists = |role: &Role| *role != Role::Following;
        // Its sender lives in the source.
        while role.wait_for(lists).await.is_ok() {
            tokio::select! {
                () = self.list(live, &store) => {}
                // What publishes at this moment sees by itself that it must not any more.
                _ = role.wait_for(|role| !lists(role)) => {}
            }
        }
    }

    async fn list(self: &Arc<Self>, live: &Live, store: &Arc<Store>) {
        let mut azure = None;
        let (mut is_wanted, mut rests_until) = (false, Instant::now());
        loop {
            let not_before = Instant::now() + NUDGED_APART;
            let again_in = self.pass(live, &mut azure, store).await;
            if std::mem::take(&mut is_wanted) {
                rests_until = Instant::now() + WANTED_PAUSE;
            }
            // Servers that were started together must not ask together.
            let wait = live.interval.mul_f64(rand::rng().random_range(0.9..1.1));
            let rest = again_in.map(|rest| rest.mul_f64(rand::rng().random_range(1.0..1.1)));
            let wait = rest.map_or(wait, |rest| rest.min(wait));
            self.change_times(|times| times.next = SystemTime::now().checked_add(wait));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = async { live.nudged.notified().await; sleep_until(not_before).await } => {}
                // Another pass that comes meanwhile is as good.
                () = async { live.wanted.notified().await; sleep_until(not_before.max(rests_until)).await } => {
                    is_wanted = true;
                }
            }
        }
    }

    /// Answers when a subscription that was throttled may be asked again.
    async fn pass(
        self: &Arc<Self>,
        live: &Live,
        azure: &mut Option<Arc<Azure>>,
        store: &Arc<Store>,
    ) -> Option<Duration> {
        let confirmed = self.begin_pass();
        let client = match azure {
            Some(azure) => Ok(Arc::clone(azure)),
            None => live.azure().map(|new| Arc::clone(azure.insert(new))),
        };
        let listed = match client {
            // A fault of ours in it must not end the passes after it.
            Ok(azure) => AbortOnDropHandle::new(tokio::spawn(async move { azure.pass().await }))
                .await
                .unwrap_or(Err(AzureError::Fault)),
            Err(error) => Err(error),
        };
        let again_in = match listed {
            Ok(pass) => {
                let again_in = pass.again_in;
                let (source, store) = (Arc::clone(self), Arc::clone(store));
                // Placing and planning thousands of names would keep a thread from answering.
                let published =
                    tokio::task::spawn_blocking(move || source.publish_pass(pass, &store, confirmed)).await;
                if let Err(cause) = published {
                    self.fail(format!("publishing failed: {cause}"));
                }
                again_in
            }
            Err(error) => {
                self.fail(in_full(&error));
                None
            }
        };
        self.end_pass();
        again_in
    }

    /// One pass over a folder. It blocks.
    pub(super) fn pass_folder(&self, store: &Store) -> Result<(), ZoneError> {
        let Some(_turn) = self.turn() else { return Ok(()) };
        let confirmed = self.begin_pass();
        let passed = match self.read_folder() {
            Ok(reading) => self.publish_confirmed(reading, store, confirmed),
            Err(why) => {
                self.fail(why);
                Ok(())
            }
        };
        self.end_pass();
        passed
    }

    fn read_folder(&self) -> Result<Reading, String> {
        match &self.listing {
            Listing::Directory(settings) => {
                Reading::of_folder(settings, &self.ground.rules, &self.known().desired)
            }
            Listing::Azure(_) => Err("it is no folder".to_owned()),
        }
    }

    /// Begins a pass; answers what is confirmed for it.
    // That comes first: what is listed afterwards is not older than that the operator saw.
    fn begin_pass(&self) -> Option<Fingerprint> {
        let confirmed = self.ground.confirmed(self.name());
        self.change_times(|times| (times.began, times.next) = (Some(SystemTime::now()), None));
        confirmed
    }

    /// Ends a pass, whatever came of it.
    fn end_pass(&self) {
        self.change_times(|times| times.ended = Some(SystemTime::now()));
        if self.live().is_some() {
            self.tell_ended();
        }
    }

    /// Publishes a pass over Azure, if there is anything new in it.
    fn publish_pass(&self, pass: Pass, store: &Store, confirmed: Option<Fingerprint>) {
        let Some(turn) = self.turn().filter(|_| self.is_listed_here()) else { return };
        if confirmed.is_none() && self.is_as_before(&pass, store) {
            return;
        }
        let reading = self.reading(pass, store);
        if let Err(cause) = self.publish_confirmed(reading, store, confirmed) {
            self.fail(in_full(&cause));
        }
        drop(turn);
        spare::give_back(self.known().desired.publications.len());
    }

    /// Publishes a reading as an operator confirmed it beforehand, or as it may be published without.
    fn publish_confirmed(
        &self,
        reading: Reading,
        store: &Store,
        confirmed: Option<Fingerprint>,
    ) -> Result<(), ZoneError> {
        let consents = |plan| confirmed == Some(plan) && self.ground.forget_confirmation(self.name());
        let is_held_back = self.commit(reading, store, consents)?;
        self.note_published();
        if confirmed.is_some() {
            self.ground.forget_unused_confirmation(self.name(), is_held_back);
        }
        Ok(())
    }

    /// Whether a pass found all as the one before did, and nobody changed a zone since: then only the time is noted.
    // A pass without a change is by far the most frequent; planning it costs more than all the rest of it.
    fn is_as_before(&self, pass: &Pass, store: &Store) -> bool {
        let is_current = matches!(self.known().state, SourceState::Current { .. });
        let revision = || store.load().revision();
        let is_same = is_current && whole(pass).is_some_and(|listed| self.was_last(listed, revision()));
        if is_same {
            let since = SystemTime::now();
            self.change_known(|known| {
                (known.state, known.read_at) = (SourceState::Current { since }, Some(since));
            });
            self.ground.passed.notify_one();
        }
        is_same
    }

    fn reading(&self, pass: Pass, store: &Store) -> Reading {
        let (rules, older, snapshot) = (&self.ground.rules, self.known(), store.snapshot());
        Reading::of_pass(pass, &self.listing, rules, &older.desired, &snapshot)
    }
}
