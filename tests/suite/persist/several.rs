//! Several who share one database and know nothing of each other.

use std::time::Duration;

use privatelink_dns::persist::{Followed, Persist, Settings};

use super::{Database, address, commit, put, within};

/// A revision comes long before anyone looks for it unasked.
const SOON: Duration = Duration::from_millis(1_500);

async fn in_schema(database: &Database, schema: &str) -> Persist {
    let settings = database.settings();
    let url = format!("{}?options[search_path]={schema}", settings.url);
    Persist::open(&Settings { url, ..settings }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deployments_in_two_schemas_of_one_database_do_not_hear_each_other() {
    let Some(database) = Database::postgres() else { return };
    database.run("CREATE SCHEMA one; CREATE SCHEMA two").await;
    let (busy, quiet) = (in_schema(&database, "one").await, in_schema(&database, "two").await);
    let beside = in_schema(&database, "two").await;
    let (mut changes, mut nudges) = (beside.changes(0), beside.nudges());
    for number in 0..50 {
        busy.commit(commit([put("a", &address(number))])).await.unwrap();
    }
    busy.nudge("not meant for others").await.unwrap();
    for revision in 1..=3 {
        quiet.commit(commit([put("b", &address(revision))])).await.unwrap();
        let next = tokio::time::timeout(SOON, changes.next()).await.expect("it is heard of");
        assert!(matches!(next, Followed::Change(change) if change.revision == u64::from(revision)));
        busy.commit(commit([put("a", &address(100 + revision))])).await.unwrap();
    }
    quiet.nudge("meant").await.unwrap();
    assert_eq!(&*within(nudges.recv()).await.unwrap(), "meant");
}

/// Whoever may write to the database may notify of anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn word_of_a_revision_that_is_not_there_keeps_nobody_from_those_that_are() {
    let Some(database) = Database::postgres() else { return };
    let (one, two) = (database.open().await, database.open().await);
    let mut changes = two.changes(0);
    for revision in 1..=3 {
        database.run("SELECT pg_notify('privatelink_dns_changes', 'public 1000000')").await;
        one.commit(commit([put("b", &address(revision))])).await.unwrap();
        let next = tokio::time::timeout(SOON, changes.next()).await.expect("it is heard of");
        assert!(matches!(next, Followed::Change(change) if change.revision == u64::from(revision)));
    }
}
