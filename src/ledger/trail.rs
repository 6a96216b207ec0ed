//! What config, its files and sync change, kept in the audit beside what operators do; nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use data_encoding::HEXLOWER;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use super::view::{KindWord, OfferView, OnMissingWord};
use crate::dns::{Name, RecordType};
use crate::persist::{Audit, Commit, Idempotency, Note, Persist, PersistError, Source};
use crate::telemetry::in_full;
use crate::zone::{Author, Change, ChangeSet, Networks, Offer, Origin, Snapshot, Witness, ZoneHeader};

/// Change sets that wait to be kept; each holds what was served before it, of which most is shared. A database that is
/// away for a day of one change a minute is waited for.
const WAITING_MAX: usize = 2_048;
/// Notes of one commit: a first listing of tens of thousands of endpoints must not hold up those who write.
const NOTES_IN_COMMIT_MAX: usize = 2_000;
/// The first and the longest wait before a store that is away is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// How long a commit is recognised that may have been stored without an answer.
const RECOGNISED_FOR: Duration = Duration::from_secs(3600);
/// Whose commits they are among those that are recognised.
const RECOGNISED_AS: &str = "audit-trail";

/// Takes down what is not in the audit yet. A clone writes to the same.
#[derive(Clone)]
pub struct Trail {
    queue: mpsc::Sender<Waiting>,
    is_open: Arc<AtomicBool>,
}

enum Waiting {
    Seen(Seen),
    Settle(oneshot::Sender<()>),
}

/// One change set.
struct Seen {
    at: SystemTime,
    author: Author,
    old: Arc<Snapshot>,
    changes: Arc<ChangeSet>,
}

impl Trail {
    /// Needs a tokio runtime. Until it is opened it takes nothing down: what a start restores is no change.
    pub fn new(persist: Persist) -> Trail {
        let (queue, mut waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(async move {
            while let Some(next) = waiting.recv().await {
                match next {
                    Waiting::Seen(seen) => keep(&persist, seen).await,
                    // Who asked may have gone.
                    Waiting::Settle(settled) => drop(settled.send(())),
                }
            }
        });
        Trail { queue, is_open: Arc::default() }
    }

    /// From now on what changes is taken down.
    pub fn open(&self) {
        self.is_open.store(true, Ordering::Release);
    }

    /// Waits until all that was taken down is stored, if that comes soon.
    pub async fn settle(&self, patience: Duration) {
        let (settled, all) = oneshot::channel();
        let settling = async {
            if self.queue.send(Waiting::Settle(settled)).await.is_ok() {
                let _ = all.await;
            }
        };
        if tokio::time::timeout(patience, settling).await.is_err() {
            warn!("Some changes of config or sync are not in the audit: the store takes too long");
        }
    }
}

impl Witness for Trail {
    fn see(&mut self, author: &Author, old: &Arc<Snapshot>, changes: &Arc<ChangeSet>) {
        if *author == Author::Audited || !self.is_open.load(Ordering::Acquire) {
            return;
        }
        let (author, old, changes) = (author.clone(), Arc::clone(old), Arc::clone(changes));
        let (at, count) = (SystemTime::now(), changes.changes.len());
        if self.queue.try_send(Waiting::Seen(Seen { at, author, old, changes })).is_err() {
            // What is served matters more than who is told of it.
            error!(
                changes = count,
                "{count} changes of config or sync are not in the audit: too many wait for it"
            );
        }
    }
}

async fn keep(persist: &Persist, seen: Seen) {
    let (author, at) = (seen.author.clone(), seen.at);
    let notes = tokio::task::spawn_blocking(move || notes_of(&seen.old, &seen.changes)).await;
    let notes = notes.expect("making notes does not panic");
    let (source, actor): (Source, Arc<str>) = match &author {
        Author::Source(name) => (Source::Sync, Arc::clone(name)),
        Author::Config | Author::Audited => (Source::File, "config".into()),
    };
    let parts = notes.len().div_ceil(NOTES_IN_COMMIT_MAX);
    for (index, part) in notes.chunks(NOTES_IN_COMMIT_MAX).enumerate() {
        let comment = (parts > 1).then(|| format!("part {} of {parts}", index + 1).into());
        let audit = Audit { source, actor: Arc::clone(&actor), remote: None, request_id: None, comment };
        let idempotency = Idempotency {
            token: RECOGNISED_AS.into(),
            key: HEXLOWER.encode(&rand::random::<[u8; 16]>()).into(),
            request_hash: Arc::new([]),
            answer: Arc::new([]),
            expires: at + RECOGNISED_FOR,
        };
        let commit = Commit { notes: part.to_vec(), idempotency: Some(idempotency), ..Commit::by(audit) };
        if let Err(cause) = commit_in_time(persist, commit).await {
            error!("What {actor} changed is not in the audit: {}", in_full(&cause));
            return;
        }
    }
}

/// Commits, however long the store is away.
async fn commit_in_time(persist: &Persist, commit: Commit) -> Result<(), PersistError> {
    let mut wait = RETRY.0;
    loop {
        match persist.commit(commit.clone()).await {
            Ok(_) => return Ok(()),
            Err(cause) if cause.is_passing() => {}
            Err(cause) => return Err(cause),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY.1);
    }
}

/// What a change set changes, a note for each thing that is not as before.
fn notes_of(old: &Snapshot, changes: &ChangeSet) -> Vec<Note> {
    let mut notes = Vec::new();
    for change in &changes.changes {
        match change {
            Change::Put { zone, name, offer } => {
                let held = old.offer_of(zone, name, offer.set.rtype, &offer.origin);
                if !held.is_some_and(|held| says_the_same(held, offer)) {
                    notes.extend(of_offer(zone, name, held, Some(offer)));
                }
            }
            Change::Remove { zone, name, rtype, origin } => {
                let held = old.offer_of(zone, name, *rtype, origin);
                notes.extend(held.and_then(|held| of_offer(zone, name, Some(held), None)));
            }
            Change::SetZone(header) => {
                let before = old.zone(header.apex.borrow()).map(|zone| zone.header());
                if before != Some(header) {
                    notes.push(of_zone(&header.apex, before, Some(header)));
                }
            }
            Change::DropZone(apex) => {
                let Some(zone) = old.zone(apex.borrow()) else { continue };
                notes.push(of_zone(apex, Some(zone.header()), None));
                for (owner, node) in zone.nodes() {
                    let name = owner.to_name();
                    let offers = node.slots().iter().flat_map(|slot| slot.offers());
                    notes.extend(offers.filter_map(|offer| of_offer(apex, &name, Some(offer), None)));
                }
            }
            Change::SetNetworks(networks) => {
                let (before, after) = (Some(text_of(old.networks())), Some(text_of(networks)));
                notes.push(Note { zone: None, name: None, rtype: None, before, after });
            }
            // Nothing is served of these that is not told of elsewhere.
            Change::SetReverse { .. } | Change::SetWithheld { .. } | Change::SetStale(_) => {}
        }
    }
    notes
}

/// Whether it is the same record set from the same place, whenever that was first seen.
fn says_the_same(one: &Offer, other: &Offer) -> bool {
    let is_same_origin = match (&one.origin, &other.origin) {
        (Origin::Endpoint(one), Origin::Endpoint(other)) => one.is_but_for_time(other),
        (one, other) => one == other,
    };
    one.set == other.set && is_same_origin
}

/// `None` for what nobody wrote: an SOA that is built in, or that each imported zone has; what operators wrote is told
/// of elsewhere.
fn of_offer(zone: &Name, name: &Name, before: Option<&Offer>, after: Option<&Offer>) -> Option<Note> {
    let offer = after.or(before)?;
    let is_told = match &offer.origin {
        Origin::BuiltIn | Origin::Rest => false,
        Origin::AzureZone(_) => offer.set.rtype != RecordType::SOA,
        _ => true,
    };
    let text = |offer: &Offer| json!(OfferView::of(offer)).to_string();
    is_told.then(|| Note {
        zone: Some(zone.clone()),
        name: Some(name.clone()),
        rtype: Some(offer.set.rtype),
        before: before.map(text),
        after: after.map(text),
    })
}

fn of_zone(apex: &Name, before: Option<&ZoneHeader>, after: Option<&ZoneHeader>) -> Note {
    let text = |header: &ZoneHeader| {
        json!({
            "kind": KindWord::from(header.kind),
            "on_missing": OnMissingWord::from(header.on_missing),
            "networks": header.networks,
        })
        .to_string()
    };
    Note {
        zone: Some(apex.clone()),
        name: None,
        rtype: None,
        before: before.map(text),
        after: after.map(text),
    }
}

fn text_of(networks: &Networks) -> String {
    let all: serde_json::Map<_, _> = networks
        .iter()
        .map(|(_, network)| {
            let clients: Vec<String> = network.clients.iter().map(ToString::to_string).collect();
            let view = json!({ "clients": clients, "virtual_networks": network.virtual_networks });
            (network.name.to_string(), view)
        })
        .collect();
    json!({ "networks": all, "prefer": networks.preferred() }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{RecordSet, Ttl, rdata};
    use crate::persist::{AuditFilter, Settings};
    use crate::zone::{Claim, Store};

    const APEX: &str = "privatelink.blob.core.windows.net.";

    fn put(owner: &str, address: &str, origin: Origin) -> Change {
        let data = [rdata::from_text(RecordType::A, address, Name::root().borrow()).unwrap()];
        let set = RecordSet::new(RecordType::A, Ttl::from_secs(60).unwrap(), data).unwrap();
        let name = format!("{owner}.{APEX}").parse().unwrap();
        Change::Put { zone: APEX.parse().unwrap(), name, offer: Offer { set, origin } }
    }

    fn claim(since_secs: u64) -> Origin {
        Origin::Endpoint(Arc::new(Claim {
            endpoint: "/subscriptions/s/e".into(),
            virtual_network: None,
            subscription: "s".into(),
            resource: None,
            source: "live".into(),
            since_secs,
        }))
    }

    /// Source, actor, and each item as `zone name before -> after`.
    async fn audit(persist: &Persist) -> Vec<(Source, String, Vec<String>)> {
        let filter = AuditFilter { limit: 100, ..AuditFilter::default() };
        let entries = persist.audit(&filter).await.unwrap().into_iter().rev();
        let item = |item: crate::persist::AuditItem| {
            let records = |json: Option<String>| {
                json.map_or("nothing".to_owned(), |json| {
                    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
                    json.get("records").unwrap_or(&json["on_missing"]).to_string()
                })
            };
            format!("{} {} -> {}", item.name.unwrap_or_default(), records(item.before), records(item.after))
        };
        entries
            .map(|entry| (entry.source, entry.actor, entry.items.into_iter().map(item).collect()))
            .collect()
    }

    #[tokio::test]
    async fn what_config_and_sync_change_is_in_the_audit_with_what_was_there_before() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { state_dir: folder.path().to_owned(), ..Settings::default() };
        let persist = Persist::open(&settings).await.unwrap();
        let trail = Trail::new(persist.clone());
        let store = Store::new(Box::new(trail.clone()));
        let live = || Author::Source("live".into());
        let commit = |author, changes: Vec<Change>| {
            store.commit_with(author, |_| Ok(ChangeSet { changes })).unwrap();
        };
        let header = ZoneHeader::private_link(APEX.parse().unwrap());
        commit(Author::Config, vec![Change::SetZone(header.clone())]);
        trail.open();
        // As it is already.
        commit(Author::Config, vec![Change::SetZone(header)]);
        commit(live(), vec![put("a", "10.0.0.1", claim(1))]);
        commit(live(), vec![put("a", "10.0.0.1", claim(2))]);
        commit(live(), vec![put("a", "10.0.0.2", claim(2))]);
        commit(Author::Audited, vec![put("b", "10.0.0.3", Origin::Rest)]);
        commit(Author::Config, vec![put("c", "10.0.0.4", Origin::File)]);
        commit(Author::Config, vec![Change::DropZone(APEX.parse().unwrap())]);
        trail.settle(Duration::from_secs(30)).await;
        let line = |source, actor: &str, items: &[&str]| {
            (source, actor.to_owned(), items.iter().map(|item| (*item).to_owned()).collect())
        };
        let expected: Vec<(Source, String, Vec<String>)> = vec![
            line(Source::Sync, "live", &[&format!("a.{APEX} nothing -> [\"10.0.0.1\"]")]),
            line(Source::Sync, "live", &[&format!("a.{APEX} [\"10.0.0.1\"] -> [\"10.0.0.2\"]")]),
            line(Source::File, "config", &[&format!("c.{APEX} nothing -> [\"10.0.0.4\"]")]),
            line(
                Source::File,
                "config",
                &[
                    " \"ask-public\" -> nothing",
                    &format!("a.{APEX} [\"10.0.0.2\"] -> nothing"),
                    &format!("c.{APEX} [\"10.0.0.4\"] -> nothing"),
                ],
            ),
        ];
        assert_eq!(audit(&persist).await, expected);
    }

    #[tokio::test]
    async fn a_listing_of_thousands_becomes_commits_that_hold_up_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { state_dir: folder.path().to_owned(), ..Settings::default() };
        let persist = Persist::open(&settings).await.unwrap();
        let trail = Trail::new(persist.clone());
        trail.open();
        let store = Store::new(Box::new(trail.clone()));
        let many =
            (0..NOTES_IN_COMMIT_MAX + 1).map(|number| put(&format!("n{number}"), "10.0.0.1", claim(1)));
        let zone = Change::SetZone(ZoneHeader::private_link(APEX.parse().unwrap()));
        let changes = std::iter::once(zone).chain(many).collect();
        store.commit_with(Author::Source("live".into()), |_| Ok(ChangeSet { changes })).unwrap();
        trail.settle(Duration::from_secs(60)).await;
        let filter = AuditFilter { limit: 100, ..AuditFilter::default() };
        let entries = persist.audit(&filter).await.unwrap();
        let parts: Vec<_> = entries.iter().map(|it| (it.items_total, it.comment.as_deref())).collect();
        assert_eq!(parts, [(2, Some("part 2 of 2")), (2_000, Some("part 1 of 2"))]);
    }
}
