//! Joining and renewing: gateways get their certificates here, the first for a token minted by this agent, the others for
//! the key they joined with.

use std::sync::Arc;

use hanse_identity::{KeyDigest, LiveAuthority, LiveTrust, Peer, PkiError, key_digest};
use hanse_proto::enrolment::{
    EnrolRequest, EnrolResponse, RenewRequest, RenewResponse, enrolment_server::Enrolment,
};
use hanse_topology::{Identity, Name, one_line};
use tokio::sync::Mutex;
use tonic::{Request, Response, Status};
use tracing::{error, info};

use crate::{
    Config, Error,
    gateways::{Admitted, Gateways},
    tokens,
};

/// The enrolment service of an agent.
pub(crate) struct EnrolmentService {
    pub(crate) config: Arc<Config>,
    pub(crate) gateways: Arc<Gateways>,
    pub(crate) authority: LiveAuthority,
    /// Who is refused by name, and the time.
    pub(crate) trust: LiveTrust,
    /// One at a time: checking a token and spending it are two steps.
    pub(crate) turn: Mutex<()>,
}

#[tonic::async_trait]
impl Enrolment for EnrolmentService {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        let _turn = self.turn.lock().await;
        self.admit(request.into_inner()).map(Response::new)
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        self.renew_leaf(request.extensions().get::<Peer>()).map(Response::new)
    }
}

impl EnrolmentService {
    fn admit(&self, request: EnrolRequest) -> Result<EnrolResponse, Status> {
        let name = Name::new(&request.name).map_err(|error| unusable("name", &error))?;
        let now = self.trust.clock().unix_seconds();
        let shown = tokens::check(&self.config, &request.token_id, &request.secret, now)
            .map_err(|error| internal(&error))?
            .ok_or_else(|| {
                Status::permission_denied(
                    "the join token is unknown or expired (make a new one: hanse agent mint-token --join ROLE)",
                )
            })?;
        let identity = self.gateways.identity(&name, shown.role());
        let unusable = |error: PkiError| unusable("public_key", &error);
        // Issued before the token is spent, and handed out only after: the key that counts is the one certified, which is what
        // verifiers see, not the one sent, of which there are several spellings.
        let chain =
            self.authority.current().issue_leaf(&request.public_key, &identity, &[]).map_err(unusable)?;
        let digest = key_digest(&chain[0]).map_err(unusable)?;
        let key = hex::encode(digest);
        if shown.is_spent_by_another(&name, &key) {
            return Err(Status::permission_denied(format!(
                "the join token is used up: another {0} node joined with it (make a new one: hanse agent mint-token --join {0})",
                identity.role
            )));
        }
        self.check_not_revoked(&identity, &digest)?;
        if let Some(other) = self.gateways.other_with(&key, &name) {
            return Err(Status::permission_denied(format!(
                "this key joined already, as {other} (give each {} node a key of its own: start it with an empty data \
                 directory)",
                identity.role
            )));
        }
        if let Some(role) = self.gateways.taken_by(&name, &key).map_err(|error| internal(&error))? {
            return Err(Status::permission_denied(format!(
                "the name {name} is another {role} node's (choose another name; if that node is gone for good, remove \
                 gateways/{name}.json from this agent's data directory)"
            )));
        }
        // Spent before it is answered: a lost answer is repeated for the same name and key only.
        tokens::spend(&self.config, &shown, &name, &key).map_err(|error| internal(&error))?;
        let environments = shown.environments().to_vec();
        let admitted = Admitted { role: identity.role, environments, key, seen: now };
        let environments = admitted.environments.iter().map(Name::to_string).collect();
        self.gateways.admit(&name, admitted).map_err(|error| internal(&error))?;
        info!(%identity, "enrolled");
        Ok(EnrolResponse {
            chain: chain.into_iter().map(|certificate| certificate.to_vec().into()).collect(),
            role: identity.role.as_str().to_owned(),
            region: self.config.region.to_string(),
            environments,
            publishers: vec![self.config.advertised().to_owned()],
            control_nodes: Vec::new(),
        })
    }
}

impl EnrolmentService {
    fn check_not_revoked(&self, identity: &Identity, key: &KeyDigest) -> Result<(), Status> {
        if !self.trust.refuses(identity) {
            if !self.trust.refuses_gateway_key(key) {
                return Ok(());
            }
            return Err(Status::permission_denied(
                "this key is revoked, whatever the name (start the node with an empty data directory: it makes a new key)",
            ));
        }
        Err(Status::permission_denied(format!(
            "{identity} is revoked (an operator can take that back: hanse member readmit {identity})"
        )))
    }

    /// A fresh leaf for a gateway that shows the certificate, valid or expired, of the key it joined with.
    fn renew_leaf(&self, peer: Option<&Peer>) -> Result<RenewResponse, Status> {
        let Some((identity, keys)) =
            peer.and_then(|peer| Some((peer.identity.as_ref()?, peer.keys.as_ref()?)))
        else {
            return Err(Status::unauthenticated("renewal needs the certificate that is to be renewed"));
        };
        self.check_not_revoked(identity, &keys.own_digest())?;
        let Some(known) = self.gateways.admitted(identity) else {
            return Err(Status::permission_denied(format!(
                "this agent did not admit {identity} (join again with a token: hanse agent mint-token --join {})",
                identity.role
            )));
        };
        if !known.joined_with(keys) {
            return Err(Status::permission_denied(format!("{identity} joined with another key")));
        }
        // An authority that has expired is about to be renewed itself: not now, but not never.
        let chain = self
            .authority
            .current()
            .issue_leaf(&keys.own, identity, &[])
            .map_err(|error| Status::unavailable(error.to_string()))?;
        self.gateways.renewed(&identity.name, self.trust.clock().unix_seconds());
        info!(%identity, "renewed");
        Ok(RenewResponse {
            chain: chain.into_iter().map(|certificate| certificate.to_vec().into()).collect(),
        })
    }
}

/// A value that a joiner sent, with no more of it than a line.
fn unusable(field: &str, error: &dyn std::fmt::Display) -> Status {
    Status::invalid_argument(one_line(&format!("{field}: {error}")))
}

/// The joiner learns that it failed; why is for this agent's log.
fn internal(error: &Error) -> Status {
    error!(error = error as &dyn std::error::Error, "cannot enrol");
    Status::internal("the agent cannot admit or renew nodes now; see its log")
}

#[cfg(test)]
mod tests;
