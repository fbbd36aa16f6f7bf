//! Joining and renewing: agents and further control nodes get their certificates here, the first for a join token; agents
//! get the others for the key they joined with.

use std::{sync::Arc, time::Duration};

use hanse_api::Clock;
use hanse_identity::{Chain, LiveAuthority, LiveTrust, Peer, digest_secret, key_digest};
use hanse_management::{
    Kind, Problem, ProblemName, ResourceKey, Spec,
    kinds::{JoinRole, JoinTokenSpec},
};
use hanse_proto::enrolment::{
    EnrolRequest, EnrolResponse, RenewRequest, RenewResponse, enrolment_server::Enrolment,
};
use hanse_raft::RaftGroup;
use hanse_state::{
    Command, CommandBody, GONE_AFTER, Incumbent, Outcome, RUNS_WITHIN, SEAT_UNDECIDED, SeatAsked,
    port::{Consistency, Replicated},
};
use hanse_topology::{Identity, Name, one_line};
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use tracing::{info, warn};

use crate::{renewal, roots::RootKey};

/// How often the leader is asked whether a control node that fell silent is gone. All of it takes some
/// seconds more than [`GONE_AFTER`] at most, and the joiner waits 15 s.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// The enrolment service of a control node.
pub(crate) struct EnrolmentService {
    pub(crate) replicated: Arc<dyn Replicated>,
    pub(crate) control: LiveAuthority,
    /// Which roots are believed.
    pub(crate) trust: LiveTrust,
    /// Needed to admit control nodes.
    pub(crate) root: RootKey,
    /// Who else is in the control plane: joiners are told.
    pub(crate) group: Arc<RaftGroup>,
    /// The time that commands carry.
    pub(crate) clock: Clock,
}

#[tonic::async_trait]
impl Enrolment for EnrolmentService {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        let from =
            request.extensions().get::<Peer>().map(|peer| peer.address.to_string()).unwrap_or_default();
        self.admit(request.into_inner(), from).await.map(Response::new).map_err(|problem| refusal(&problem))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        self.renew_intermediate(request.extensions().get::<Peer>()).map(Response::new)
    }
}

impl EnrolmentService {
    /// A fresh regional intermediate for an agent whose leaf, valid or expired, was issued under the key it joined with.
    ///
    /// Judged by what this node knows, quorum or not: who joined and who was revoked is replicated, and a certificate is of
    /// no use where its holder is known to be revoked.
    fn renew_intermediate(&self, peer: Option<&Peer>) -> Result<RenewResponse, Status> {
        let Some((identity, keys)) =
            peer.and_then(|peer| Some((peer.identity.as_ref()?, peer.keys.as_ref()?)))
        else {
            return Err(Status::unauthenticated("renewal needs the certificate that is to be renewed"));
        };
        let state = self.replicated.current();
        let own = identity.to_string();
        let is_revoked = state.is_revoked(&own) || state.revoked_with(&keys.issuer_digest()).is_some();
        let region = renewal::permitted(identity, keys, state.member(&own), is_revoked)
            .map_err(|refused| Status::permission_denied(refused.to_string()))?;
        let chain = self
            .control
            .current()
            .issue_regional_intermediate(&keys.issuer, region)
            .map_err(|error| Status::unavailable(error.to_string()))?;
        info!(%identity, "renewed");
        Ok(RenewResponse {
            chain: chain.into_iter().map(|certificate| certificate.to_vec().into()).collect(),
        })
    }
}

impl EnrolmentService {
    /// `from`: the address that the node asks from.
    async fn admit(&self, request: EnrolRequest, from: String) -> Result<EnrolResponse, Problem> {
        let name = Name::new(&request.name)
            .map_err(|error| Problem::new(ProblemName::Invalid, error.to_string()).at("name"))?;
        let token = Name::new(&request.token_id).map_err(|_| unknown_token())?;
        let spec = self.token(&token, &request).await?;
        let seat = seat_asked(&request)?;
        if seat.is_some() {
            self.replicated.current().version().check_known_to(&request.name, request.version)?;
        }
        // Issued before the token is spent, so that a request that cannot be met costs nothing; handed out only after.
        let (identity, chain) = self.issue(&spec, name, &request).await?;
        let command = Command {
            actor: identity.to_string(),
            request_id: format!("enrol-{token}"),
            time_ms: self.clock.now_ms(),
            idempotency_key: None,
            only_in_term: None,
            force_grants: false,
            origin: hanse_state::Origin { from, ..Default::default() },
            body: CommandBody::UseJoinToken {
                token: token.clone(),
                secret_digest: digest_secret(&request.secret),
                joiner: identity.to_string(),
                // As certified, not as sent: that is what verifiers see.
                key_digest: key_digest(&chain[0])
                    .map_err(|error| Problem::new(ProblemName::Internal, error.to_string()))?,
                seat,
            },
        };
        match self.decide(command, spec.replace).await? {
            Outcome::Accepted(_) => {}
            Outcome::Rejected(problem) => return Err(problem),
        }
        info!(%identity, %token, "enrolled");
        if let Some(seat) = seat.filter(|_| spec.force) {
            warn!(
                %identity, %token, id = seat.node_id,
                "this token takes the place of a control node by force, whether that one runs or not"
            );
        }
        Ok(EnrolResponse {
            chain: chain.into_iter().map(|certificate| certificate.to_vec().into()).collect(),
            role: identity.role.as_str().to_owned(),
            region: identity.region.map(|region| region.to_string()).unwrap_or_default(),
            environments: spec.environments.iter().map(Name::to_string).collect(),
            publishers: self.publishers(),
            control_nodes: if spec.role == JoinRole::Server { self.group.members() } else { Vec::new() },
        })
    }

    /// What becomes of the command. An operator who stopped a control node just now has another take its place, if the token says
    /// `replace`: the leader is asked until the old one is gone, or heard again. Each time it is heard costs an entry of the log,
    /// so that is asked twice only.
    async fn decide(&self, command: Command, replace: bool) -> Result<Outcome, Problem> {
        let began = Instant::now();
        let mut is_repeated = false;
        loop {
            let decided = self.replicated.propose(command.clone()).await;
            let pause = match &decided {
                Err(problem)
                    if problem.field == SEAT_UNDECIDED && began.elapsed() < GONE_AFTER + RUNS_WITHIN =>
                {
                    ASK_AGAIN
                }
                Ok(Outcome::Rejected(problem))
                    if problem.field == SEAT_UNDECIDED && replace && !is_repeated =>
                {
                    is_repeated = true;
                    RUNS_WITHIN + ASK_AGAIN
                }
                Ok(_) | Err(_) => return decided,
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Where agents may sync from.
    fn publishers(&self) -> Vec<String> {
        self.group.members().into_iter().map(|member| member.federation_address).collect()
    }

    /// The token, if its secret was shown. Spending it checks again; here it keeps strangers from learning which names
    /// there are, and from growing the log.
    async fn token(&self, name: &Name, request: &EnrolRequest) -> Result<JoinTokenSpec, Problem> {
        let state = self.replicated.read(Consistency::Linearizable).await?;
        let key = ResourceKey::global(Kind::JoinToken, name.clone());
        let spec = match state.get(&key).map(|resource| &resource.spec) {
            Some(Spec::JoinToken(spec)) if spec.digest.0 == digest_secret(&request.secret) => spec.clone(),
            _ => return Err(unknown_token()),
        };
        // Only a control node says where it is.
        let wants = if request.control_node.is_some() { JoinRole::Server } else { JoinRole::Agent };
        if spec.role != wants {
            let meant = match spec.role {
                JoinRole::Server => "a control node",
                JoinRole::Agent => "an agent",
            };
            return Err(Problem::new(
                ProblemName::JoinRefused,
                format!("this join token is meant for {meant}"),
            )
            .remedy("make one of the right kind: hanse token create --join server|agent"));
        }
        Ok(spec)
    }

    async fn issue(
        &self,
        spec: &JoinTokenSpec,
        name: Name,
        request: &EnrolRequest,
    ) -> Result<(Identity, Chain), Problem> {
        let unusable = |error: hanse_identity::PkiError| {
            Problem::new(ProblemName::Invalid, error.to_string()).at("public_key")
        };
        if self.trust.current().is_outdated(self.control.current().chain()) {
            // What it issued now would have to be renewed at once, and could not be shown to those that have changed over.
            return Err(Problem::new(
                ProblemName::NoQuorum,
                "this control node is about to come under another root, and admits nobody until then",
            )
            .remedy("try again, or another control node; hanse root list shows how far it is"));
        }
        match spec.role {
            JoinRole::Agent => {
                let region = spec.region.clone().ok_or_else(unknown_token)?;
                let chain = self
                    .control
                    .current()
                    .issue_regional_intermediate(&request.public_key, &region)
                    .map_err(unusable)?;
                Ok((Identity::agent(name, region), chain))
            }
            JoinRole::Server => {
                let own = self.control.current().root_key().map_err(unusable)?;
                let root = self.root.load_aside(own).await.map_err(unusable)?.ok_or_else(|| {
                    Problem::new(
                        ProblemName::Forbidden,
                        "the root's key is not on this node, so it cannot admit a control node",
                    )
                    .remedy(
                        "bring the directory pki/root back to this node, or join through a node that has it",
                    )
                })?;
                let chain = root.issue_control_intermediate(&request.public_key, &name).map_err(unusable)?;
                Ok((Identity::server(name), chain))
            }
        }
    }
}

/// The place that a control node asks for, under the name that it joins with.
fn seat_asked(request: &EnrolRequest) -> Result<Option<SeatAsked>, Problem> {
    let Some(node) = &request.control_node else { return Ok(None) };
    if node.id == 0 || node.name != request.name {
        return Err(Problem::new(
            ProblemName::Invalid,
            "a control node has an id, and the name it joins with",
        )
        .at("control_node")
        .remedy("join with `hanse server join` of this version"));
    }
    // The leader knows which node has the name now.
    Ok(Some(SeatAsked { node_id: node.id, incumbent: Incumbent::Unknown }))
}

/// The same words for an unknown token and a wrong secret, so that names cannot be probed.
fn unknown_token() -> Problem {
    Problem::new(ProblemName::JoinRefused, "the join token is unknown, used up or expired")
        .remedy("make a new one: hanse token create --join …")
}

/// A problem as a gRPC status. The remedy travels in the message, for the joiner's log.
fn refusal(problem: &Problem) -> Status {
    let text = problem.to_string();
    let text = one_line(&text);
    match problem.name {
        ProblemName::JoinRefused | ProblemName::Forbidden => Status::permission_denied(text),
        ProblemName::NoQuorum | ProblemName::Busy | ProblemName::UnknownFate => Status::unavailable(text),
        ProblemName::Upgrade | ProblemName::AuditFull | ProblemName::ApprovalNeeded => {
            Status::failed_precondition(text)
        }
        ProblemName::Internal => Status::internal(text),
        ProblemName::BadRequest
        | ProblemName::Invalid
        | ProblemName::Unauthenticated
        | ProblemName::NotFound
        | ProblemName::MissingReference
        | ProblemName::InUse
        | ProblemName::Conflict
        | ProblemName::Stale
        | ProblemName::PreconditionRequired
        | ProblemName::TooLarge
        | ProblemName::KeyReused
        | ProblemName::Gone => Status::invalid_argument(text),
    }
}

#[cfg(test)]
mod tests {
    use hanse_proto::raft::ControlNode;

    use super::*;

    #[test]
    fn a_control_node_asks_for_its_own_seat() {
        let request = |node: Option<(u64, &str)>| EnrolRequest {
            name: "cp-2".into(),
            control_node: node.map(|(id, name)| ControlNode { id, name: name.into(), ..Default::default() }),
            ..Default::default()
        };
        assert_eq!(seat_asked(&request(None)).unwrap(), None, "an agent has none");
        let asked = seat_asked(&request(Some((7, "cp-2")))).unwrap().unwrap();
        assert_eq!((asked.node_id, asked.incumbent), (7, Incumbent::Unknown));
        for wrong in [(0, "cp-2"), (7, "cp-1")] {
            assert_eq!(seat_asked(&request(Some(wrong))).unwrap_err().field, "control_node");
        }
    }
}
