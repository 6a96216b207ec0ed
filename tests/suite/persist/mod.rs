//! The store: one battery over SQLite and PostgreSQL, and what each does when it or its user dies.

mod battery;
mod dying;
mod several;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use privatelink_dns::dns::{Name, RecordSet, RecordType, Ttl, rdata};
use privatelink_dns::persist::{
    Audit, Change, Changes, Commit, Entry, Followed, Made, Persist, PersistError, Role, Settings, Source,
    Stored, StoredChange, StoredDocument, StoredForwarder, StoredToken, StoredZone, Subject,
};
use privatelink_dns::zone::{OnMissing, ZoneKind};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::postgres::{Cluster, Disk};

/// Longer than anything takes on a busy machine; met only by what hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A database of either kind, and a folder.
struct Database {
    folder: TempDir,
    cluster: Option<Cluster>,
}

impl Database {
    fn sqlite() -> Option<Database> {
        Some(Database { folder: tempfile::tempdir().unwrap(), cluster: None })
    }

    fn postgres() -> Option<Database> {
        let cluster = Cluster::start(Disk::Unsynced)?;
        Some(Database { folder: tempfile::tempdir().unwrap(), cluster: Some(cluster) })
    }

    fn settings(&self) -> Settings {
        let url = self.cluster.as_ref().map_or("sqlite:records.db".into(), Cluster::url);
        Settings { url, state_dir: self.folder.path().into(), ..Settings::default() }
    }

    async fn open(&self) -> Persist {
        Persist::open(&self.settings()).await.unwrap()
    }

    /// Runs SQL beside the store.
    async fn run(&self, sql: &'static str) {
        if self.cluster.is_some() {
            let mut connection = postgres(&self.settings().url).await;
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        } else {
            let path = self.folder.path().join("records.db");
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
            let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            sqlx::Connection::close(connection).await.unwrap();
        }
    }
}

async fn postgres(url: &str) -> sqlx::PgConnection {
    <sqlx::PgConnection as sqlx::Connection>::connect(url).await.unwrap()
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.expect("it hangs")
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn audit(actor: &str) -> Audit {
    Audit {
        source: Source::Rest,
        actor: actor.into(),
        remote: Some([10, 0, 0, 9].into()),
        request_id: Some("req-1".into()),
        comment: Some("why\0not".into()),
    }
}

fn commit(changes: impl IntoIterator<Item = StoredChange>) -> Commit {
    Commit { changes: changes.into_iter().collect(), ..Commit::by(audit("ops")) }
}

fn record_set(owner: &str, rtype: &str, data: &[&str]) -> Entry {
    let zone = name("corp.internal.");
    let rtype: RecordType = rtype.parse().unwrap();
    let data: Vec<_> =
        data.iter().map(|text| rdata::from_text(rtype, text, zone.borrow()).unwrap()).collect();
    let set = RecordSet::new(rtype, Ttl::from_secs(300).unwrap(), data).unwrap();
    Entry::RecordSet { name: Name::parse(owner, zone.borrow()).unwrap(), zone, set }
}

fn put(owner: &str, address: &str) -> StoredChange {
    StoredChange::Put(record_set(owner, "A", &[address]))
}

/// The address of a number.
fn address(number: u32) -> String {
    std::net::Ipv4Addr::from(0x0a00_0000 + number).to_string()
}

fn forwarder(domain: &str) -> Entry {
    Entry::Forwarder(StoredForwarder {
        domain: name(domain),
        upstreams: vec!["10.1.0.4".into(), "tls://10.1.0.5#dns.example.com".into()],
        queries_per_second_max: Some(50),
    })
}

fn zone(apex: &str) -> Entry {
    Entry::Zone(StoredZone {
        apex: name(apex),
        made: Made::ByRest(ZoneKind::Plain),
        on_missing: Some(OnMissing::NxDomain),
        networks: Some(vec!["hub".into()]),
    })
}

fn token(id: &str) -> Entry {
    Entry::Token(StoredToken {
        id: id.into(),
        name: "ci".into(),
        hash: Arc::from([0, 1, 255]),
        role: Role::Operator,
        zones: vec!["*.internal".into()],
        created_secs: 1_700_000_000,
        expires_secs: Some(1_800_000_000),
        revoked_secs: None,
    })
}

fn document(text: &str) -> Entry {
    Entry::Document(StoredDocument { name: "sync/azure".into(), body: text.as_bytes().into() })
}

fn sorted(mut stored: Stored) -> Stored {
    stored.entries.sort_by_key(|(entry, _)| entry.subject().to_string());
    stored.serials.sort_by_key(|(zone, _)| zone.to_string());
    stored
}

/// What follows makes of what it is given.
#[derive(Default)]
struct Model {
    revision: u64,
    entries: HashMap<Subject, (Entry, u64)>,
    serials: HashMap<Name, u32>,
}

impl Model {
    fn apply(&mut self, change: &Change) {
        assert_eq!(change.revision, self.revision + 1, "a revision is left out or comes twice");
        self.revision = change.revision;
        for change in &change.changes {
            match change {
                StoredChange::Put(entry) => {
                    self.entries.insert(entry.subject(), (entry.clone(), self.revision));
                }
                StoredChange::Remove(subject) => {
                    self.entries.remove(subject).expect("what is removed was there");
                }
                StoredChange::ClearZone(apex) => self
                    .entries
                    .retain(|subject, _| !matches!(subject, Subject::RecordSet { zone, .. } if zone == apex)),
            }
        }
        self.serials.extend(change.serials.iter().cloned());
    }

    async fn follow_until(&mut self, changes: &mut Changes, revision: u64) {
        while self.revision < revision {
            match changes.next().await {
                Followed::Change(change) => self.apply(&change),
                Followed::Reload(_) => panic!("nothing is forgotten"),
            }
        }
    }

    fn stored(&self) -> Stored {
        sorted(Stored {
            revision: self.revision,
            entries: self.entries.values().cloned().collect(),
            serials: self.serials.iter().map(|(zone, serial)| (zone.clone(), *serial)).collect(),
        })
    }
}

#[tokio::test]
async fn a_second_process_cannot_open_the_file() {
    let database = Database::sqlite().unwrap();
    let persist = database.open().await;
    let error = Persist::open(&database.settings()).await.err().expect("it is refused");
    assert!(matches!(error, PersistError::InUse { .. }), "{error:?}");
    let mode = |file: &str| {
        let file = database.folder.path().join(file);
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file).unwrap().permissions()) & 0o777
    };
    assert_eq!((mode("records.db"), mode("records.db-wal")), (0o600, 0o600));
    let lease = persist.lease("sync").await;
    assert!(lease.is_held());
}

#[tokio::test]
async fn a_file_that_is_no_store_is_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("records.db"), "not a database".repeat(1000)).unwrap();
    let settings = Settings { state_dir: folder.path().into(), ..Settings::default() };
    let error = Persist::open(&settings).await.err().expect("it is refused");
    assert!(matches!(error, PersistError::Database(_)), "{error:?}");
}

/// The numbers of `n0`, `n1`, … that a copy of the file alone has, without the log beside it.
async fn in_a_copy_alone(database: &Database) -> usize {
    let alone = tempfile::tempdir().unwrap();
    std::fs::copy(database.folder.path().join("records.db"), alone.path().join("records.db")).unwrap();
    let settings = Settings { state_dir: alone.path().into(), ..Settings::default() };
    let Ok(persist) = Persist::open(&settings).await else { return 0 };
    let stored = persist.load().await.map_or(0, |stored| stored.entries.len());
    persist.close().await;
    stored
}

#[tokio::test]
async fn the_file_alone_has_all_that_was_answered_when_the_store_is_closed() {
    let database = Database::sqlite().unwrap();
    let persist = database.open().await;
    let mut changes = persist.changes(0);
    for number in 0..300 {
        persist.commit(commit([put(&format!("n{number}"), &address(number))])).await.unwrap();
    }
    // Those who follow and those who ask have sessions of their own.
    within(changes.next()).await;
    persist.load().await.unwrap();
    persist.close().await;
    let log = database.folder.path().join("records.db-wal");
    assert!(!log.exists() || std::fs::metadata(log).unwrap().len() == 0);
    assert_eq!(in_a_copy_alone(&database).await, 300);
    assert!(persist.load().await.is_err(), "a closed store lends no session");
}

#[tokio::test]
async fn the_file_alone_has_all_that_was_answered_some_seconds_after_the_last_change() {
    let database = Database::sqlite().unwrap();
    let persist = database.open().await;
    persist.load().await.unwrap();
    for number in 0..3 {
        persist.commit(commit([put(&format!("n{number}"), &address(number))])).await.unwrap();
    }
    within(async {
        while in_a_copy_alone(&database).await < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    persist.close().await;
}
