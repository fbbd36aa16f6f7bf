//! How this node's Raft talks to the others: gRPC over mutual TLS.

mod channels;
mod link;
mod snapshot_stream;

use std::{sync::Arc, time::Duration};

use hanse_proto::raft::ControlNode;
use openraft::RaftNetworkFactory;

pub(crate) use self::{
    channels::{Channels, Road, never_sent},
    link::Link,
};
use crate::{contact::Contact, options::Timing, reach::Reach, type_config::TypeConfig};

/// The most one message may take: a command of 8 MiB, a batch that was nearly full when it came, and their envelopes.
pub(crate) const MAX_MESSAGE_BYTES: usize = 12 << 20;

/// A snapshot is given up when no part of it, at most 1 MiB, moves for so long. Slower roads are of no use to Raft.
pub(crate) const PART_TIMEOUT: Duration = Duration::from_secs(60);

/// Makes links. Making one costs nothing: they share one channel per node and road.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) channels: Arc<Channels>,
    pub(crate) contact: Arc<Contact>,
    pub(crate) reach: Arc<Reach>,
    pub(crate) timing: Timing,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, node: &ControlNode) -> Link {
        Link::new(self.clone(), target, node.raft_address.clone())
    }
}
