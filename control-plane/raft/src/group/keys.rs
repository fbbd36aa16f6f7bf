//! Asking the other members for the federation key.

use hanse_proto::raft::{ControlNode, FederationKey, FederationKeysRequest};
use tokio::time::{Duration, timeout};
use tonic::Status;

use super::RaftGroup;

/// How long a member has for its answer: 64 KB at most, which another member gives as well.
const KEYS_TIMEOUT: Duration = Duration::from_secs(2);

impl RaftGroup {
    /// The versions of the federation key that another member holds and may tell this node.
    pub async fn federation_keys_of(&self, member: &ControlNode) -> Result<Vec<FederationKey>, Status> {
        let mut client = self.member.channels.peer(&member.raft_address)?;
        let answer = client.federation_keys(FederationKeysRequest { target: member.id });
        let late = |_| Status::deadline_exceeded("no answer");
        Ok(timeout(KEYS_TIMEOUT, answer).await.map_err(late)??.into_inner().keys)
    }
}
