//! Writing: on the leader through the batcher, elsewhere through the leader.

use std::time::{SystemTime, UNIX_EPOCH};

use hanse_management::{Problem, ProblemName};
use hanse_proto::{
    control,
    raft::{ControlNode, ProposeRequest, propose_response},
};
use hanse_state::{Command, Outcome, Version, admission::Admitted};
use prost::Message;
use tokio::time::{Duration, Instant, timeout_at};

use super::{RaftGroup, no_quorum, stopped};
use crate::{
    batcher::{Decided, PROPOSAL_GIVE_UP, Undecided},
    member::Leader,
    network::never_sent,
};

/// Longest time for a write, waiting for a leader included.
const PROPOSE_TIMEOUT: Duration = PROPOSAL_GIVE_UP;

/// The leader answers a forwarded write so much earlier than its caller gives up, that the answer arrives.
const FORWARD_MARGIN: Duration = Duration::from_millis(250);

/// A larger command is refused: it could be written but never replicated. Admission allows 8 MiB of specs and labels; the rest is for
/// keys and framing.
pub(crate) const MAX_COMMAND_BYTES: usize = (8 << 20) + (64 << 10);

/// How far ahead of the leader's clock a command's time may be: synchronised clocks are closer by far.
const MAX_CLOCK_AHEAD: Duration = Duration::from_secs(60);

/// What came of one attempt at the leader.
pub(crate) enum Attempt {
    /// It was applied there.
    Decided(Decided),
    /// Nothing happened; try again, maybe elsewhere.
    Again,
    /// Nothing happened, and nothing will on this node.
    Stopped,
    /// It is over.
    Refused(Problem),
}

impl RaftGroup {
    pub(super) async fn propose_anywhere(&self, admitted: Admitted) -> Result<Outcome, Problem> {
        let version = admitted.version();
        let command = admitted.into_command();
        let began = Instant::now();
        let deadline = began + PROPOSE_TIMEOUT;
        let patience = began + self.member.timing.patience();
        let message = command.to_proto();
        check_size(&message)?;
        loop {
            let attempt = match self.member.leader() {
                Leader::Here => self.propose_here(command.clone(), message.clone(), patience, deadline).await,
                Leader::There(node) => self.forward(&node, message.clone(), version, deadline).await,
                Leader::Nowhere => Attempt::Again,
            };
            match attempt {
                Attempt::Decided(decided) => return self.applied_here(decided, deadline).await,
                Attempt::Refused(problem) => return Err(problem),
                Attempt::Stopped => return Err(stopped()),
                Attempt::Again => {}
            }
            if !self.member.wait_for_leader(patience.min(deadline)).await {
                return Err(no_quorum(format!(
                    "no control-plane node led with a quorum for {:?}",
                    self.member.timing.patience()
                )));
            }
        }
    }

    /// One attempt on this node.
    pub(crate) async fn propose_here(
        &self,
        mut command: Command,
        mut message: control::Command,
        taken_by: Instant,
        deadline: Instant,
    ) -> Attempt {
        if let Err(unknown) = command.check_version() {
            return Attempt::Refused(unknown.problem());
        }
        limit_time(&mut command, &mut message, now_ms());
        if let Err(problem) = self.look_at_seat(&mut command, &mut message) {
            return Attempt::Refused(problem);
        }
        match self.batcher.propose(command, message, taken_by.min(deadline), deadline).await {
            Ok(decided) => Attempt::Decided(decided),
            Err(Undecided::NotLeader) => Attempt::Again,
            Err(Undecided::NotTaken) => Attempt::Refused(no_quorum(
                "the write waited its turn in vain: those before it are not being acknowledged by a quorum",
            )),
            Err(Undecided::Stopped) => Attempt::Stopped,
            Err(Undecided::Unknown) => Attempt::Refused(unknown_fate()),
        }
    }

    /// One attempt at another node.
    async fn forward(
        &self,
        leader: &ControlNode,
        command: control::Command,
        version: Version,
        deadline: Instant,
    ) -> Attempt {
        let Ok(mut client) = self.member.channels.peer(&leader.raft_address) else { return Attempt::Again };
        let within = deadline.saturating_duration_since(Instant::now()).saturating_sub(FORWARD_MARGIN);
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let request = ProposeRequest { command: Some(command), within_ms, version: version.number() };
        let response = match timeout_at(deadline, client.propose(request)).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) if never_sent(&status) => return Attempt::Again,
            Ok(Err(status)) => {
                tracing::debug!(%status, leader = leader.name, "a forwarded write got no answer");
                return Attempt::Refused(unknown_fate());
            }
            Err(_) => return Attempt::Refused(unknown_fate()),
        };
        let log_index = response.log_index;
        match response.result {
            Some(propose_response::Result::Outcome(outcome)) => match Outcome::from_proto(outcome) {
                Ok(outcome) => Attempt::Decided(Decided { outcome, log_index }),
                Err(error) => Attempt::Refused(not_understood(&error)),
            },
            Some(propose_response::Result::NotLeader(_)) => Attempt::Again,
            Some(propose_response::Result::Problem(problem)) => {
                Attempt::Refused(Problem::from_proto(problem).unwrap_or_else(|error| not_understood(&error)))
            }
            None => Attempt::Refused(unknown_fate()),
        }
    }

    /// An outcome is told once this node, too, shows it.
    async fn applied_here(&self, decided: Decided, deadline: Instant) -> Result<Outcome, Problem> {
        if self.member.applied(decided.log_index + 1, deadline).await.is_some() {
            return Ok(decided.outcome);
        }
        match decided.outcome {
            Outcome::Rejected(_) => Ok(decided.outcome),
            Outcome::Accepted(accepted) => Err(Problem::new(
                ProblemName::UnknownFate,
                format!(
                    "the write was accepted as revision {}, but this node has not seen it yet",
                    accepted.revision
                ),
            )
            .remedy("read again, here later or from another control-plane node")),
        }
    }
}

/// The state's time never goes back: one node whose clock is far ahead would move it for all nodes and for good. So a
/// command from too far ahead gets the leader's time instead.
fn limit_time(command: &mut Command, message: &mut control::Command, now_ms: u64) {
    let ahead_ms = command.time_ms.saturating_sub(now_ms);
    if Duration::from_millis(ahead_ms) > MAX_CLOCK_AHEAD {
        tracing::warn!(ahead_ms, "a command's clock is ahead of the leader's; it gets the leader's time");
        command.time_ms = now_ms;
        message.time_ms = now_ms;
    }
}

/// Unix milliseconds; 0 if the clock is before that.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn check_size(command: &control::Command) -> Result<(), Problem> {
    let bytes = command.encoded_len();
    if bytes <= MAX_COMMAND_BYTES {
        return Ok(());
    }
    Err(Problem::new(
        ProblemName::TooLarge,
        format!("one change takes {bytes} bytes; the limit is {MAX_COMMAND_BYTES}"),
    )
    .remedy("split it into several smaller ones"))
}

fn unknown_fate() -> Problem {
    Problem::new(
        ProblemName::UnknownFate,
        "the write was handed on, but nobody said in time what became of it",
    )
    .remedy("read what you wrote before you write again, or repeat it with the same idempotency key")
}

fn not_understood(error: &hanse_proto::InvalidMessage) -> Problem {
    Problem::new(ProblemName::UnknownFate, format!("the leader's answer cannot be read: {error}"))
        .remedy("run the same version of Hanse on every control-plane node, then read what you wrote")
}

#[cfg(test)]
mod tests {
    use hanse_state::{CommandBody, Lineage};

    use super::*;

    #[test]
    fn only_times_far_ahead_are_replaced() {
        let now = 1_900_000_000_000;
        for (given, expected) in [
            (now - 86_400_000, now - 86_400_000),
            (now + 60_000, now + 60_000),
            (now + 60_001, now),
            (u64::MAX, now),
        ] {
            let body = CommandBody::StartLineage(Lineage { generation: 1, id: [7; 16], parent: None });
            let mut command = Command {
                actor: "test".to_owned(),
                request_id: String::new(),
                time_ms: given,
                idempotency_key: None,
                only_in_term: None,
                force_grants: false,
                origin: hanse_state::Origin::default(),
                body,
            };
            let mut message = command.to_proto();
            limit_time(&mut command, &mut message, now);
            assert_eq!((command.time_ms, message.time_ms), (expected, expected));
        }
    }
}
