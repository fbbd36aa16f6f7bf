//! Hearing who is revoked from publishers that are not followed.

use std::time::Duration;

use hanse_identity::{ClientTls, connect, explain};
use hanse_process::{Shutdown, backoff::Backoff, telemetry};
use hanse_proto::sync::{WatchRevokedRequest, sync_client::SyncClient};
use hanse_sync::Revoked;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::{KeptRevocations, MAX_MESSAGE_BYTES};

/// First ceiling of the wait between attempts: a publisher that restarts is back within a second.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
/// Last ceiling: how late a node may hear of a revocation from a publisher that is back, against how often thousands of
/// them knock.
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// How long a publisher may take to accept the call, once connected.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Tells `kept` what the publisher at `address` says, until the shutdown.
///
/// A publisher that is followed may be the one that is revoked, and would not say so: the others are heard too.
pub async fn watch_revoked(address: String, tls: ClientTls, kept: KeptRevocations, shutdown: Shutdown) {
    let mut backoff = Backoff::new(MIN_BACKOFF, MAX_BACKOFF);
    loop {
        let reason = tokio::select! {
            () = shutdown.wait() => return,
            reason = hear(&address, &tls, &kept, &mut backoff) => reason,
        };
        debug!(publisher = address, reason, "does not say who is revoked now");
        tokio::select! {
            () = shutdown.wait() => return,
            () = tokio::time::sleep(backoff.next()) => {}
        }
    }
}

/// Listens until there is nothing more to hear; why.
async fn hear(address: &str, tls: &ClientTls, kept: &KeptRevocations, backoff: &mut Backoff) -> String {
    let channel = match connect(address, tls.clone()).await {
        Ok(channel) => channel,
        Err(error) => return telemetry::causes(&error).to_string(),
    };
    let mut client = SyncClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    // The answer's head comes with the first list at the latest, and there may be none for long: headers are sent at once.
    let mut lists = match timeout(OPEN_TIMEOUT, client.watch_revoked(WatchRevokedRequest {})).await {
        Ok(Ok(answer)) => answer.into_inner(),
        Ok(Err(status)) => return explain(&status),
        Err(_) => return format!("no answer within {OPEN_TIMEOUT:?}"),
    };
    loop {
        match lists.message().await {
            Ok(Some(message)) => match Revoked::try_from(message) {
                Ok(revoked) => kept.take(&revoked),
                Err(error) => {
                    warn!(publisher = address, %error, "cannot read who is revoked");
                    return error.to_string();
                }
            },
            Ok(None) => return "the publisher ended the stream".to_owned(),
            Err(status) => return explain(&status),
        }
        backoff.reset();
    }
}
