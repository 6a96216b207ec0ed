//! What is left when the database, a session of it or our own process is killed.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use privatelink_dns::persist::{Entry, Persist, Settings};
use tokio::task::JoinSet;

use super::{Database, Model, address, commit, postgres, put, record_set, sorted, within};
use crate::support::postgres::{Cluster, Disk};

/// A database that dies with `immediate` loses nothing that was answered, and everyone goes on by themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_dies_loses_nothing_and_all_catch_up() {
    let Some(cluster) = Cluster::start(Disk::Synced) else { return };
    let database = Database { folder: tempfile::tempdir().unwrap(), cluster: Some(cluster) };
    let (persist, other) = (database.open().await, database.open().await);
    let follower = tokio::spawn({
        let other = other.clone();
        async move {
            let (mut model, mut changes) = (Model::default(), other.changes(0));
            while !model.entries.contains_key(&record_set("end", "A", &["10.0.0.1"]).subject()) {
                let next = model.revision + 1;
                model.follow_until(&mut changes, next).await;
            }
            model
        }
    });
    let mut writers = JoinSet::new();
    let is_over = Arc::new(AtomicBool::new(false));
    for writer in 0..8u32 {
        let (persist, is_over) = (persist.clone(), is_over.clone());
        writers.spawn(async move {
            let mut stored = Vec::new();
            for number in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let owner = format!("w{writer}-{number}");
                let begun = Instant::now();
                match persist.commit(commit([put(&owner, "10.0.0.1")])).await {
                    Ok(committed) => stored.push((owner, committed.revision)),
                    Err(error) => {
                        assert!(error.is_passing(), "{error:?}");
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
                assert!(begun.elapsed() < Duration::from_secs(5), "an answer took {:?}", begun.elapsed());
            }
            stored
        });
    }
    let cluster = database.cluster.as_ref().unwrap();
    let reached = async |persist: &Persist, least: u64| {
        let mut changes = persist.changes(0);
        while changes.revision() < least {
            changes.next().await;
        }
    };
    let mut least = 50;
    for _ in 0..3 {
        within(reached(&other, least)).await;
        cluster.kill();
        assert!(persist.load().await.unwrap_err().is_passing());
        let begun = Instant::now();
        let error = persist.commit(commit([put("down", "10.0.0.1")])).await.unwrap_err();
        assert!(error.is_passing(), "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(3), "it took {:?}", begun.elapsed());
        cluster.run_again();
        let back = within(async {
            loop {
                match persist.load().await {
                    Ok(stored) => break stored,
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        });
        least = back.await.revision + 50;
    }
    within(reached(&other, least)).await;
    is_over.store(true, Ordering::Relaxed);
    let answered: Vec<(String, u64)> = within(writers.join_all()).await.into_iter().flatten().collect();
    persist.commit(commit([put("end", "10.0.0.1")])).await.unwrap();
    let model = within(follower).await.unwrap();
    assert_eq!(model.stored(), sorted(persist.load().await.unwrap()));
    for (owner, revision) in answered {
        let subject = record_set(&owner, "A", &["10.0.0.1"]).subject();
        assert_eq!(model.entries.get(&subject).map(|(_, at)| *at), Some(revision), "{owner} was answered");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_taken_over_when_its_holder_dies() {
    let Some(database) = Database::postgres() else { return };
    let (one, two) = (database.open().await, database.open().await);
    let mut lease = within(one.lease("sync")).await;
    let elsewhere = within(two.lease("other")).await;
    let waiting = tokio::spawn({
        let two = two.clone();
        async move { two.lease("sync").await }
    });
    let holder = "SELECT l.pid::bigint FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) \
                  WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted ORDER BY a.backend_start LIMIT 1";
    let mut connection = postgres(&database.settings().url).await;
    let pid: i64 = sqlx::query_scalar(holder).fetch_one(&mut connection).await.unwrap();
    assert!(lease.is_held() && elsewhere.is_held() && !waiting.is_finished());
    // PostgreSQL ends all its sessions then, so both may be the next holder; only one is.
    let begun = Instant::now();
    database.cluster.as_ref().unwrap().kill_backend(pid);
    within(lease.lost()).await;
    assert!(!lease.is_held());
    let mut taken = within(waiting).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
    assert!(taken.is_held());
    // Given back, it is free at once; nobody else's session matters.
    let waiting = tokio::spawn(async move { one.lease("sync").await });
    drop(lease);
    let mut connection = postgres(&database.settings().url).await;
    let pid: i64 = sqlx::query_scalar(holder).fetch_one(&mut connection).await.unwrap();
    sqlx::query("SELECT pg_terminate_backend($1::int)").bind(pid).execute(&mut connection).await.unwrap();
    within(taken.lost()).await;
    let begun = Instant::now();
    let taken = within(waiting).await.unwrap();
    assert!(taken.is_held() && begun.elapsed() < Duration::from_secs(10));
    drop(taken);
    assert!(within(two.lease("sync")).await.is_held());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_one_instance_reaches_another_in_milliseconds() {
    let Some(database) = Database::postgres() else { return };
    let (one, two) = (database.open().await, database.open().await);
    let mut changes = two.changes(0);
    let mut took = Vec::new();
    for number in 0..50 {
        one.commit(commit([put("a", &address(number))])).await.unwrap();
        let answered = Instant::now();
        within(changes.next()).await;
        took.push(answered.elapsed());
    }
    took.sort();
    assert!(took[25] < Duration::from_millis(100), "the median is {:?}", took[25]);
}

/// Rounds of [`what_was_answered_survives_kill_9`]; more by `PERSIST_KILLS`.
const KILLS: usize = 20;
const CHILD: &str = "PERSIST_CHILD_FOLDER";

#[test]
fn what_was_answered_survives_kill_9() {
    let kills = std::env::var("PERSIST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let folder = tempfile::tempdir().unwrap();
    let mut answered = Vec::new();
    for round in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["persist::dying::a_child_that_writes", "--exact", "--nocapture", "--ignored"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // Another moment each round: after some answers, from the very first one on.
        let answers = (round * 37) % 200;
        let is_answer = |line: &String| line.starts_with("stored ");
        answered.extend(lines.by_ref().filter(is_answer).take(answers + 1));
        child.kill().unwrap();
        child.wait().unwrap();
        // What the pipe still holds was answered too; a last line may be cut off.
        answered.extend(lines.filter(is_answer).filter(|line| line.ends_with('.')));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let settings = Settings { state_dir: folder.path().into(), ..Settings::default() };
        let persist = Persist::open(&settings).await.unwrap();
        let stored = persist.load().await.unwrap();
        let there: HashMap<String, u64> = stored
            .entries
            .iter()
            .map(|(entry, revision)| match entry {
                Entry::RecordSet { name, .. } => (name.to_string(), *revision),
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(answered.len() > kills);
        for line in &answered {
            let [_, revision, owner] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            assert_eq!(there.get(owner).copied(), Some(revision.parse().unwrap()), "{line}");
        }
        let (mut model, mut changes) = (Model::default(), persist.changes(0));
        model.follow_until(&mut changes, stored.revision).await;
        assert_eq!(model.stored(), sorted(stored));
    });
}

/// Not a test of its own: [`what_was_answered_survives_kill_9`] runs it as another process.
#[test]
#[ignore = "it writes until it is killed"]
fn a_child_that_writes() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(write_forever(Path::new(&folder)));
}

async fn write_forever(folder: &Path) {
    let settings = Settings { state_dir: folder.into(), ..Settings::default() };
    let persist = Persist::open(&settings).await.unwrap();
    let begun = persist.load().await.unwrap().revision;
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let persist = persist.clone();
        writers.spawn(async move {
            for number in 0.. {
                let owner = format!("r{begun}-w{writer}-n{number}");
                let committed = persist.commit(commit([put(&owner, "10.0.0.1")])).await.unwrap();
                // One write a line, so that a kill leaves whole lines.
                println!("stored {} {owner}.corp.internal.", committed.revision);
            }
        });
    }
    writers.join_all().await;
}
