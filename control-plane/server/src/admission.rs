//! Which agents may learn which scopes.

use std::sync::Arc;

use hanse_link::{Admission, Offer, Replicas};
use hanse_state::port::Replicated;
use hanse_topology::ScopeId;
use hanse_transport::{Identity, Role, Shutdown};
use tokio::sync::watch;

use crate::projector::ProjectorHandle;

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
        let admission =
            Self { replicated, replicas: replicas.clone(), projector: projector.clone(), changed };
        (admission, watch_scopes(sender, replicas, projector, shutdown))
    }
}

/// Fires when the set of scopes is another than before.
async fn watch_scopes(
    sender: watch::Sender<u64>,
    replicas: Replicas,
    mut projector: ProjectorHandle,
    shutdown: Shutdown,
) {
    let scopes = || replicas.read(|map| map.keys().cloned().collect::<Vec<_>>());
    let mut known = scopes();
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            stepped = projector.stepped() => if stepped.is_err() { return },
        }
        let now = scopes();
        if now != known {
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

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }
}
