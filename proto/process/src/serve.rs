//! Binding a role's faces, and waiting for what serves them.

use std::{io, time::Duration};

use tokio::{net::TcpListener, task::JoinSet};
use tracing::{info, warn};

/// How long streams and requests under way get at a stop. Subscribers and operators try another node at once, so nothing
/// is gained by holding on for longer.
const DRAIN: Duration = Duration::from_secs(3);

/// An address that cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for {face} (listen.{face}); is it in use, or not an address of this machine?"
)]
pub struct BindError {
    /// The face, as in the configuration.
    pub face: &'static str,
    /// The address.
    pub address: String,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// Binds `address`, `host:port`, for the face of that name in the configuration.
pub async fn bind(face: &'static str, address: &str) -> Result<TcpListener, BindError> {
    let listener = TcpListener::bind(address).await.map_err(|source| BindError {
        face,
        address: address.to_owned(),
        source,
    })?;
    info!(face, address, "listening");
    Ok(listener)
}

/// Waits for tasks that have noticed the shutdown, and ends those that do not come to an end.
pub async fn drain(mut tasks: JoinSet<()>) {
    let drained = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        warn!(left = tasks.len(), "ending tasks that did not stop in time");
        tasks.abort_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_in_use_is_named_with_its_face() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let error = bind("raft", &address).await.unwrap_err().to_string();
        assert!(error.contains("listen.raft") && error.contains(&address), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_does_not_wait_for_ever() {
        let mut tasks = JoinSet::new();
        tasks.spawn(std::future::pending());
        drain(tasks).await;
    }
}
