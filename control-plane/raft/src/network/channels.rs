//! One channel per node and purpose.

use std::{collections::HashMap, error::Error as _};

use hanse_identity::{ClientTls, connect_lazy};
use hanse_proto::raft::{peer_client::PeerClient, raft_client::RaftClient};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tonic::{Code, Status, transport::Channel};

use super::MAX_MESSAGE_BYTES;

/// What a connection is for. Heartbeats must not queue behind a snapshot, nor behind large writes that are being
/// forwarded, in the same TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Road {
    /// Votes, heartbeats, entries.
    Consensus,
    /// Snapshots; heartbeats that must overtake large entries.
    Bulk,
    /// Forwarded requests.
    Peer,
}

/// The channels to other nodes, made at first use; they connect, and connect again, by themselves.
pub(crate) struct Channels {
    tls: ClientTls,
    /// Where the connections' tasks run.
    runtime: Handle,
    /// By address: bounded by the addresses that members ever had.
    open: Mutex<HashMap<(String, Road), Channel>>,
}

impl Channels {
    pub(crate) fn new(tls: ClientTls, runtime: Handle) -> Self {
        Self { tls, runtime, open: Mutex::default() }
    }

    pub(crate) fn raft(&self, address: &str, road: Road) -> Result<RaftClient<Channel>, Status> {
        let client = RaftClient::new(self.channel(address, road)?);
        Ok(client.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    pub(crate) fn peer(&self, address: &str) -> Result<PeerClient<Channel>, Status> {
        let client = PeerClient::new(self.channel(address, Road::Peer)?);
        Ok(client.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    fn channel(&self, address: &str, road: Road) -> Result<Channel, Status> {
        let mut open = self.open.lock();
        let key = (address.to_owned(), road);
        if let Some(channel) = open.get(&key) {
            return Ok(channel.clone());
        }
        let _inside = self.runtime.enter();
        let channel = connect_lazy(address, self.tls.clone())
            .map_err(|error| Status::new(Code::InvalidArgument, error.to_string()))?;
        open.insert(key, channel.clone());
        Ok(channel)
    }
}

/// Whether a request failed for want of a connection: the other node has never seen it.
pub(crate) fn never_sent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
