//! From the tap to those who want to know.

use std::fs;
use std::path::Path;

use super::super::made::{event, query, reply, until};
use super::super::{AnswerPath, Event, Kind, Seen};
use super::*;
use crate::dns::Rcode;

fn observers() -> (Arc<Tap>, Observers) {
    let tap = Arc::<Tap>::default();
    (Arc::clone(&tap), Observers::new(tap, Arc::new(|_, _| None)))
}

fn logging(path: &Path) -> Settings {
    let query_log = query_log::Settings { path: Some(path.to_owned()), ..query_log::Settings::default() };
    Settings { query_log: Some(query_log), dnstap: None }
}

/// Leaves a query as those who answer do.
fn leave(tap: &Tap, name: &str, rcode: u8) {
    if tap.is_on() {
        let (event, query) = (event(), query(name));
        tap.leave(Seen { event: &event, query: &query, reply: &reply(&query, rcode), zone: &[] });
    }
}

/// Waits until a file has as many lines, and tells the names in them.
async fn names(path: &Path, lines: usize) -> Vec<String> {
    let text = || fs::read_to_string(path).unwrap_or_default();
    until(|| text().lines().count() >= lines).await;
    text().lines().map(|line| line.split(' ').nth(3).unwrap().to_owned()).collect()
}

#[tokio::test]
async fn lines_go_to_a_file_and_after_a_rename_to_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let (path, renamed) = (folder.path().join("queries"), folder.path().join("queries.1"));
    let (tap, observers) = observers();
    observers.configure(&logging(&path));
    leave(&tap, "a.example.", 0);
    assert_eq!(names(&path, 1).await, ["a.example."]);
    fs::rename(&path, &renamed).unwrap();
    leave(&tap, "b.example.", 0);
    assert_eq!(names(&renamed, 2).await, ["a.example.", "b.example."]);
    observers.reopen();
    until(|| path.exists()).await;
    leave(&tap, "c.example.", 0);
    assert_eq!(names(&path, 1).await, ["c.example."]);
    assert_eq!(fs::read_to_string(&renamed).unwrap().lines().count(), 2);
    assert_eq!(observers.lines().written.value(), 3);
}

#[tokio::test]
async fn a_reload_exchanges_who_wants_to_know_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["one", "two"].map(|name| folder.path().join(name));
    let (tap, observers) = observers();
    assert!(!tap.is_on());
    for path in &paths {
        let mut settings = logging(path);
        settings.query_log.as_mut().unwrap().filter.rcodes = vec![Rcode::NXDOMAIN];
        observers.configure(&settings);
        leave(&tap, "a.example.", 3);
        leave(&tap, "b.example.", 0);
    }
    observers.configure(&Settings::default());
    assert!(!tap.is_on());
    leave(&tap, "c.example.", 3);
    for path in &paths {
        assert_eq!(names(path, 1).await, ["a.example."]);
    }
    observers.stop().await;
}

#[tokio::test]
async fn at_the_end_all_that_was_seen_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queries");
    let (tap, observers) = observers();
    observers.configure(&logging(&path));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1000).for_each(|_| leave(&tap, "a.example.", 0)));
        }
    });
    observers.stop().await;
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 4000);
}

#[tokio::test]
async fn a_file_that_cannot_be_written_costs_lines_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing/queries");
    let (tap, observers) = observers();
    observers.configure(&logging(&path));
    leave(&tap, "a.example.", 0);
    let tally = Arc::clone(observers.lines());
    until(|| tally.dropped.value() > 0).await;
    fs::create_dir(folder.path().join("missing")).unwrap();
    observers.reopen();
    leave(&tap, "b.example.", 0);
    assert_eq!(names(&path, 1).await, ["b.example."]);
    observers.stop().await;
    assert_eq!((tally.written.value(), tally.dropped.value()), (1, 1));
}

#[tokio::test]
async fn the_busiest_are_counted_from_the_first_look_on() {
    let (tap, observers) = observers();
    leave(&tap, "a.example.", 0);
    assert_eq!(observers.busiest().queries, 0);
    for name in ["b.example.", "c.example.", "c.example."] {
        leave(&tap, name, 0);
    }
    let own = Event { kind: Kind::Forwarder, ..event() };
    tap.leave(Seen { event: &own, query: &query("d.example."), reply: &[], zone: &[] });
    let told = observers.busiest();
    let names: Vec<String> = told.names.iter().map(|(name, count)| format!("{name} {count}")).collect();
    assert_eq!((told.queries, names), (3, vec!["c.example. 2".to_owned(), "b.example. 1".to_owned()]));
    // The path is no matter.
    let stale = Kind::Client { path: AnswerPath::Stale, upstream: None };
    let (event, query) = (Event { kind: stale, ..event() }, query("b.example."));
    tap.leave(Seen { event: &event, query: &query, reply: &[], zone: &[] });
    assert_eq!(observers.busiest().queries, 4);
}
