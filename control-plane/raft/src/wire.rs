//! openraft's types to and from their messages, on the wire and on disk.

use std::collections::BTreeSet;

use hanse_proto::{InvalidMessage, raft};
use openraft::{CommittedLeaderId, EntryPayload};

use crate::{
    batch::Batch,
    type_config::{Entry, LogId, Membership, SnapshotMeta, StoredMembership, Vote},
};

pub(crate) fn vote(message: raft::Vote) -> Vote {
    let mut vote = Vote::new(message.term, message.node_id);
    vote.committed = message.committed;
    vote
}

pub(crate) fn vote_to_proto(vote: &Vote) -> raft::Vote {
    raft::Vote { term: vote.leader_id.term, node_id: vote.leader_id.node_id, committed: vote.committed }
}

pub(crate) fn required_vote(message: Option<raft::Vote>) -> Result<Vote, InvalidMessage> {
    message.map(vote).ok_or_else(|| InvalidMessage::new("vote", "it is missing"))
}

pub(crate) fn log_id(message: raft::LogId) -> LogId {
    LogId::new(CommittedLeaderId::new(message.term, message.node_id), message.index)
}

pub(crate) fn log_id_to_proto(log_id: &LogId) -> raft::LogId {
    raft::LogId { term: log_id.leader_id.term, node_id: log_id.leader_id.node_id, index: log_id.index }
}

pub(crate) fn membership(message: raft::Membership) -> Membership {
    let configs =
        message.configs.into_iter().map(|set| set.ids.into_iter().collect::<BTreeSet<_>>()).collect();
    Membership::new(configs, message.nodes)
}

pub(crate) fn membership_to_proto(membership: &Membership) -> raft::Membership {
    let configs = membership.get_joint_config().iter();
    raft::Membership {
        configs: configs.map(|ids| raft::VoterSet { ids: ids.iter().copied().collect() }).collect(),
        nodes: membership.nodes().map(|(id, node)| (*id, node.clone())).collect(),
    }
}

pub(crate) fn stored_membership(message: Option<raft::StoredMembership>) -> StoredMembership {
    let message = message.unwrap_or_default();
    StoredMembership::new(message.log_id.map(log_id), membership(message.membership.unwrap_or_default()))
}

pub(crate) fn stored_membership_to_proto(stored: &StoredMembership) -> raft::StoredMembership {
    raft::StoredMembership {
        log_id: stored.log_id().as_ref().map(log_id_to_proto),
        membership: Some(membership_to_proto(stored.membership())),
    }
}

pub(crate) fn snapshot_meta(message: raft::SnapshotMeta) -> SnapshotMeta {
    SnapshotMeta {
        last_log_id: message.last_log_id.map(log_id),
        last_membership: stored_membership(message.last_membership),
        snapshot_id: message.snapshot_id,
    }
}

pub(crate) fn snapshot_meta_to_proto(meta: &SnapshotMeta) -> raft::SnapshotMeta {
    raft::SnapshotMeta {
        last_log_id: meta.last_log_id.as_ref().map(log_id_to_proto),
        last_membership: Some(stored_membership_to_proto(&meta.last_membership)),
        snapshot_id: meta.snapshot_id.clone(),
    }
}

pub(crate) fn entry(message: raft::Entry) -> Result<Entry, InvalidMessage> {
    let log_id =
        message.log_id.map(log_id).ok_or_else(|| InvalidMessage::new("entry", "it has no log id"))?;
    let payload = match message.payload {
        Some(raft::entry::Payload::Blank(_)) => EntryPayload::Blank,
        Some(raft::entry::Payload::Batch(encoded)) => EntryPayload::Normal(Batch::from_encoded(encoded)),
        Some(raft::entry::Payload::Membership(message)) => EntryPayload::Membership(membership(message)),
        None => {
            return Err(InvalidMessage::new("entry", "its payload is missing or of a kind not known here"));
        }
    };
    Ok(Entry { log_id, payload })
}

pub(crate) fn entry_to_proto(entry: &Entry) -> raft::Entry {
    let payload = match &entry.payload {
        EntryPayload::Blank => raft::entry::Payload::Blank(true),
        EntryPayload::Normal(batch) => raft::entry::Payload::Batch(batch.encoded().clone()),
        EntryPayload::Membership(membership) => {
            raft::entry::Payload::Membership(membership_to_proto(membership))
        }
    };
    raft::Entry { log_id: Some(log_id_to_proto(&entry.log_id)), payload: Some(payload) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hanse_proto::raft::ControlNode;
    use prost::Message;

    use super::*;

    #[test]
    fn entries_survive_the_wire() {
        let node = |name: &str| ControlNode { name: name.to_owned(), ..ControlNode::default() };
        let joint = Membership::new(
            vec![BTreeSet::from([1, 2]), BTreeSet::from([1, 2, 3])],
            std::collections::BTreeMap::from([
                (1, node("a")),
                (2, node("b")),
                (3, node("c")),
                (4, node("learner")),
            ]),
        );
        for payload in [
            EntryPayload::Blank,
            EntryPayload::Normal(Batch::from_encoded(Bytes::from_static(b"opaque"))),
            EntryPayload::Membership(joint),
        ] {
            let before = Entry { log_id: LogId::new(CommittedLeaderId::new(3, 1), 77), payload };
            let bytes = entry_to_proto(&before).encode_to_vec();
            let after = entry(raft::Entry::decode(&bytes[..]).unwrap()).unwrap();
            assert_eq!(after, before);
        }
        assert!(entry(raft::Entry::default()).is_err());
    }

    /// What version 1 wrote must be read for ever.
    #[test]
    fn bytes_on_disk_do_not_change() {
        let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let log_id = LogId::new(CommittedLeaderId::new(3, 1), 77);
        let batch = EntryPayload::Normal(Batch::from_encoded(Bytes::from_static(b"opaque")));
        let node = ControlNode { id: 1, name: "cp-1".to_owned(), ..ControlNode::default() };
        let membership =
            Membership::new(vec![BTreeSet::from([1])], std::collections::BTreeMap::from([(1, node)]));
        for (payload, bytes) in [
            (EntryPayload::Blank, "0a0608031001184d1001"),
            (batch, "0a0608031001184d1a066f7061717565"),
            (
                EntryPayload::Membership(membership),
                "0a0608031001184d22130a030a010112 0c08011208080112 0463702d31",
            ),
        ] {
            let entry = Entry { log_id, payload };
            assert_eq!(hex(entry_to_proto(&entry).encode_to_vec()), bytes.replace(' ', ""));
        }
        assert_eq!(hex(vote_to_proto(&Vote::new_committed(4, 2)).encode_to_vec()), "080410021801");
        assert_eq!(hex(log_id_to_proto(&log_id).encode_to_vec()), "08031001184d");
    }

    #[test]
    fn votes_survive_the_wire() {
        for before in [Vote::new(4, 2), Vote::new_committed(4, 2)] {
            assert_eq!(vote(vote_to_proto(&before)), before);
        }
        assert!(required_vote(None).is_err());
    }
}
