//! Another process holds the lock of the store's database for longer than a write may wait.

use std::thread;

use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::support::client::ask;
use crate::support::served::{CLIENTS, NOTHING, Place};

/// Takes the lock that writers take, as a backup tool or a shell does.
fn lock(place: &Place) -> SqliteConnection {
    CLIENTS.block_on(async {
        let options = SqliteConnectOptions::new().filename(place.state().join("records.db"));
        let options = options.busy_timeout(crate::support::client::PATIENCE);
        let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
        connection
    })
}

fn unlock(connection: SqliteConnection) {
    CLIENTS.block_on(sqlx::Connection::close(connection)).unwrap();
}

#[test]
fn writes_wait_or_are_refused_with_a_time_to_come_back_and_nothing_is_lost() {
    let place = Place::new(NOTHING);
    let served = place.serve();
    served.well("POST /zones", json!({"name": "corp.internal"}));
    let put = |owner: &str| {
        let what = format!("PUT /zones/corp.internal/record-sets/{owner}/A");
        CLIENTS
            .block_on(served.client.send(&what, Some(&json!({"ttl": 60, "records": ["10.1.0.4"]}))))
            .unwrap()
    };
    assert_eq!(put("before").status, 201);
    let locked = lock(&place);
    // Several at once, which one commit would take.
    let refused: Vec<_> = thread::scope(|scope| {
        let writers: Vec<_> =
            (0..8).map(|number| scope.spawn(move || put(&format!("refused-{number}")))).collect();
        // Answers and lists go on meanwhile.
        assert_eq!(served.dns("before.corp.internal.", "A"), ["before.corp.internal. 60 A 10.1.0.4"]);
        assert_eq!(served.call("GET /zones/corp.internal/record-sets", None).0, 200);
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    for answer in &refused {
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.retry_after.is_some() && answer.text.contains("nothing was stored"), "{answer:?}");
    }
    assert!(ask(served.dns, "refused-0.corp.internal.", "A").answer.is_empty());
    // Those who come back are served once the lock is gone, without a restart.
    let stored: Vec<_> = thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|number| {
                let client = &served.client;
                scope.spawn(move || {
                    let what = format!("PUT /zones/corp.internal/record-sets/waits-{number}/A");
                    client.well(&what, json!({"ttl": 60, "records": ["10.1.0.4"]}))
                })
            })
            .collect();
        unlock(locked);
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    assert_eq!(stored.len(), 4);
    served.kill();
    let served = place.serve();
    for number in 0..4 {
        assert_eq!(served.dns(&format!("waits-{number}.corp.internal."), "A").len(), 1);
    }
    for number in 0..8 {
        assert_eq!(served.dns(&format!("refused-{number}.corp.internal."), "A").len(), 0);
    }
}
