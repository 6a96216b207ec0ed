//! What holds for both databases.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use privatelink_dns::dns::RecordType;
use privatelink_dns::persist::{
    Audit, AuditFilter, Commit, Committed, Entry, Followed, Idempotency, Made, Note, Persist, PersistError,
    Precondition, Settings, Source, Stored, StoredChange, StoredZone, Subject,
};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{
    Database, Model, address, audit, commit, document, forwarder, name, put, record_set, sorted, token, zone,
};

macro_rules! battery {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::super::within(super::$name(super::Database::sqlite().unwrap())).await;
            })*
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(database) = super::Database::postgres() {
                    super::super::within(super::$name(database)).await;
                }
            })*
        }
    };
}

battery! {
    what_is_written_is_read_back,
    a_put_of_the_same_changes_nothing,
    revisions_of_many_writers_have_an_order_without_a_gap,
    of_many_who_expect_the_same_revision_one_wins,
    a_commit_is_stored_whole_or_not_at_all,
    what_the_database_refuses_does_not_fail_others,
    a_repeated_request_is_answered_and_not_repeated,
    an_older_schema_is_brought_up_to_date_and_a_newer_one_refused,
    who_follows_from_the_start_sees_everything_while_others_write,
    who_is_too_far_behind_is_given_everything,
    a_database_that_is_set_back_is_read_anew,
    a_change_that_cannot_be_read_does_not_stop_those_behind_it,
    the_audit_tells_who_changed_what,
    documents_reach_those_who_follow,
    a_commit_that_is_too_large_is_refused,
    nudges_are_heard,
    a_large_commit_is_stored_and_followed,
}

async fn what_is_written_is_read_back(database: Database) {
    let persist = database.open().await;
    assert_eq!(persist.load().await.unwrap(), Stored::default());
    let entries = vec![
        zone("corp.internal."),
        Entry::Zone(StoredZone {
            apex: name("privatelink.blob.core.windows.net."),
            made: Made::Elsewhere,
            on_missing: None,
            networks: None,
        }),
        record_set("@", "SOA", &["ns.corp.internal. host.corp.internal. 7 1 1 1 60"]),
        record_set("a\\000\\.b", "A", &["10.0.0.1", "10.0.0.2"]),
        record_set("*", "TXT", &["\"a \\\" b\" \"\\000\\255\""]),
        record_set("odd", "TYPE65280", &["\\# 3 00ff00"]),
        forwarder("."),
        token("t1"),
        document("{}\0"),
    ];
    let serials = vec![(name("corp.internal."), 7)];
    let changes = entries.iter().cloned().map(StoredChange::Put).collect();
    let committed = persist.commit(Commit { serials, changes, ..commit([]) }).await.unwrap();
    let serials = vec![(name("corp.internal."), 8)];
    assert_eq!(committed, Committed { revision: 1, serials: serials.clone(), replayed: None });
    let subjects: Vec<Subject> = entries.iter().map(Entry::subject).collect();
    let expected = sorted(Stored {
        revision: 1,
        entries: entries.into_iter().map(|entry| (entry, 1)).collect(),
        serials,
    });
    assert_eq!(sorted(persist.load().await.unwrap()), expected);
    for subject in &subjects {
        assert_eq!(persist.revision_of(subject).await.unwrap(), Some(1), "{subject}");
    }
    persist.close().await;
    assert!(persist.commit(commit([put("late", "10.0.0.1")])).await.unwrap_err().is_passing());
    drop(persist);
    let persist = database.open().await;
    assert_eq!(sorted(persist.load().await.unwrap()), expected);
    let changes = subjects[..8].iter().cloned().map(StoredChange::Remove);
    assert_eq!(persist.commit(commit(changes)).await.unwrap().revision, 2);
    let left = persist.load().await.unwrap();
    assert_eq!(left.entries, [(document("{}\0"), 1)]);
    assert_eq!(persist.revision_of(&subjects[0]).await.unwrap(), None);
}

async fn a_put_of_the_same_changes_nothing(database: Database) {
    let persist = database.open().await;
    assert_eq!(persist.commit(commit([put("a", "10.0.0.1")])).await.unwrap().revision, 1);
    let serials = vec![(name("corp.internal."), 1)];
    let again = Commit { serials, ..commit([put("a", "10.0.0.1")]) };
    assert_eq!(
        persist.commit(again).await.unwrap(),
        Committed { revision: 1, serials: vec![], replayed: None }
    );
    let mixed = commit([put("a", "10.0.0.1"), put("b", "10.0.0.2")]);
    assert_eq!(persist.commit(mixed).await.unwrap().revision, 2);
    let subject = record_set("a", "A", &["10.0.0.1"]).subject();
    assert_eq!(persist.revision_of(&subject).await.unwrap(), Some(1));
    let missing = StoredChange::Remove(record_set("none", "A", &["10.0.0.1"]).subject());
    assert_eq!(persist.commit(commit([missing])).await.unwrap().revision, 2);
}

async fn revisions_of_many_writers_have_an_order_without_a_gap(database: Database) {
    let persist = database.open().await;
    let other = if database.cluster.is_some() { database.open().await } else { persist.clone() };
    let mut writers = JoinSet::new();
    for writer in 0..50u32 {
        let persist = if writer % 2 == 0 { persist.clone() } else { other.clone() };
        writers.spawn(async move {
            let mut revisions = Vec::new();
            for number in 0..10u32 {
                let owner = format!("w{writer}-{number}");
                let serials = vec![(name("corp.internal."), 0)];
                let commit = Commit { serials, ..commit([put(&owner, &address(number))]) };
                let committed = persist.commit(commit).await.unwrap();
                assert!(revisions.last().is_none_or(|(last, _)| *last < committed.revision));
                revisions.push((committed.revision, committed.serials[0].1));
                let seen = persist.load().await.unwrap().revision;
                assert!(seen >= committed.revision, "what is answered is there");
            }
            revisions
        });
    }
    let mut revisions: Vec<_> = writers.join_all().await.into_iter().flatten().collect();
    revisions.sort_unstable();
    let expected: Vec<(u64, u32)> = (1..=500).map(|number| (number, number as u32)).collect();
    assert_eq!(revisions, expected, "each revision and each serial once");
    assert_eq!(persist.load().await.unwrap().entries.len(), 500);
}

async fn of_many_who_expect_the_same_revision_one_wins(database: Database) {
    let persist = database.open().await;
    let other = if database.cluster.is_some() { database.open().await } else { persist.clone() };
    let subject = record_set("a", "A", &["10.0.0.1"]).subject();
    let (zone, owner) = (name("corp.internal."), name("a.corp.internal."));
    let mut expected = Precondition::Absent(subject.clone());
    for round in 0..6u32 {
        let mut writers = JoinSet::new();
        for writer in 0..20u32 {
            let persist = if writer % 2 == 0 { persist.clone() } else { other.clone() };
            let change = put("a", &address(round * 100 + writer));
            let commit = Commit { preconditions: vec![expected.clone()], ..commit([change]) };
            writers.spawn(async move { persist.commit(commit).await });
        }
        let (won, lost): (Vec<_>, Vec<_>) = writers.join_all().await.into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 19));
        let revision = won[0].as_ref().unwrap().revision;
        for error in lost {
            match error.unwrap_err() {
                PersistError::Precondition { found, .. } => assert_eq!(found, Some(revision)),
                error => panic!("{error:?}"),
            }
        }
        expected = match round % 2 {
            0 => Precondition::At(subject.clone(), revision),
            _ => Precondition::OwnerNotAfter { zone: zone.clone(), name: owner.clone(), revision },
        };
    }
    let missing = Precondition::Exists(Subject::Zone(name("gone.")));
    let commit = Commit { preconditions: vec![missing], ..commit([put("b", "10.0.0.1")]) };
    assert!(matches!(
        persist.commit(commit).await,
        Err(PersistError::Precondition { on: Subject::Zone(_), found: None })
    ));
    assert_eq!(persist.load().await.unwrap().revision, 6);
}

async fn a_commit_is_stored_whole_or_not_at_all(database: Database) {
    let persist = database.open().await;
    let first = [put("a", "10.0.0.1"), put("b", "10.0.0.2"), put("c", "10.0.0.3")];
    persist.commit(commit(first)).await.unwrap();
    let before = sorted(persist.load().await.unwrap());
    let subject = record_set("c", "A", &["10.0.0.1"]).subject();
    let refused = Commit {
        preconditions: vec![Precondition::Absent(subject)],
        ..commit([StoredChange::ClearZone(name("corp.internal.")), put("d", "10.0.0.4")])
    };
    persist.commit(refused).await.unwrap_err();
    assert_eq!(sorted(persist.load().await.unwrap()), before);
    // The zone is emptied before it is filled, and only record sets go with it.
    let cleared = [
        put("a", "10.0.0.9"),
        StoredChange::Put(zone("corp.internal.")),
        StoredChange::ClearZone(name("corp.internal.")),
        put("b", "10.0.0.2"),
        put("d", "10.0.0.4"),
    ];
    persist.commit(commit(cleared)).await.unwrap();
    let after: Vec<String> = sorted(persist.load().await.unwrap())
        .entries
        .iter()
        .map(|(entry, _)| entry.subject().to_string())
        .collect();
    assert_eq!(
        after,
        [
            "record set b.corp.internal. A of zone corp.internal.",
            "record set d.corp.internal. A of zone corp.internal.",
            "zone corp.internal."
        ]
    );
}

async fn what_the_database_refuses_does_not_fail_others(database: Database) {
    let persist = database.open().await;
    // A trigger is the poison: the store itself writes nothing that is refused.
    let poison = if database.cluster.is_some() {
        "CREATE FUNCTION poison() RETURNS trigger AS $$ BEGIN \
         IF NEW.name LIKE 'poison%' THEN RAISE EXCEPTION 'poison'; END IF; RETURN NEW; END $$ LANGUAGE plpgsql; \
         CREATE TRIGGER poison BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION poison()"
    } else {
        "CREATE TRIGGER poison BEFORE INSERT ON entries WHEN NEW.name LIKE 'poison%' \
         BEGIN SELECT RAISE(ABORT, 'poison'); END"
    };
    database.run(poison).await;
    let mut writers = JoinSet::new();
    for writer in 0..40u32 {
        let persist = persist.clone();
        let owner = if writer % 10 == 3 { format!("poison{writer}") } else { format!("good{writer}") };
        writers.spawn(async move { persist.commit(commit([put(&owner, "10.0.0.1")])).await });
    }
    let results = writers.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 36);
    for error in results.into_iter().filter_map(Result::err) {
        assert!(matches!(error, PersistError::Database(_)), "{error:?}");
    }
    let stored = persist.load().await.unwrap();
    assert_eq!((stored.revision, stored.entries.len()), (36, 36));
}

async fn a_repeated_request_is_answered_and_not_repeated(database: Database) {
    let persist = database.open().await;
    let asked = |hash: u8, expires| Idempotency {
        token: "t1".into(),
        key: "k".into(),
        request_hash: Arc::from([hash]),
        answer: Arc::from(&b"answer"[..]),
        expires,
    };
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    let request = |number: u32, idempotency| Commit {
        idempotency: Some(idempotency),
        serials: vec![(name("corp.internal."), 4)],
        ..commit([put("a", &address(number))])
    };
    assert_eq!(persist.idempotent("t1", "k").await.unwrap(), None);
    // At once, twice each: in one transaction or in two.
    let (one, other) = tokio::join!(
        persist.commit(request(1, asked(1, tomorrow))),
        persist.commit(request(1, asked(1, tomorrow)))
    );
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one, Committed { revision: 1, serials: vec![(name("corp.internal."), 5)], replayed: None });
    assert_eq!(other, Committed { replayed: Some(Arc::from(&b"answer"[..])), ..one.clone() });
    persist.commit(commit([put("a", "10.0.0.9")])).await.unwrap();
    assert_eq!(persist.commit(request(1, asked(1, tomorrow))).await.unwrap(), other);
    let reused = persist.commit(request(2, asked(2, tomorrow))).await;
    assert!(matches!(reused, Err(PersistError::KeyReused)), "{reused:?}");
    let replay = persist.idempotent("t1", "k").await.unwrap().unwrap();
    assert_eq!((replay.committed, &replay.request_hash[..]), (other, &[1][..]));
    assert_eq!(persist.idempotent("t2", "k").await.unwrap(), None);
    // One that has expired is as if it had never been.
    let old = Idempotency { key: "old".into(), ..asked(1, SystemTime::UNIX_EPOCH) };
    assert_eq!(persist.commit(request(5, old.clone())).await.unwrap().revision, 3);
    assert_eq!(persist.commit(request(6, old)).await.unwrap().revision, 4);
    assert_eq!(persist.idempotent("t1", "old").await.unwrap(), None);
}

async fn an_older_schema_is_brought_up_to_date_and_a_newer_one_refused(database: Database) {
    let persist = database.open().await;
    persist.commit(commit([put("a", "10.0.0.1")])).await.unwrap();
    let stored = persist.load().await.unwrap();
    persist.close().await;
    drop(persist);
    // As the first version left it.
    database.run("DROP INDEX change_items_by_name; DELETE FROM schema_version WHERE version > 1").await;
    let persist = database.open().await;
    assert_eq!(persist.load().await.unwrap(), stored);
    persist.close().await;
    drop(persist);
    // Fails unless the index is there again.
    database.run("DROP INDEX change_items_by_name; INSERT INTO schema_version VALUES (99)").await;
    let error = Persist::open(&database.settings()).await.err().expect("it is refused");
    assert!(matches!(error, PersistError::Newer { found: 99, known: 2 }), "{error:?}");
    assert!(error.to_string().contains("run the newer program"), "{error}");
}

async fn who_follows_from_the_start_sees_everything_while_others_write(database: Database) {
    let persist = database.open().await;
    let other = if database.cluster.is_some() { database.open().await } else { persist.clone() };
    let mut writers = JoinSet::new();
    for writer in 0..8u32 {
        let persist = if writer % 2 == 0 { persist.clone() } else { other.clone() };
        writers.spawn(async move {
            for number in 0..40u32 {
                let owner = format!("n{}", (writer * 7 + number) % 30);
                let subject = record_set(&owner, "A", &["10.0.0.1"]).subject();
                let change = match number % 5 {
                    4 => StoredChange::Remove(subject),
                    _ => put(&owner, &address(writer * 1000 + number)),
                };
                let serials = vec![(name("corp.internal."), 0)];
                persist.commit(Commit { serials, ..commit([change]) }).await.unwrap();
            }
        });
    }
    let follow = |persist: Persist| async move {
        let mut changes = persist.changes(0);
        let mut model = Model::default();
        // Long enough to meet writers at work, from the start as well as in the middle.
        model.follow_until(&mut changes, 100).await;
        (model, changes)
    };
    let (mut one, mut two) = tokio::join!(follow(persist.clone()), follow(other.clone()));
    writers.join_all().await;
    let stored = sorted(persist.load().await.unwrap());
    assert!(stored.revision > 100);
    for (model, changes) in [&mut one, &mut two].map(|(model, changes)| (model, changes)) {
        model.follow_until(changes, stored.revision).await;
        assert_eq!(model.stored(), stored);
    }
    // Whoever was not there reads it all from the database.
    persist.close().await;
    drop((persist, other, one, two));
    let persist = database.open().await;
    let (mut model, mut changes) = (Model::default(), persist.changes(0));
    model.follow_until(&mut changes, stored.revision).await;
    assert_eq!(model.stored(), stored);
    let next = timeout(Duration::from_millis(1), changes.next());
    assert!(next.await.is_err(), "there is no more");
}

async fn who_is_too_far_behind_is_given_everything(database: Database) {
    let settings = Settings { audit_changes_max: 100, ..database.settings() };
    let persist = Persist::open(&settings).await.unwrap();
    let mut writers = JoinSet::new();
    for number in 0..1200u32 {
        let persist = persist.clone();
        writers.spawn(async move {
            persist.commit(commit([put(&format!("n{}", number % 50), &address(number))])).await.unwrap();
        });
    }
    writers.join_all().await;
    persist.close().await;
    drop(persist);
    let persist = Persist::open(&settings).await.unwrap();
    let page = persist.audit(&AuditFilter { limit: 1000, ..AuditFilter::default() }).await.unwrap();
    assert!((100..700).contains(&page.len()), "{} changes are kept", page.len());
    let mut changes = persist.changes(3);
    let Followed::Reload(stored) = changes.next().await else { panic!("changes after 3 are forgotten") };
    assert_eq!(sorted(*stored), sorted(persist.load().await.unwrap()));
    persist.commit(commit([put("next", "10.0.0.1")])).await.unwrap();
    assert!(matches!(changes.next().await, Followed::Change(change) if change.revision == 1201));
}

async fn a_database_that_is_set_back_is_read_anew(database: Database) {
    let persist = database.open().await;
    for number in 1..=5 {
        persist.commit(commit([put("a", &address(number))])).await.unwrap();
    }
    let (mut model, mut changes) = (Model::default(), persist.changes(0));
    model.follow_until(&mut changes, 5).await;
    // As a backup of revision 2 would be; then something else becomes revision 3.
    database.run("UPDATE counter SET revision = 2; DELETE FROM changes WHERE revision > 2; DELETE FROM change_items WHERE revision > 2").await;
    persist.commit(commit([put("b", "10.0.0.1")])).await.unwrap();
    if database.cluster.is_none() {
        // Nobody looks by itself at a file that only this process writes; the next start reads it anew.
        return;
    }
    let Followed::Reload(stored) = changes.next().await else { panic!("the revisions are other ones") };
    assert_eq!(stored.revision, 3);
    persist.commit(commit([put("c", "10.0.0.1")])).await.unwrap();
    assert!(matches!(changes.next().await, Followed::Change(change) if change.revision == 4));
}

async fn a_change_that_cannot_be_read_does_not_stop_those_behind_it(database: Database) {
    let persist = database.open().await;
    for number in 0..5 {
        persist.commit(commit([put("a", &address(number))])).await.unwrap();
    }
    persist.close().await;
    drop(persist);
    database.run("UPDATE change_items SET after = 'damaged' WHERE revision = 3").await;
    let persist = database.open().await;
    let mut changes = persist.changes(1);
    let Followed::Reload(stored) = changes.next().await else { panic!("it is read") };
    assert_eq!(sorted(*stored), sorted(persist.load().await.unwrap()));
    persist.commit(commit([put("b", "10.0.0.1")])).await.unwrap();
    assert!(matches!(changes.next().await, Followed::Change(change) if change.revision == 6));
}

async fn the_audit_tells_who_changed_what(database: Database) {
    let persist = database.open().await;
    persist.commit(commit([put("a", "10.0.0.1"), StoredChange::Put(token("t1"))])).await.unwrap();
    let begun = SystemTime::now();
    let serials = vec![(name("corp.internal."), 1)];
    persist
        .commit(Commit { serials, audit: audit("other"), ..commit([put("a", "10.0.0.2")]) })
        .await
        .unwrap();
    let note = Note {
        zone: Some(name("privatelink.blob.core.windows.net.")),
        name: Some(name("app.privatelink.blob.core.windows.net.")),
        rtype: Some(RecordType::A),
        before: None,
        after: Some(r#"{"endpoint":"pe"}"#.into()),
    };
    let sync =
        Audit { source: Source::Sync, actor: "azure".into(), remote: None, request_id: None, comment: None };
    persist.commit(Commit { notes: vec![note.clone(); 30], ..Commit::by(sync) }).await.unwrap();
    let ask = async |filter: AuditFilter| -> Vec<u64> {
        let filter = AuditFilter { limit: if filter.limit == 0 { 100 } else { filter.limit }, ..filter };
        persist.audit(&filter).await.unwrap().iter().map(|entry| entry.revision).collect()
    };
    let all = AuditFilter::default;
    assert_eq!(ask(all()).await, [3, 2, 1]);
    assert_eq!(ask(AuditFilter { limit: 1, before: Some(3), ..all() }).await, [2]);
    assert_eq!(ask(AuditFilter { actor: Some("ops".into()), ..all() }).await, [1]);
    assert_eq!(ask(AuditFilter { source: Some(Source::Sync), ..all() }).await, [3]);
    assert_eq!(ask(AuditFilter { since: Some(begun), ..all() }).await, [3, 2]);
    assert_eq!(ask(AuditFilter { zone: Some(name("corp.internal.")), ..all() }).await, [2, 1]);
    let owner = Some(name("app.privatelink.blob.core.windows.net."));
    let rtype = Some(RecordType::A);
    assert_eq!(ask(AuditFilter { name: owner.clone(), rtype, ..all() }).await, [3]);
    assert!(ask(AuditFilter { name: owner, rtype: Some(RecordType::MX), ..all() }).await.is_empty());
    let page = persist.audit(&AuditFilter { limit: 10, ..all() }).await.unwrap();
    let change = &page[1];
    assert_eq!(
        (&*change.actor, change.source, change.remote),
        ("other", Source::Rest, Some([10, 0, 0, 9].into()))
    );
    assert_eq!(change.request_id.as_deref(), Some("req-1"));
    assert_eq!(
        change.comment.as_deref().map(|text| text.replace('\0', "\u{fffd}")),
        Some("why\u{fffd}not".into())
    );
    assert_eq!(change.serials, [(name("corp.internal."), 2)]);
    let item = &change.items[0];
    assert_eq!((item.kind, item.rtype), ("record-set", Some(RecordType::A)));
    assert_eq!(item.name.as_deref(), Some("a.corp.internal."));
    assert_eq!(item.before.as_deref(), Some(r#"{"ttl":300,"records":["10.0.0.1"]}"#));
    assert_eq!(item.after.as_deref(), Some(r#"{"ttl":300,"records":["10.0.0.2"]}"#));
    assert_eq!(page[2].items.len(), 2);
    assert_eq!((page[0].items_total, page[0].items.len()), (30, 20));
    assert_eq!(page[0].items[0].after, note.after);
    let rest = persist.audit_items(3, 20, 100).await.unwrap();
    assert_eq!((rest.len(), rest[0].position), (10, 20));
    // Who follows is told of the revision, which changes nothing here.
    let mut changes = persist.changes(2);
    assert!(matches!(changes.next().await, Followed::Change(change) if change.changes.is_empty()));
}

async fn documents_reach_those_who_follow(database: Database) {
    let persist = database.open().await;
    for text in ["one", "two"] {
        persist.commit(commit([StoredChange::Put(document(text))])).await.unwrap();
    }
    persist.commit(commit([StoredChange::Remove(document("").subject())])).await.unwrap();
    persist.commit(commit([StoredChange::Put(document("three"))])).await.unwrap();
    persist.close().await;
    drop(persist);
    let persist = database.open().await;
    let mut changes = persist.changes(0);
    let mut told = Vec::new();
    for _ in 0..4 {
        let Followed::Change(change) = changes.next().await else { panic!("nothing is forgotten") };
        told.extend(change.changes.iter().cloned());
    }
    // Not what has changed since: who is far behind would hold all of it.
    let removed = StoredChange::Remove(document("").subject());
    assert_eq!(told, [removed, StoredChange::Put(document("three"))]);
    assert_eq!(persist.load().await.unwrap().entries, [(document("three"), 4)]);
}

async fn a_commit_that_is_too_large_is_refused(database: Database) {
    let persist = database.open().await;
    let changes = vec![StoredChange::ClearZone(name("corp.internal.")); 200_001];
    let refused = persist.commit(commit(changes)).await;
    assert!(matches!(refused, Err(PersistError::TooLarge { .. })), "{refused:?}");
    assert!(matches!(persist.nudge(&"x".repeat(5000)).await, Err(PersistError::TooLarge { .. })));
    assert_eq!(persist.load().await.unwrap().revision, 0);
}

async fn nudges_are_heard(database: Database) {
    let persist = database.open().await;
    let other = if database.cluster.is_some() { database.open().await } else { persist.clone() };
    let mut nudges = other.nudges();
    // Nothing says when an instance that has just been opened listens.
    loop {
        persist.nudge("sync").await.unwrap();
        if let Ok(heard) = timeout(Duration::from_millis(200), nudges.recv()).await {
            assert_eq!(&*heard.unwrap(), "sync");
            break;
        }
    }
}

async fn a_large_commit_is_stored_and_followed(database: Database) {
    let persist = database.open().await;
    let changes = (0..20_000u32).map(|number| put(&format!("n{number}"), &address(number)));
    assert_eq!(persist.commit(commit(changes)).await.unwrap().revision, 1);
    let changes = (0..20_000u32)
        .map(|number| StoredChange::Remove(record_set(&format!("n{number}"), "A", &["10.0.0.1"]).subject()));
    let removed = persist.commit(commit(changes.skip(1))).await.unwrap();
    assert_eq!(removed.revision, 2);
    persist.close().await;
    drop(persist);
    let persist = database.open().await;
    let (mut model, mut changes) = (Model::default(), persist.changes(0));
    model.follow_until(&mut changes, 2).await;
    assert_eq!(model.entries.len(), 1);
    assert_eq!(model.stored(), sorted(persist.load().await.unwrap()));
}
