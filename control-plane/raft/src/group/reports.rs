//! What the other members' agents reported, and which members are there to be asked.

use std::time::Instant;

use hanse_proto::raft::{ReadIndexRequest, ReportsRequest, ReportsResponse, peer_client::PeerClient};
use tokio::{
    task::JoinSet,
    time::{Duration, sleep, timeout},
};
use tonic::{Status, transport::Channel};

use super::RaftGroup;
use crate::{member::Member, type_config::NodeId};

/// How long other members have for each part of what their agents reported: people wait for it.
const REPORTS_TIMEOUT: Duration = Duration::from_secs(1);
/// How long they have for all of it: dozens of the largest reports, on a road that takes 100 Mbit/s.
const ALL_REPORTS_TIMEOUT: Duration = Duration::from_secs(5);

/// A member that was heard so recently is expected to answer. An agent takes less time to find another member, so the agents
/// of a member that died are reported by another one before they are forgotten.
const EXPECTED: Duration = Duration::from_secs(30);

/// A member that was not heard for so long is asked whether it is there: well within [`EXPECTED`]. Followers have nothing
/// else to say to each other.
const PING_AFTER: Duration = Duration::from_secs(10);

/// Between two looks at who was heard.
const PING_EVERY: Duration = Duration::from_secs(5);

/// What the other members answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PeerReports {
    /// What those that answered say.
    pub answers: Vec<PeerAnswer>,
    /// Names of the members that did not answer and that were reachable within the last 30 s, or were not tried before.
    /// What their agents report is missing.
    pub silent: Vec<String>,
}

/// What one member answered.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerAnswer {
    /// Its Raft id: while a node is replaced, two members have one name.
    pub id: u64,
    /// Its name.
    pub node: String,
    /// What the agents connected to it last reported, all parts in one.
    pub reports: ReportsResponse,
    /// When it began to answer: the ages in it are as of then.
    pub at: Instant,
}

impl RaftGroup {
    /// What the agents connected to the other members last reported, and who did not say in time.
    pub async fn peer_reports(&self) -> PeerReports {
        let mut asked = JoinSet::new();
        for node in self.members().into_iter().filter(|node| node.id != self.member.id) {
            let client = self.member.channels.peer(&node.raft_address);
            asked.spawn(async move {
                let answer = async { ask(client?, node.id).await };
                let answer = timeout(ALL_REPORTS_TIMEOUT, answer).await;
                (node, answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no end of the answer"))))
            });
        }
        let mut reports = PeerReports::default();
        while let Some(asked) = asked.join_next().await {
            match asked {
                Ok((node, Ok(answer))) => {
                    self.member.reach.heard(node.id);
                    let (reports_of, at) = answer;
                    reports.answers.push(PeerAnswer {
                        id: node.id,
                        node: node.name,
                        reports: reports_of,
                        at,
                    });
                }
                Ok((node, Err(status))) => {
                    tracing::debug!(%status, member = node.name, "a member did not tell its reports");
                    if self.member.reach.maybe_up(node.id, EXPECTED) {
                        reports.silent.push(node.name);
                    }
                }
                Err(error) => tracing::warn!(%error, "asking a member for its reports failed"),
            }
        }
        reports.silent.sort_unstable();
        reports
    }
}

/// All parts of what a member says, and when it began to say it. A part that does not come makes the whole of no use: agents may be
/// missing.
async fn ask(mut client: PeerClient<Channel>, target: NodeId) -> Result<(ReportsResponse, Instant), Status> {
    let late = |_| Status::deadline_exceeded("no answer");
    let mut parts = timeout(REPORTS_TIMEOUT, client.reports(ReportsRequest { target }))
        .await
        .map_err(late)??
        .into_inner();
    let at = Instant::now();
    let mut all = ReportsResponse::default();
    while let Some(part) = timeout(REPORTS_TIMEOUT, parts.message()).await.map_err(late)?? {
        all.agents.extend(part.agents);
        all.facts = all.facts.or(part.facts);
    }
    Ok((all, at))
}

/// Asks members that were not heard for a while whether they are there, for as long as the runtime lives.
pub(super) async fn keep_in_touch(member: Member) {
    loop {
        let mut asked = JoinSet::new();
        let metrics = member.metrics();
        for (&id, node) in metrics.membership_config.membership().nodes() {
            if id == member.id || member.reach.heard_within(id, PING_AFTER) {
                continue;
            }
            let client = member.channels.peer(&node.raft_address);
            asked.spawn(async move {
                // Any answer will do; a follower has this one ready.
                let answer = async { client?.read_index(ReadIndexRequest { target: id }).await };
                (id, matches!(timeout(REPORTS_TIMEOUT, answer).await, Ok(Ok(_))))
            });
        }
        while let Some(asked) = asked.join_next().await {
            match asked {
                Ok((id, true)) => member.reach.heard(id),
                Ok((id, false)) => member.reach.tried(id),
                Err(error) => tracing::warn!(%error, "asking whether a member is there failed"),
            }
        }
        sleep(PING_EVERY).await;
    }
}
