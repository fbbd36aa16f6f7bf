//! This node's control intermediate: had anew from a root, here or on another node that has the root's key just then.

use std::{path::PathBuf, sync::Arc};

use hanse_identity::{
    Authority, Expect, Issuers, Issuing, KeyDigest, KeyDir, LiveAuthority, LiveTrust, Peer, PkiError,
    RenewError, Renewal, renew_authority,
};
use hanse_process::{Shutdown, WallClock, telemetry};
use hanse_proto::enrolment::{
    EnrolRequest, EnrolResponse, RenewRequest, RenewResponse, enrolment_server::Enrolment,
};
use hanse_raft::RaftGroup;
use hanse_state::port::Replicated;
use hanse_topology::{Identity, Role};
use tonic::{Request, Response, Status};
use tracing::{info, warn};

use crate::Config;

/// What to do where a control intermediate should come from another root.
const REMEDY: &str = "put the directory of the new root in place of pki/root on any control node";

/// The root's key, where an operator has put it for the time being: read when it is needed, so that it may come and go
/// while the node runs.
#[derive(Debug, Clone)]
pub(crate) struct RootKey {
    pub(crate) dir: PathBuf,
    pub(crate) clock: WallClock,
}

impl RootKey {
    /// The root, if its key is here; `wanted`: only this one.
    pub(crate) fn load(&self, wanted: Option<KeyDigest>) -> Result<Option<Authority>, PkiError> {
        if !Authority::is_saved(&self.dir) {
            return Ok(None);
        }
        let root = Authority::load(&self.dir)?.with_clock(self.clock.clone());
        let key = root.root_key()?;
        Ok(wanted.is_none_or(|wanted| wanted == key).then_some(root))
    }

    /// The same, off the runtime's threads: what an operator plugs in may be slow.
    pub(crate) async fn load_aside(&self, wanted: KeyDigest) -> Result<Option<Authority>, PkiError> {
        let key = self.clone();
        let loaded = tokio::task::spawn_blocking(move || key.load(Some(wanted))).await;
        loaded.unwrap_or_else(|_| Err(PkiError::Certificate { reason: "reading the root panicked".into() }))
    }
}

/// A fresh control intermediate for the key of `control`, under `root`.
pub(crate) fn reissued(
    control: &Authority,
    root: &Authority,
    config: &Config,
) -> Result<Authority, PkiError> {
    let key = control.key();
    let chain = root.issue_control_intermediate(&key.public_key_der(), &config.name)?;
    Ok(Authority::from_parts(chain, key.clone())?.with_clock(control.clock().clone()))
}

/// Keeps this node's control intermediate under the root that certificates should come from, and young.
#[derive(Clone)]
pub(crate) struct ControlAuthority {
    pub(crate) config: Arc<Config>,
    pub(crate) live: LiveAuthority,
    pub(crate) trust: LiveTrust,
    pub(crate) root: RootKey,
    pub(crate) group: Arc<RaftGroup>,
    /// This node's own id: it does not ask itself.
    pub(crate) id: u64,
    /// Where the intermediate is kept.
    pub(crate) dir: KeyDir,
}

impl ControlAuthority {
    /// Until the shutdown: has it renewed as soon as it comes from another root than it should, or is past half its life and
    /// the root's key is on some control node. It is used only once it would be used after a restart too.
    pub(crate) async fn keep(self, shutdown: Shutdown) {
        let renewal = Renewal {
            what: "this node's control intermediate",
            live: self.live.clone(),
            trust: self.trust.clone(),
            dir: self.dir.clone(),
            issuing: Issuing::ByHand { remedy: REMEDY },
        };
        renewal.keep(|current| self.renewed(current), shutdown).await;
    }

    async fn renewed(&self, current: Arc<Authority>) -> Result<Authority, RenewError> {
        let wanted = wanted(&self.trust, &current).map_err(RenewError::Own)?;
        match self.root.load_aside(wanted).await {
            Ok(Some(root)) => return reissued(&current, &root, &self.config).map_err(RenewError::Own),
            Ok(None) => {}
            Err(error) => warn!(
                error = %telemetry::causes(&error),
                "the root in pki/root cannot be used here; asking the other control nodes"
            ),
        }
        let others = self.group.members().into_iter().filter(|member| member.id != self.id);
        let issuers = Issuers {
            addresses: others.map(|member| member.raft_address).collect(),
            trust: self.trust.clone(),
            expect: Expect { roles: vec![Role::Server], region: None },
        };
        renew_authority(&issuers, &current, &Identity::server(self.config.name.clone())).await
    }
}

/// The root that a control intermediate should come from: the one the federation changes over to, or its own.
fn wanted(trust: &LiveTrust, current: &Authority) -> Result<KeyDigest, PkiError> {
    match trust.current().issuing() {
        Some(issuing) => Ok(issuing),
        None => current.root_key(),
    }
}

/// Renews the control intermediates of other control nodes, while the root's key is on this one. Served where only they
/// are let in.
pub(crate) struct ControlRenewal {
    pub(crate) replicated: Arc<dyn Replicated>,
    pub(crate) live: LiveAuthority,
    pub(crate) trust: LiveTrust,
    pub(crate) root: RootKey,
    /// Who is in the control plane.
    pub(crate) group: Arc<RaftGroup>,
}

#[tonic::async_trait]
impl Enrolment for ControlRenewal {
    async fn enrol(&self, _request: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        Err(Status::unimplemented("joining has a port of its own"))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let Some((identity, keys)) = request
            .extensions()
            .get::<Peer>()
            .and_then(|peer| Some((peer.identity.as_ref()?, peer.keys.as_ref()?)))
        else {
            return Err(Status::unauthenticated("renewal needs the certificate that is to be renewed"));
        };
        let state = self.replicated.current();
        let own = identity.to_string();
        if identity.role != Role::Server || state.is_revoked(&own) {
            return Err(Status::permission_denied(format!(
                "{identity} has no control intermediate from here"
            )));
        }
        // An authority gives itself what name it likes: only a present member's counts. The node that founded the control plane
        // never joined; the others keep the key they joined with.
        if !self.group.members().iter().any(|member| member.name == identity.name.as_str()) {
            return Err(Status::permission_denied(format!("{identity} is not in the control plane")));
        }
        if state.member(&own).is_some_and(|member| member.key_digest != keys.issuer_digest()) {
            return Err(Status::permission_denied(format!("{identity} joined with another key")));
        }
        let unavailable = |error: PkiError| Status::unavailable(telemetry::causes(&error).to_string());
        let wanted = wanted(&self.trust, &self.live.current()).map_err(unavailable)?;
        let root = self.root.load_aside(wanted).await.map_err(unavailable)?;
        let root = root.ok_or_else(|| Status::unavailable("the root's key is not on this node"))?;
        let chain = root.issue_control_intermediate(&keys.issuer, &identity.name).map_err(unavailable)?;
        info!(%identity, "renewed a control intermediate");
        Ok(Response::new(RenewResponse {
            chain: chain.into_iter().map(|certificate| certificate.to_vec().into()).collect(),
        }))
    }
}
