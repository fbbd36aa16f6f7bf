//! Hearing what another agent knows of the region.

use std::time::Duration;

use hanse_identity::{ClientTls, connect, explain};
use hanse_process::telemetry;
use hanse_proto::sync::{RegionPart, WatchRegionRequest, neighbours_client::NeighboursClient};
use tokio::time::timeout;

use crate::MAX_MESSAGE_BYTES;

/// How long an agent may take to accept the call, once connected.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// A part comes every second. An agent that says nothing for so long is left for another.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// Passes what the agent at `address` says to `hear`, until there is nothing more to hear or `hear` refuses a part; why.
pub async fn watch_region(
    address: &str,
    tls: &ClientTls,
    mut hear: impl FnMut(RegionPart) -> Result<(), String>,
) -> String {
    let channel = match connect(address, tls.clone()).await {
        Ok(channel) => channel,
        Err(error) => return telemetry::causes(&error).to_string(),
    };
    let mut client = NeighboursClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let mut parts = match timeout(OPEN_TIMEOUT, client.watch_region(WatchRegionRequest {})).await {
        Ok(Ok(answer)) => answer.into_inner(),
        Ok(Err(status)) => return explain(&status),
        Err(_) => return format!("no answer within {OPEN_TIMEOUT:?}"),
    };
    loop {
        let part = match timeout(HEARD_WITHIN, parts.message()).await {
            Ok(Ok(Some(part))) => part,
            Ok(Ok(None)) => return "the agent ended the stream".to_owned(),
            Ok(Err(status)) => return explain(&status),
            Err(_) => return format!("nothing was heard for {HEARD_WITHIN:?}"),
        };
        if let Err(refused) = hear(part) {
            return refused;
        }
    }
}
