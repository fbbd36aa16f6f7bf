//! The delta protocol, sans I/O: replicas, content roots, and the two sides of a stream as state machines.
//!
//! - A publisher holds a [`Replica`] per scope and one [`PublisherSession`] per subscriber.
//! - A subscriber holds the same kind of replicas and one [`SubscriberSession`] per connection.
//!
//! Messages go in, messages and effects come out, and time is an argument. So the same code runs in the control plane, the agent,
//! the gateway and the tests. `docs/protocol.md` says what each message means.
//!
//! Nothing here knows sockets, tasks, clocks or disks. Nothing here decodes a runtime resource: values are opaque bytes from
//! one end of the federation to the other.

mod ack;
mod boot;
mod content_root;
mod heads;
mod publisher;
mod quarantine;
mod replica;
mod revoked;
mod subscriber;
mod trusted;

#[cfg(test)]
mod examples;
#[cfg(test)]
mod world;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use hanse_proto::places::PLACES;
use hanse_topology::ScopeId;

pub use ack::ScopeAck;
pub use boot::{BootId, Boots};
pub use content_root::ContentRoot;
pub use hanse_proto::sync::HeadSignature;
pub use heads::{Disbelief, Heads, MAX_LOCAL_BYTES, MAX_LOCAL_KEYS, NoHeads};
pub use publisher::{HeldHead, ProtocolError, PublisherSession, Received, SnapshotReason};
pub use quarantine::{Exceptions, Quarantine};
pub use replica::{
    AdvanceError, Changes, Head, LastGoodRecord, Prepared, Record, Replica, RestoreError, Seen, Size,
};
pub use revoked::Revoked;
pub use subscriber::{Alarm, Effect, Patience, Standing, SubscriberSession, Wanted};
pub use trusted::{TrustedRoot, TrustedRoots};

/// Deltas carry last good versions, as snapshots do.
const LAST_GOOD_IN_DELTAS: &str = "last good in deltas";
/// The features of the protocol beyond its first form that this version knows, by name.
const FEATURES: [&str; 2] = [LAST_GOOD_IN_DELTAS, PLACES];

/// The replicas of one node, by scope.
pub type ReplicaMap = BTreeMap<ScopeId, Replica>;

/// The age of a contact that never was: longer than any outage.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// How sure a publisher is that what it holds is what the leader committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// When this node last confirmed contact with the leader, by its own monotonic clock.
    pub confirmed_at: Instant,
    /// Whether that leader had a quorum.
    pub quorum: bool,
}

impl Freshness {
    /// What a node says that has confirmed nothing since it started at `now`: it is no fresher than one that was cut off long
    /// ago.
    pub fn unconfirmed(now: Instant) -> Self {
        Self { confirmed_at: now.checked_sub(NEVER).unwrap_or(now), quorum: false }
    }
}
