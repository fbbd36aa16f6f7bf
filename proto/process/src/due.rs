//! Waits for a time that there may not be.

use std::time::Instant;

/// Returns at `due`; `None`: never. For a branch of a `select!` whose timer does not always run.
pub async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
