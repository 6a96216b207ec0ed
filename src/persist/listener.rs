//! Hears from PostgreSQL what other instances wrote, and looks for itself when it might have missed something.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::error::PersistError;
use super::postgres::PostgresServer;
use super::shared::Shared;
use super::target::{CHANGES_CHANNEL, NUDGES_CHANNEL};
use crate::telemetry::in_full;

/// Without a word for so long the database is asked: a connection can die without a sound.
const ASK_AFTER: Duration = Duration::from_secs(2);
/// A connection that is not made by then is tried anew.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// The first and the longest wait before a lost connection is tried again.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Listens for as long as the task lives.
pub(super) async fn listen(shared: Arc<Shared>, server: PostgresServer) {
    let mut wait = RECONNECT.0;
    let mut is_lost = false;
    loop {
        let error = match connect(&shared, &server).await {
            Ok((listener, schema)) => {
                if std::mem::replace(&mut is_lost, false) {
                    info!("Changes of other instances are heard of again");
                }
                wait = RECONNECT.0;
                shared.is_deaf.store(false, Ordering::Relaxed);
                receive(&shared, listener, &schema).await
            }
            Err(error) => error,
        };
        shared.is_deaf.store(true, Ordering::Relaxed);
        if !std::mem::replace(&mut is_lost, true) {
            warn!(
                "Changes of other instances are not heard of, the store's connection is lost: {}",
                in_full(&error)
            );
        }
        sleep(wait).await;
        wait = (wait * 2).min(RECONNECT.1);
    }
}

/// Begins to listen, then looks: in this order nothing falls between.
async fn connect(shared: &Shared, server: &PostgresServer) -> Result<(PgListener, String), PersistError> {
    let listening = timeout(CONNECT_WITHIN, server.listen([CHANGES_CHANNEL, NUDGES_CHANNEL])).await;
    let listener = listening.unwrap_or_else(|_| Err(PersistError::unavailable(None)))?;
    shared.look().await?;
    Ok(listener)
}

/// Passes on what is heard, until the connection is lost.
async fn receive(shared: &Shared, mut listener: PgListener, schema: &str) -> PersistError {
    loop {
        match timeout(ASK_AFTER, listener.try_recv()).await {
            Ok(Ok(Some(heard))) => match heard.payload().strip_prefix(schema) {
                Some(topic) if heard.channel() == NUDGES_CHANNEL => shared.nudged(topic),
                Some(revision) => revision.parse().into_iter().for_each(|revision| shared.announce(revision)),
                // Of another deployment in this database.
                None => {}
            },
            Ok(Ok(None)) => return PersistError::unavailable(None),
            Ok(Err(error)) => return error.into(),
            Err(_) => match shared.look().await {
                // A connection that did not tell of it is deaf.
                Ok((known, revision)) if revision > known => return PersistError::unavailable(None),
                Ok(_) => {}
                Err(error) => return error,
            },
        }
    }
}
