//! Several instances on one store: one lists Azure for all, the others follow it and ask it for passes.

mod leading;
mod message;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng;
use tokio::runtime::Handle;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tracing::{debug, error, warn};

use super::error::{ConfirmError, NudgeError};
use super::following::Taken;
use super::shared::Shared;
use super::source::Source;
use super::status::Status;
use crate::persist::{Persist, PersistError, StoredDocument};
use crate::zone::Store;
use message::{Letter, Message};
pub(crate) use message::{Reply, Want};

/// How names of documents begin that hold what a source publishes; its own name follows.
const DOCUMENT_PREFIX: &str = "sync/";
/// How long the instance that lists may take to answer: it is asked through the database, and writes a small file.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Questions that wait for an answer at once; operators do not ask more within two seconds.
const ASKS_MAX: usize = 64;

/// This instance among those that share the store.
pub(crate) struct Instances {
    /// Another number with each start.
    id: u64,
    host: String,
    persist: Persist,
    store: Arc<Store>,
    shared: Shared,
    runtime: Handle,
    /// What the others shared last, by source.
    documents: Mutex<HashMap<Arc<str>, Arc<[u8]>>>,
    mail: Mutex<Mail>,
    has_mail: Notify,
    asks: Mutex<HashMap<u64, oneshot::Sender<Reply>>>,
}

/// The tasks of [`Instances`]; dropping it gives the lease back.
pub(crate) struct Tasks([AbortHandle; 3]);

/// What the sources are to be told, one after the other; of each the newest counts.
#[derive(Default)]
struct Mail {
    documents: HashMap<Arc<str>, Arc<[u8]>>,
    statuses: HashMap<String, Status>,
    cut_off: Option<String>,
}

/// Nobody who lists was heard.
#[derive(Debug, thiserror::Error)]
#[error("the instance that lists Azure cannot be told: {0}")]
pub(crate) struct NotTold(String);

impl NotTold {
    pub fn because(why: &str) -> NotTold {
        NotTold(why.to_owned())
    }

    pub fn stopping() -> NotTold {
        NotTold::because("this one is stopping")
    }
}

impl Instances {
    /// Follows until it holds the lease, from what was stored at the start on. Call it inside a runtime, before
    /// anything lists.
    pub fn begin(
        persist: &Persist,
        store: &Arc<Store>,
        shared: &Shared,
        stored: impl Iterator<Item = StoredDocument>,
    ) -> (Arc<Instances>, Tasks) {
        shared.roles().follow();
        let instances = Arc::new(Instances {
            id: rand::rng().random(),
            host: host(),
            persist: persist.clone(),
            store: Arc::clone(store),
            shared: shared.clone(),
            runtime: Handle::current(),
            documents: Mutex::default(),
            mail: Mutex::default(),
            has_mail: Notify::new(),
            asks: Mutex::default(),
        });
        shared.share_with(&instances);
        stored.for_each(|document| instances.keep(&document));
        instances.begin_with_newer();
        let led = tokio::spawn(Arc::clone(&instances).lead()).abort_handle();
        let received = tokio::spawn(Arc::clone(&instances).receive()).abort_handle();
        let followed = tokio::spawn(Arc::clone(&instances).follow()).abort_handle();
        (instances, Tasks([led, received, followed]))
    }

    /// Of what is in `state_dir` and what is stored the newer is served first.
    fn begin_with_newer(&self) {
        let documents = self.documents.lock().clone();
        for (source, _) in self.shared.now().live() {
            if let Some(document) = documents.get(source.name()) {
                source.begin_with(document, &self.store);
            }
        }
    }

    /// What another instance, or this one, stored has changed.
    pub fn document_changed(&self, document: &StoredDocument) {
        self.keep(document);
        let Some(source) = document.name.strip_prefix(DOCUMENT_PREFIX) else { return };
        self.mail.lock().documents.insert(source.into(), Arc::clone(&document.body));
        self.has_mail.notify_one();
    }

    fn keep(&self, document: &StoredDocument) {
        if let Some(source) = document.name.strip_prefix(DOCUMENT_PREFIX) {
            self.documents.lock().insert(source.into(), Arc::clone(&document.body));
        }
    }

    /// Serves anew what the others shared, as other settings may want more of it.
    pub fn reconfigured(&self) {
        if !self.shared.roles().is_listing() {
            self.shared.now().live().for_each(|(source, _)| source.forget_document());
            self.follow_anew();
        }
    }

    fn follow_anew(&self) {
        let documents = self.documents.lock().clone();
        self.mail.lock().documents.extend(documents);
        self.has_mail.notify_one();
    }

    /// Tells the sources what came for them. One task: what comes first is done first.
    async fn follow(self: Arc<Self>) {
        loop {
            self.has_mail.notified().await;
            let instances = Arc::clone(&self);
            // Planning thousands of names would keep a thread from answering.
            let told = tokio::task::spawn_blocking(move || instances.deliver()).await;
            if let Err(cause) = told {
                error!("What other instances told could not be followed: {cause}");
            }
        }
    }

    fn deliver(&self) {
        let Mail { documents, statuses, cut_off } = std::mem::take(&mut *self.mail.lock());
        for (source, _) in self.shared.now().live() {
            if let Some(why) = &cut_off {
                source.cut_off(why);
            }
            if let Some(status) = statuses.get(source.name()) {
                source.receive(status.clone());
            }
            if let Some(document) = documents.get(source.name()) {
                self.take(source, document);
            }
        }
    }

    fn take(&self, source: &Source, document: &[u8]) {
        match source.take(document, &self.store) {
            Ok(Taken::Served | Taken::Known) => {}
            Ok(Taken::Overruled) => {
                source.share().is_unshared = true;
                self.shared.roles().announce();
            }
            Err(why) => debug!(source = %source.name(), "A document is not served: {why}"),
        }
    }

    /// Does what other instances send messages of.
    async fn receive(self: Arc<Self>) {
        let mut nudges = self.persist.nudges();
        loop {
            match nudges.recv().await {
                Ok(text) => {
                    let letter = Letter::read(&text).filter(|letter| letter.from != self.id);
                    if let Some(letter) = letter {
                        self.execute(letter.message);
                    }
                }
                // What was missed is asked for again, or told with the next pass.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn execute(self: &Arc<Self>, message: Message) {
        let is_listing = self.shared.roles().is_listing();
        match message {
            Message::Tell if is_listing => {
                self.shared.now().live().for_each(|(source, _)| source.share().is_untold = true);
                self.shared.roles().announce();
            }
            Message::Status(status) if !is_listing => {
                self.mail.lock().statuses.insert(status.source.clone(), *status);
                self.has_mail.notify_one();
            }
            Message::Ask { id, want } if is_listing => {
                let instances = Arc::clone(self);
                tokio::spawn(async move {
                    let shared = instances.shared.clone();
                    let done = tokio::task::spawn_blocking(move || shared.execute(want)).await;
                    let Ok(reply) = done else { return };
                    if let Err(cause) = instances.send(Message::Answer { id, reply }).await {
                        warn!("What another instance asked for is done, but it cannot be told: {cause}");
                    }
                });
            }
            Message::Answer { id, reply } => {
                if let Some(asking) = self.asks.lock().remove(&id) {
                    // Who no longer waits was told that nobody answered.
                    let _ = asking.send(reply);
                }
            }
            Message::Tell | Message::Status(_) | Message::Ask { .. } => {}
        }
    }

    async fn send(&self, message: Message) -> Result<(), PersistError> {
        self.persist.nudge(&Letter { from: self.id, message }.text()).await
    }

    /// Asks the instance that lists, and waits for its answer.
    pub async fn ask(&self, want: Want) -> Result<Reply, NotTold> {
        let id = rand::rng().random();
        let (answer, answered) = oneshot::channel();
        {
            let mut asks = self.asks.lock();
            if asks.len() >= ASKS_MAX {
                return Err(NotTold(format!("{ASKS_MAX} questions wait already")));
            }
            asks.insert(id, answer);
        }
        let asked = async {
            self.send(Message::Ask { id, want }).await.map_err(|cause| NotTold(cause.to_string()))?;
            answered.await.map_err(|_| NotTold::stopping())
        };
        let silent = || NotTold(format!("none answered within {} s", ANSWER_WITHIN.as_secs()));
        let answered = tokio::time::timeout(ANSWER_WITHIN, asked).await.unwrap_or_else(|_| Err(silent()));
        self.asks.lock().remove(&id);
        answered
    }

    /// The same where it may block.
    pub fn ask_blocking(&self, want: Want) -> Result<Reply, NotTold> {
        self.runtime.block_on(self.ask(want))
    }

    /// Passes an operator's signal or file on to the instance that lists, in the background.
    pub fn pass_on(self: &Arc<Self>, want: Want, done: impl FnOnce() + Send + 'static) {
        let instances = Arc::clone(self);
        self.runtime.spawn(async move {
            match instances.ask(want).await {
                Ok(Reply::Begun) => done(),
                Ok(reply) => warn!("The instance that lists Azure does not do what was wanted: {reply:?}"),
                Err(cause) => warn!("{cause}"),
            }
        });
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

impl From<NotTold> for NudgeError {
    fn from(cause: NotTold) -> NudgeError {
        NudgeError::NotTold(cause.to_string())
    }
}

impl From<NotTold> for ConfirmError {
    fn from(cause: NotTold) -> ConfirmError {
        ConfirmError::NotTold(cause.to_string())
    }
}

/// What people call this machine.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "unknown".to_owned(),
        name => name.to_owned(),
    }
}
