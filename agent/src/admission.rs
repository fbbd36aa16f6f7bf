//! Which gateways may learn which of the agent's scopes.

use std::sync::Arc;

use hanse_link::{Admission, LinkStatus, Offer, TrustedRoots};
use hanse_transport::{Identity, Shutdown};
use tokio::sync::watch;
use tracing::error;

use crate::{Config, gateways};

/// A gateway that this agent admitted may learn what the agent itself is offered, of the environments its token named.
pub(crate) struct GatewayAdmission {
    config: Arc<Config>,
    link: watch::Receiver<LinkStatus>,
    roots: watch::Receiver<Option<TrustedRoots>>,
    changed: watch::Receiver<u64>,
}

impl GatewayAdmission {
    /// The admission, and the task that says when its answers may have changed.
    pub(crate) fn new(
        config: Arc<Config>,
        link: watch::Receiver<LinkStatus>,
        roots: watch::Receiver<Option<TrustedRoots>>,
        shutdown: Shutdown,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, changed) = watch::channel(0);
        let admission = Self { config, link: link.clone(), roots: roots.clone(), changed };
        (admission, watch_offers(sender, link, roots, shutdown))
    }
}

/// Fires when the agent is offered other scopes than before, or believes other roots.
async fn watch_offers(
    sender: watch::Sender<u64>,
    mut link: watch::Receiver<LinkStatus>,
    mut roots: watch::Receiver<Option<TrustedRoots>>,
    shutdown: Shutdown,
) {
    let mut known = link.borrow_and_update().offered.clone();
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            changed = link.changed() => if changed.is_err() { return },
            Ok(()) = roots.changed() => {
                sender.send_modify(|version| *version += 1);
                continue;
            }
        }
        let status = link.borrow_and_update();
        if status.offered != known {
            known = status.offered.clone();
            sender.send_modify(|version| *version += 1);
        }
    }
}

impl Admission for GatewayAdmission {
    /// A gateway that is not known, or cannot be looked up, is offered nothing and told to drop nothing.
    fn offer_to(&self, peer: &Identity) -> Offer {
        match gateways::admitted(&self.config, peer) {
            Ok(Some(admitted)) => {
                let link = self.link.borrow();
                let scopes = link.offered.iter().filter(|scope| admitted.may_learn(scope)).cloned().collect();
                Offer { scopes, as_of: link.offered_as_of }
            }
            Ok(None) => Offer::default(),
            Err(error) => {
                error!(%peer, error = &error as &dyn std::error::Error, "cannot tell what this gateway may learn");
                Offer::default()
            }
        }
    }

    fn roots(&self) -> Option<TrustedRoots> {
        self.roots.borrow().clone()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }
}
