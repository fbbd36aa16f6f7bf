//! How one node's replica is set up.

use std::{path::PathBuf, time::Duration};

use hanse_process::seeded;
use hanse_proto::raft::ControlNode;

use crate::log_store::LogPlace;

/// Where the log and the snapshots are, in a node's data directory.
pub const LOG_DIR: &str = "raft";

/// The file in a node's data directory that says what the log must at least hold. Beside [`LOG_DIR`], so that a log that is
/// deleted or put back from a copy is noticed.
pub const WITNESS_FILE: &str = "raft.witness";

/// How one node's replica is set up.
#[derive(Debug, Clone)]
pub struct RaftOptions {
    /// This node's id: never 0, never used before by another data directory.
    pub id: u64,
    /// This node's name, `cp-1`.
    pub name: String,
    /// Log and snapshots go to `raft/` below it.
    pub data_dir: PathBuf,
    /// This node is a member of a group already, so that an empty log is a lost one.
    pub is_member: bool,
    /// How the others reach this node.
    pub self_node: ControlNode,
    /// Heartbeats and elections.
    pub timing: Timing,
    /// When the log is replaced by a snapshot.
    pub compaction: Compaction,
    /// A seeded bug, dev builds only: a restarted leader goes on in its old term, and a leader answers a read with what it
    /// has applied instead of waiting for its term's own entry.
    pub(crate) read_index_without_own_term: bool,
    /// Dev builds only: no commit mark reaches the disk, as at the worst loss of power. A restart must bear it.
    pub(crate) commit_mark_lost: bool,
}

impl RaftOptions {
    /// Defaults for the node that `self_node` describes.
    pub fn new(self_node: ControlNode, data_dir: impl Into<PathBuf>) -> Self {
        let read_index_without_own_term = seeded("read-index-without-own-term");
        Self {
            id: self_node.id,
            name: self_node.name.clone(),
            data_dir: data_dir.into(),
            is_member: false,
            self_node,
            timing: Timing::default(),
            compaction: Compaction::default(),
            read_index_without_own_term,
            // The further the mark lies behind, the longer the bug shows.
            commit_mark_lost: read_index_without_own_term || seeded("commit-mark-lost"),
        }
    }
}

/// Heartbeats and elections. The same on every node of a group. A heartbeat must be longer than a round trip between any
/// two nodes plus a sync of the disk; between distant regions use [`Timing::for_round_trip`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats; also how long an answer to one is waited for.
    pub heartbeat: Duration,
    /// The shortest wait before an election.
    pub election_min: Duration,
    /// The longest wait before an election; also the leader's lease.
    pub election_max: Duration,
}

impl Default for Timing {
    /// For nodes of one region: a lost leader is replaced within about 1.1 to 2 s. Shorter ones fall apart under load.
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(500),
            election_max: Duration::from_millis(700),
        }
    }
}

impl Timing {
    /// For nodes whose slowest round trip is this long: the defaults, scaled up where that is needed.
    pub fn for_round_trip(round_trip: Duration) -> Self {
        let default = Self::default();
        let heartbeat = default.heartbeat.max(round_trip * 2);
        let scale = |time: Duration| time * u32::try_from(heartbeat.as_millis()).unwrap_or(u32::MAX) / 100;
        Self {
            heartbeat,
            election_min: scale(default.election_min),
            election_max: scale(default.election_max),
        }
    }

    /// How long a leader counts as having a quorum after it last heard from one.
    pub(crate) fn lease(self) -> Duration {
        self.election_max
    }

    /// How long a request waits for a leader with a quorum: a lease and two elections, one of which may be a draw.
    pub(crate) fn patience(self) -> Duration {
        self.election_max * 5
    }
}

/// When the log is replaced by a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compaction {
    /// Log entries between two snapshots.
    pub snapshot_after: u64,
    /// Log entries kept behind a snapshot, so that a node that was away for a moment needs no snapshot.
    pub keep: u64,
}

impl Default for Compaction {
    /// An entry is a batch of up to 64 commands, usually a few KB: some tens of MB on disk.
    fn default() -> Self {
        // The test release reads and writes snapshots within a short test.
        if cfg!(feature = "next") {
            return Self { snapshot_after: 40, keep: 20 };
        }
        Self { snapshot_after: 5_000, keep: 5_000 }
    }
}

/// Longest time a snapshot may take to be sent and installed, as openraft is told: none, in effect, because the roads
/// differ too much. The link gives up when nothing arrives any more.
const INSTALL_SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Entries in one message at most; the log store's reader limits their bytes.
const MAX_PAYLOAD_ENTRIES: u64 = 300;

impl RaftOptions {
    pub(crate) fn log_place(&self) -> LogPlace {
        LogPlace {
            dir: self.data_dir.join(LOG_DIR).join("log"),
            witness: self.data_dir.join(WITNESS_FILE),
            owner: self.id,
            is_member: self.is_member,
        }
    }

    pub(crate) fn openraft(&self) -> openraft::Config {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let Compaction { snapshot_after, keep } = self.compaction;
        openraft::Config {
            cluster_name: "hanse".to_owned(),
            heartbeat_interval: millis(self.timing.heartbeat),
            election_timeout_min: millis(self.timing.election_min),
            election_timeout_max: millis(self.timing.election_max),
            install_snapshot_timeout: millis(INSTALL_SNAPSHOT_TIMEOUT),
            max_payload_entries: MAX_PAYLOAD_ENTRIES,
            snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(snapshot_after),
            max_in_snapshot_log_to_keep: keep,
            // openraft asks for more than lies between two snapshots.
            replication_lag_threshold: snapshot_after.saturating_add(keep).saturating_add(1),
            ..openraft::Config::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distant_regions_get_slower_elections() {
        assert_eq!(Timing::for_round_trip(Duration::from_millis(5)), Timing::default());
        let slow = Timing::for_round_trip(Duration::from_millis(150));
        assert_eq!(slow.heartbeat, Duration::from_millis(300));
        assert_eq!(slow.election_min, Duration::from_millis(1500));
        assert_eq!(slow.election_max, Duration::from_millis(2100));
    }

    #[test]
    fn openraft_accepts_the_defaults() {
        let node = ControlNode { id: 1, name: "cp-1".to_owned(), ..ControlNode::default() };
        RaftOptions::new(node, "unused").openraft().validate().unwrap();
    }
}
