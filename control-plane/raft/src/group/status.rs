//! The group as this node sees it.

use std::time::Duration;

use hanse_state::port::{GroupStatus, NodeStatus};

use super::RaftGroup;

/// What "never" is reported as: long ago, and far from any overflow.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

impl RaftGroup {
    pub(super) fn status(&self) -> GroupStatus {
        let metrics = self.member.metrics();
        let membership = metrics.membership_config.membership();
        let voters: Vec<_> = membership.voter_ids().collect();
        let age = self.member.contact.as_of_age().unwrap_or(NEVER);
        let lease = self.member.timing.lease();
        let quorum = self.member.contact.within(lease);
        // Without a quorum Raft still names the leader that it knew last.
        let leader = metrics.current_leader.filter(|_| quorum);
        let nodes = membership.nodes().map(|(id, node)| NodeStatus {
            id: *id,
            name: node.name.clone(),
            role: match (Some(*id) == leader, voters.contains(id)) {
                (true, _) => "leader",
                (false, true) => "voter",
                (false, false) => "learner",
            },
            api_url: node.api_url.clone(),
            matched: metrics
                .replication
                .as_ref()
                .and_then(|replication| replication.get(id).copied().flatten())
                .map(|log_id| log_id.index),
        });
        GroupStatus {
            this: self.member.name.clone(),
            leader: leader.and_then(|leader| Some(membership.get_node(&leader)?.name.clone())),
            term: metrics.current_term,
            as_of_age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            up_to_date: age <= lease,
            quorum,
            nodes: nodes.collect(),
        }
    }
}
