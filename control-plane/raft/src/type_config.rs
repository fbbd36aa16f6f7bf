//! openraft's type parameters, filled in once.

use hanse_proto::raft::ControlNode;
use hanse_state::Outcome;

use crate::{batch::Batch, state_machine::SnapshotData};

openraft::declare_raft_types!(
    /// The types this crate runs openraft with. An entry of the log carries a batch of commands; its response is one
    /// outcome per command.
    pub(crate) TypeConfig:
        D = Batch,
        R = Vec<Outcome>,
        NodeId = u64,
        Node = ControlNode,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = SnapshotData,
        Responder = openraft::impls::OneshotResponder<TypeConfig>,
        AsyncRuntime = openraft::TokioRuntime,
);

pub(crate) type NodeId = u64;
pub(crate) type LogId = openraft::LogId<NodeId>;
pub(crate) type Vote = openraft::Vote<NodeId>;
pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type Membership = openraft::Membership<NodeId, ControlNode>;
pub(crate) type StoredMembership = openraft::StoredMembership<NodeId, ControlNode>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<NodeId, ControlNode>;
pub(crate) type Snapshot = openraft::Snapshot<TypeConfig>;
pub(crate) type Raft = openraft::Raft<TypeConfig>;
pub(crate) type StorageError = openraft::StorageError<NodeId>;
pub(crate) type Fatal = openraft::error::Fatal<NodeId>;
