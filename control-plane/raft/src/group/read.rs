//! Reading.

use std::sync::atomic::Ordering;

use hanse_management::{Problem, ProblemName, Revision};
use hanse_proto::raft::{ReadIndexRequest, read_index_response};
use hanse_state::{State, port::Consistency};
use tokio::time::{Duration, Instant, sleep, timeout, timeout_at};

use super::{RaftGroup, stopped};
use crate::{
    coalesce::Coalesced,
    member::{Leader, Member, NoReadIndex},
};

/// Longest time for a linearizable read; one election fits in.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest time for one attempt to confirm who leads.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);

/// Between two attempts to learn, after a start, how much must be shown: short beside an election, which most starts wait for.
const CONFIRM_PAUSE: Duration = Duration::from_millis(100);

impl RaftGroup {
    pub(super) async fn read_with(&self, consistency: Consistency) -> Result<State, Problem> {
        match consistency {
            Consistency::Stale => Ok(self.member.applied.borrow().state.clone()),
            Consistency::AtLeast(revision) => {
                let mut applied = self.member.applied.clone();
                let reached = applied.wait_for(|applied| applied.state.revision() >= revision).await;
                reached.map(|applied| applied.state.clone()).map_err(|_| stopped())
            }
            Consistency::Linearizable => self.read_linearizable(Instant::now() + READ_TIMEOUT).await,
        }
    }

    async fn read_linearizable(&self, deadline: Instant) -> Result<State, Problem> {
        let patience = deadline.min(Instant::now() + self.member.timing.patience());
        loop {
            let leader = self.member.leader();
            if leader != Leader::Nowhere {
                match timeout_at(deadline, self.read_index.ask()).await {
                    Ok(Some(Ok(count))) => {
                        let applied = self.member.applied(count, deadline).await;
                        return applied.map(|applied| applied.state).ok_or_else(|| {
                            unready("this node did not catch up with the leader in time".to_owned())
                        });
                    }
                    Ok(Some(Err(NoReadIndex::Stopped)) | None) => return Err(stopped()),
                    Ok(Some(Err(NoReadIndex::NotLeader | NoReadIndex::NoQuorum | NoReadIndex::NoAnswer)))
                    | Err(_) => {}
                }
            }
            if Instant::now() >= patience || !self.member.wait_for_leader(patience).await {
                return Err(unready("no control-plane node leads with a quorum".to_owned()));
            }
        }
    }

    /// On the leader, shared by all who ask at once.
    pub(crate) async fn read_index_here(&self) -> Result<u64, NoReadIndex> {
        if !self.member.leads() {
            return Err(NoReadIndex::NotLeader);
        }
        self.read_index.ask().await.unwrap_or(Err(NoReadIndex::Stopped))
    }

    pub(super) async fn next_state(&self, revision: Revision) -> State {
        let mut applied = self.member.applied.clone();
        if let Ok(applied) = applied.wait_for(|applied| applied.state.revision() > revision).await {
            return applied.state.clone();
        }
        // The replica has stopped: nothing will change any more.
        std::future::pending().await
    }
}

/// After a start: learns from a leader how much was committed, and waits until that is applied here. From then on this node
/// shows at least what it ever showed, for that was committed before it was shown.
pub(super) async fn confirm_start(member: Member, read_index: Coalesced<Result<u64, NoReadIndex>>) {
    while member.restarted() {
        match read_index.ask().await {
            Some(Ok(count)) => {
                // A leader that is lost meanwhile is asked for no more than this.
                if member.applied(count, Instant::now() + READ_TIMEOUT).await.is_some() {
                    member.restarted.store(false, Ordering::Release);
                }
            }
            Some(Err(NoReadIndex::Stopped)) | None => return,
            Some(Err(NoReadIndex::NotLeader | NoReadIndex::NoQuorum | NoReadIndex::NoAnswer)) => {
                sleep(CONFIRM_PAUSE).await;
            }
        }
    }
}

/// One attempt to learn how much a read must see, here or from the leader.
pub(super) async fn read_index(member: &Member) -> Result<u64, NoReadIndex> {
    let attempt = async {
        match member.leader() {
            Leader::Here => member.read_index().await,
            Leader::There(node) => {
                let mut client =
                    member.channels.peer(&node.raft_address).map_err(|_| NoReadIndex::NoAnswer)?;
                let request = ReadIndexRequest { target: node.id };
                let response = client.read_index(request).await.map_err(|_| NoReadIndex::NoAnswer)?;
                match response.into_inner().result {
                    Some(read_index_response::Result::ReadIndex(index)) => Ok(index.applied),
                    Some(read_index_response::Result::NotLeader(_)) => Err(NoReadIndex::NotLeader),
                    Some(read_index_response::Result::Problem(_)) | None => Err(NoReadIndex::NoAnswer),
                }
            }
            Leader::Nowhere => Err(NoReadIndex::NoQuorum),
        }
    };
    timeout(ATTEMPT_TIMEOUT, attempt).await.unwrap_or(Err(NoReadIndex::NoAnswer))
}

fn unready(detail: String) -> Problem {
    Problem::new(ProblemName::NoQuorum, detail)
        .remedy("try again, ask another control-plane node, or read with consistency=stale")
}
