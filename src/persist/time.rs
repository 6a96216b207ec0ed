//! When something must be done, and when it was.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, timeout_at};

use super::error::PersistError;

/// What is not done by then counts as a database that is gone.
pub(super) async fn by<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, PersistError>>,
) -> Result<T, PersistError> {
    timeout_at(deadline, work).await.unwrap_or_else(|_| Err(PersistError::unavailable(None)))
}

/// Milliseconds since 1970.
pub(super) fn unix_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
