//! Holding the sync lease: who has it lists, and gives the others what it publishes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{debug, error, info, warn};

use super::message::Message;
use super::{DOCUMENT_PREFIX, Instances};
use crate::persist::{
    Audit, Commit, Entry, Lease, LeaseAnswer, PersistError, Precondition, Source as Author, StoredChange,
    StoredDocument, Subject,
};
use crate::sources::source::Source;
use crate::sources::status::Mark;

/// The lease of who lists.
const LEASE: &str = "sync";
/// How often those who follow ask for it: a holder that dies is replaced after about this long.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// After a time without the database those who followed leave the lease so long to the one that went on listing:
/// it knows within 4 s that it has lost it, and what it listed meanwhile is newer.
const GIVE_WAY: Duration = Duration::from_secs(5);
/// As often in a row the database must be silent before those who follow are told stale.
const SILENT_MAX: u32 = 5;
/// Where nothing changes a document is still written this often, so that it tells how old its content really is.
const WRITTEN_AT_LEAST_EVERY: Duration = Duration::from_secs(15 * 60);
/// How often what could not be written or told is tried again, and how often the age of documents is looked at.
const RETRY_EVERY: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often in a row the one that lists is asked where its sources stand.
const TELLS_MAX: u32 = 30;
/// A document that another one was written over under our hands is written again so often at once.
const TRIES_MAX: usize = 3;

/// What is known of a document while the lease is held.
#[derive(Default)]
struct Written {
    /// The revision of its last change, `None` while there is no document; unknown before it was asked for.
    revision: Option<Option<u64>>,
    at: Option<Instant>,
    /// The last one was refused for good: the next is tried when something has changed.
    is_refused: bool,
}

/// Why a document is not written.
enum NotWritten {
    /// Another instance has the lease.
    Lost,
    Later(PersistError),
    /// For good: until something has changed.
    Refused(PersistError),
}

/// What holding the lease has left to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    Something,
    /// Another instance has the lease.
    Lost,
}

impl Instances {
    /// Takes the lease whenever it is free.
    pub(super) async fn lead(self: Arc<Self>) {
        let mut candidate = self.persist.candidate(LEASE);
        let (mut silent, mut was_reached, mut tells) = (0, false, 0);
        let roles = self.shared.roles();
        loop {
            if silent > 0 && !roles.is_listing() && self.persist.ping().await.is_ok() {
                sleep(GIVE_WAY).await;
            }
            match candidate.ask().await {
                LeaseAnswer::Taken(mut lease) => {
                    (silent, was_reached, tells) = (0, true, 0);
                    if roles.list() {
                        info!("This instance lists Azure for all that share the store");
                    }
                    self.share_while(&mut lease).await;
                    continue;
                }
                LeaseAnswer::HeldByAnother => {
                    if roles.follow() {
                        info!("Another instance lists Azure: this one follows it");
                        was_reached = false;
                    }
                    if silent > 0 || !was_reached {
                        // What was heard before may be of another time.
                        tells = 0;
                        self.shared.now().live().for_each(|(source, _)| source.share().status = None);
                    }
                    if tells < TELLS_MAX && !self.untold().is_empty() {
                        tells += 1;
                        self.follow_anew();
                        self.send_softly(Message::Tell).await;
                        if tells == TELLS_MAX {
                            self.tell_untold();
                        }
                    }
                    (silent, was_reached) = (0, true);
                }
                LeaseAnswer::Unreachable => {
                    silent += 1;
                    self.do_without_store(silent, was_reached);
                }
            }
            sleep(ASK_EVERY).await;
        }
    }

    /// The sources of which nobody has told yet where they stand.
    fn untold(&self) -> Vec<String> {
        let now = self.shared.now();
        let untold = now.live().filter(|(source, _)| source.share().status.is_none());
        untold.map(|(source, _)| source.name().to_owned()).collect()
    }

    fn tell_untold(&self) {
        for name in self.untold() {
            warn!(source = %name,
                "The instance that lists Azure does not tell of source `{name}`: all instances must have the same sources");
        }
    }

    /// The database is silent: who listed goes on, and so does everyone who would know nothing without.
    fn do_without_store(&self, silent: u32, was_reached: bool) {
        let (roles, now) = (self.shared.roles(), self.shared.now());
        if roles.is_listing() || silent < SILENT_MAX {
            return;
        }
        if !was_reached && now.live().any(|(source, _)| source.known().read_at.is_none()) {
            // Of two evils: more questions for Azure, or no answers for clients.
            warn!(
                "The store was not there since the start, and nothing of Azure is known: this instance lists it"
            );
            roles.list();
        } else if silent == SILENT_MAX {
            let why = "the store cannot be reached, and so neither the instance that lists Azure";
            self.mail.lock().cut_off = Some(why.to_owned());
            self.has_mail.notify_one();
        }
    }

    /// Gives the others what is published, until the lease is lost.
    async fn share_while(&self, lease: &mut Lease) {
        let mut written: HashMap<String, Written> = HashMap::new();
        // Those who follow may have been told things by one who is dead.
        self.shared.now().live().for_each(|(source, _)| source.share().is_untold = true);
        while lease.is_held() {
            let wait = match self.share(lease, &mut written).await {
                Left::Nothing => LOOK_EVERY,
                Left::Something => RETRY_EVERY,
                Left::Lost => return,
            };
            tokio::select! {
                () = lease.lost() => return,
                () = self.shared.roles().news() => {}
                () = sleep(wait) => {}
            }
        }
    }

    async fn share(&self, lease: &Lease, written: &mut HashMap<String, Written>) -> Left {
        let mut left = Left::Nothing;
        for (source, _) in self.shared.now().live() {
            let written = written.entry(source.name().to_owned()).or_default();
            let is_old = written.at.is_none_or(|at| at.elapsed() >= WRITTEN_AT_LEAST_EVERY);
            // What it followed is stored already: only its own passes are news.
            let is_due = is_old && source.has_published();
            let is_unshared = std::mem::take(&mut source.share().is_unshared);
            if is_unshared || (is_due && !written.is_refused) {
                match self.write(source, lease, written).await {
                    Ok(()) => {}
                    Err(NotWritten::Lost) => {
                        source.share().is_unshared = true;
                        return Left::Lost;
                    }
                    Err(NotWritten::Later(cause)) => {
                        source.share().is_unshared = true;
                        debug!(source = %source.name(), "What is published is not shared yet: {cause}");
                        left = Left::Something;
                        continue;
                    }
                    Err(NotWritten::Refused(cause)) => {
                        written.is_refused = true;
                        // What the others serve is older than what they are about to be told.
                        source.share().document = None;
                        let name = source.name();
                        error!(source = %name,
                            "What source `{name}` publishes cannot be shared with other instances: {cause}");
                    }
                }
            }
            let is_untold = std::mem::take(&mut source.share().is_untold);
            if is_untold && !self.send_softly(Message::Status(Box::new(source.status(&self.host)))).await {
                source.share().is_untold = true;
                left = Left::Something;
            }
        }
        left
    }

    /// Writes what a source publishes, over nothing but what was there when the lease was held.
    async fn write(
        &self,
        source: &Arc<Source>,
        lease: &Lease,
        written: &mut Written,
    ) -> Result<(), NotWritten> {
        let name: Arc<str> = format!("{DOCUMENT_PREFIX}{}", source.name()).into();
        let subject = Subject::Document(Arc::clone(&name));
        let mut expected = self.revision(&subject, lease, written).await?;
        let packing = Arc::clone(source);
        let packed = match tokio::task::spawn_blocking(move || packing.packed()).await {
            Ok(Some(Ok(packed))) => packed,
            Ok(None) => return Ok(()),
            Ok(Some(Err(cause))) => {
                error!(source = %source.name(), "What is published cannot be packed: {cause}");
                return Ok(());
            }
            Err(cause) => {
                error!(source = %source.name(), "What is published cannot be packed: {cause}");
                return Ok(());
            }
        };
        let mark = Mark::of(&packed);
        source.share().offered = Some(mark);
        let document = StoredDocument { name, body: packed.into() };
        let mut tries = 0;
        loop {
            let precondition = match expected {
                Some(revision) => Precondition::At(subject.clone(), revision),
                None => Precondition::Absent(subject.clone()),
            };
            let commit = Commit {
                changes: vec![StoredChange::Put(Entry::Document(document.clone()))],
                preconditions: vec![precondition],
                ..Commit::by(audit(source, &self.host))
            };
            let cause = match self.persist.commit(commit).await {
                Ok(committed) => {
                    let (revision, at) = (Some(Some(committed.revision)), Some(Instant::now()));
                    *written = Written { revision, at, is_refused: false };
                    source.share().document = Some(mark);
                    return Ok(());
                }
                Err(cause) => cause,
            };
            written.revision = None;
            match cause {
                // One that was written just before the lease changed hands, or our own that was not told to be stored.
                PersistError::Precondition { .. } if tries < TRIES_MAX => tries += 1,
                PersistError::Precondition { .. } => return Err(NotWritten::Lost),
                cause if cause.is_passing() => return Err(NotWritten::Later(cause)),
                cause => return Err(NotWritten::Refused(cause)),
            }
            expected = self.revision(&subject, lease, written).await?;
        }
    }

    /// The revision of a document's last change, at which the lease was held: whoever holds it later writes a newer one,
    /// and ours is refused.
    async fn revision(
        &self,
        subject: &Subject,
        lease: &Lease,
        written: &mut Written,
    ) -> Result<Option<u64>, NotWritten> {
        if let Some(revision) = written.revision {
            return Ok(revision);
        }
        // Whatever is wrong: a database that was made this moment has no tables yet.
        let revision = self.persist.revision_of(subject).await.map_err(NotWritten::Later)?;
        if !lease.look().await {
            return Err(NotWritten::Lost);
        }
        written.revision = Some(revision);
        Ok(revision)
    }

    /// Sends what nobody need receive; answers whether it was sent.
    async fn send_softly(&self, message: Message) -> bool {
        let sent = self.send(message).await;
        if let Err(cause) = &sent {
            debug!("The other instances cannot be told: {cause}");
        }
        sent.is_ok()
    }
}

fn audit(source: &Source, host: &str) -> Audit {
    Audit {
        source: Author::Sync,
        actor: "sync".into(),
        remote: None,
        request_id: None,
        comment: Some(format!("what source {} publishes, as {host} lists it", source.name()).into()),
    }
}
