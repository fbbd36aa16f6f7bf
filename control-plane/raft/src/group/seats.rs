//! Which node has a name in the group: the one that the state admitted to it. A node that runs keeps its place, unless an
//! operator's token says `force`.

use hanse_management::{Problem, ProblemName};
use hanse_proto::{control, raft::ControlNode};
use hanse_state::{
    Command, CommandBody, GONE_AFTER, Incumbent, RUNS_WITHIN, SEAT_UNDECIDED,
    port::{Consistency, Replicated},
    server_identity,
};

use super::{Change, RaftGroup};
use crate::type_config::NodeId;

impl RaftGroup {
    /// On the leader: completes a command that asks for a place with what is known here of the node that has it. The leader
    /// hears every node that runs, and no other node is asked.
    pub(super) fn look_at_seat(
        &self,
        command: &mut Command,
        message: &mut control::Command,
    ) -> Result<(), Problem> {
        let CommandBody::UseJoinToken { joiner, seat: Some(seat), .. } = &mut command.body else {
            return Ok(());
        };
        let others = self.others(seat.node_id, |name| server_identity(name) == *joiner);
        if others.contains(&self.member.id) {
            return Err(name_of_the_leader(&self.member.name));
        }
        seat.incumbent = if others.is_empty() {
            Incumbent::None
        } else if others.iter().all(|id| self.is_gone(*id)) {
            Incumbent::Silent
        } else if others.iter().any(|id| self.member.reach.heard_within(*id, RUNS_WITHIN)) {
            Incumbent::Heard
        } else {
            let detail =
                format!("the control node that has the name of {joiner} is silent, and may come back");
            return Err(Problem::new(ProblemName::JoinRefused, detail)
                .at(SEAT_UNDECIDED)
                .remedy(format!("try again once it has been silent for {GONE_AFTER:?}")));
        };
        *message = command.to_proto();
        Ok(())
    }

    /// On the leader: whether this node may have the place of its name. It may where the state admitted it with this id, and
    /// the node before it is gone. A node that is a member already, and alone under its name, keeps its place.
    pub(super) async fn check_seat(&self, node: &ControlNode) -> Result<(), Change> {
        let others = self.namesakes(node);
        let metrics = self.member.metrics();
        let is_member = metrics.membership_config.membership().get_node(&node.id).is_some();
        if is_member && others.is_empty() {
            return Ok(());
        }
        let refused = |detail: String, remedy: &str| {
            Err(Change::Refused(Problem::new(ProblemName::Conflict, detail).remedy(remedy)))
        };
        // A leader that has just been elected may not have applied yet what admitted the node.
        let state = self.read(Consistency::Linearizable).await.map_err(Change::Refused)?;
        let seat = state.member(&server_identity(&node.name)).and_then(|member| member.seat);
        match seat {
            // Admitted before places were kept.
            None if others.is_empty() => Ok(()),
            Some(seat) if seat.node_id == node.id => {
                if seat.forced || others.iter().all(|id| self.is_gone(*id)) {
                    return Ok(());
                }
                refused(
                    format!("the control node that had the name {} before runs", node.name),
                    "stop the old node, wait a moment (it counts as gone once it was silent for some seconds), and start this one \
                     again; or, if it cannot be stopped, join with a token made with --force",
                )
            }
            Some(_) | None => refused(
                format!("the place of {} belongs to another node than {}", node.name, node.id),
                "join again, under a name of its own, or with a token made with --replace if the other node is gone",
            ),
        }
    }

    fn is_gone(&self, id: NodeId) -> bool {
        id != self.member.id && self.member.reach.is_gone(id, GONE_AFTER)
    }
}

/// A leader does not take itself out of the group.
pub(super) fn name_of_the_leader(name: &str) -> Problem {
    let detail = format!("{name} is the name of the control node that leads");
    Problem::new(ProblemName::JoinRefused, detail)
        .remedy("give the new node a name of its own; or stop the old node first, so that another one leads")
}
