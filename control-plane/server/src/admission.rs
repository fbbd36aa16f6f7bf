//! Which agents may learn which scopes.

use std::sync::Arc;

use hanse_link::{Admission, Offer, Replicas, Revoked, TrustedRoots};
use hanse_state::{Kind, port::Replicated};
use hanse_topology::ScopeId;
use hanse_transport::{Identity, Role, Shutdown};
use tokio::sync::watch;

use crate::{projector::ProjectorHandle, revocations, roots};

/// An agent may learn the scopes of its region, of the environments its join token named.
pub(crate) struct AgentAdmission {
    replicated: Arc<dyn Replicated>,
    replicas: Replicas,
    projector: ProjectorHandle,
    changed: watch::Receiver<u64>,
}

impl AgentAdmission {
    /// The admission, and the task that says when its answers may have changed.
    pub(crate) fn new(
        replicated: Arc<dyn Replicated>,
        replicas: Replicas,
        projector: ProjectorHandle,
        shutdown: Shutdown,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, changed) = watch::channel(0);
        let admission = Self {
            replicated: replicated.clone(),
            replicas: replicas.clone(),
            projector: projector.clone(),
            changed,
        };
        (admission, watch_offers(sender, replicated, replicas, projector, shutdown))
    }
}

/// Fires when there are other scopes than before, when others are revoked, when other roots are believed, or when somebody may have joined: an agent may be here before this node
/// has heard that it did.
async fn watch_offers(
    sender: watch::Sender<u64>,
    replicated: Arc<dyn Replicated>,
    replicas: Replicas,
    mut projector: ProjectorHandle,
    shutdown: Shutdown,
) {
    let scopes = || replicas.read(|map| map.keys().cloned().collect::<Vec<_>>());
    let mut known = scopes();
    let mut seen = 0;
    let mut told = (0, 0);
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            stepped = projector.stepped() => if stepped.is_err() { return },
        }
        let state = replicated.current();
        // Joining spends a use of a JoinToken. A journal that does not reach back says nothing, so it may have happened.
        let joined = state.journal_since(seen).is_none_or(|mut journal| {
            journal.any(|entry| entry.keys.iter().any(|key| key.kind == Kind::JoinToken))
        });
        seen = state.revision();
        let now = scopes();
        let tell = (state.revoked_revision(), state.roots_revision());
        if now != known || joined || tell != told {
            told = tell;
            known = now;
            sender.send_modify(|version| *version += 1);
        }
    }
}

impl Admission for AgentAdmission {
    /// An agent that this node does not know (yet: it may lag) is offered nothing and told to drop nothing.
    fn offer_to(&self, peer: &Identity) -> Offer {
        let (Role::Agent, Some(region)) = (peer.role, peer.region.as_ref()) else { return Offer::default() };
        let state = self.replicated.current();
        let Some(member) = state.member(&peer.to_string()) else { return Offer::default() };
        let offered = |scope: &ScopeId| {
            scope.region() == region
                && (member.environments.is_empty()
                    || scope
                        .environment()
                        .is_none_or(|environment| member.environments.contains(environment)))
        };
        // The position first: scopes that come in between are offered without harm.
        let as_of = self.projector.position();
        let scopes = self.replicas.read(|map| map.keys().filter(|scope| offered(scope)).cloned().collect());
        Offer { scopes, as_of }
    }

    fn revoked_for(&self, peer: &Identity) -> Option<Revoked> {
        revocations::of_region(&self.replicated.current(), peer.region.as_ref()?)
    }

    fn roots(&self) -> Option<TrustedRoots> {
        roots::told(&self.replicated.current())
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }
}
