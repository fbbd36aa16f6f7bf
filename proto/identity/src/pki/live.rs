//! Cells that a process shares and renewal replaces: its certificate, its authority, and whom it believes.

use std::{collections::BTreeSet, fmt, future, sync::Arc};

use hanse_process::WallClock;
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;

use super::{Authority, Credentials, KeyDigest, TrustAnchor, TrustBundle, key_digests};
use hanse_topology::{Identity, Role};

/// What a process holds of its own and others share, and renewal replaces. Cloning shares the cell.
#[derive(Debug)]
pub struct Live<T>(watch::Sender<Arc<T>>);

/// An authority that issuing services share.
pub type LiveAuthority = Live<Authority>;

/// Credentials that listeners and channels share. New connections use the new ones; existing connections live on.
pub type LiveCredentials = Live<Credentials>;

impl<T> Live<T> {
    /// Starts with this one.
    pub fn new(held: T) -> Self {
        Self(watch::Sender::new(Arc::new(held)))
    }

    /// From now on this one issues, and is shown.
    pub fn replace(&self, held: T) {
        self.0.send_replace(Arc::new(held));
    }

    /// The one in use now.
    pub fn current(&self) -> Arc<T> {
        self.0.borrow().clone()
    }

    /// Fires when it is replaced.
    pub fn replaced(&self) -> watch::Receiver<Arc<T>> {
        self.0.subscribe()
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl LiveCredentials {
    /// Whose they are.
    pub fn identity(&self) -> Identity {
        self.0.borrow().identity().clone()
    }
}

/// Whom verifiers refuse although their chain is valid. A name alone is not enough: a peer that holds an authority can give
/// itself another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// By name.
    pub identities: BTreeSet<Identity>,
    /// By key: every certificate that was issued under it.
    pub keys: BTreeSet<KeyDigest>,
    /// By key, of nodes that agents admit only, such as gateways. These come from reports of agents, so that no other role is refused
    /// for them.
    pub gateway_keys: BTreeSet<KeyDigest>,
}

impl Refused {
    /// Whether a peer is refused by its name, or for one of these keys.
    fn contains(&self, peer: &Identity, keys: &[KeyDigest]) -> bool {
        self.identities.contains(peer)
            || keys.iter().any(|key| self.keys.contains(key))
            || (peer.role.admitted_by() == Role::Agent
                && keys.iter().any(|key| self.gateway_keys.contains(key)))
    }
}

impl From<BTreeSet<Identity>> for Refused {
    fn from(identities: BTreeSet<Identity>) -> Self {
        Self { identities, ..Self::default() }
    }
}

/// What a peer showed of itself.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// Who it is.
    pub(crate) identity: Identity,
    /// The keys it answers for.
    pub(crate) keys: Vec<KeyDigest>,
    /// The root that its chain rests on; `None`: none that is believed.
    pub(crate) root: Option<KeyDigest>,
}

/// Whom verifiers believe, whom they refuse all the same, and the clock they judge by. New handshakes use what is
/// current; who is refused later loses the connections it has. Cloning shares the cell.
#[derive(Clone)]
pub struct LiveTrust(Arc<Cell>);

struct Cell {
    bundle: watch::Sender<Arc<TrustBundle>>,
    refused: watch::Sender<Arc<Refused>>,
    clock: WallClock,
}

impl LiveTrust {
    /// Starts with these roots.
    pub fn new(bundle: impl Into<TrustBundle>, clock: WallClock) -> Self {
        let refused = watch::Sender::default();
        Self(Arc::new(Cell { bundle: watch::Sender::new(Arc::new(bundle.into())), refused, clock }))
    }

    /// New handshakes believe these roots from now on.
    pub fn replace(&self, bundle: impl Into<TrustBundle>) {
        self.0.bundle.send_replace(Arc::new(bundle.into()));
    }

    /// The roots believed now.
    pub fn current(&self) -> Arc<TrustBundle> {
        self.0.bundle.borrow().clone()
    }

    /// Fires when other roots are believed than before, or certificates should come from another.
    pub fn replaced(&self) -> watch::Receiver<Arc<TrustBundle>> {
        self.0.bundle.subscribe()
    }

    /// Refuses exactly these from now on: their handshakes fail, and the connections they have are cut at once.
    pub fn refuse(&self, fresh: Refused) {
        self.0.refused.send_if_modified(|refused| {
            let changed = **refused != fresh;
            *refused = Arc::new(fresh);
            changed
        });
    }

    /// Whether this identity is refused by name.
    pub fn refuses(&self, identity: &Identity) -> bool {
        self.0.refused.borrow().contains(identity, &[])
    }

    /// Whether a gateway that has this key is refused for it, under every name.
    pub fn refuses_gateway_key(&self, key: &KeyDigest) -> bool {
        let refused = self.0.refused.borrow();
        refused.keys.contains(key) || refused.gateway_keys.contains(key)
    }

    /// Fires when others are refused than before.
    pub fn refused(&self) -> watch::Receiver<Arc<Refused>> {
        self.0.refused.subscribe()
    }

    /// Whether a peer is refused by name, or for one of the keys it answers for.
    pub fn refuses_peer(&self, peer: &Identity, keys: &[KeyDigest]) -> bool {
        self.0.refused.borrow().contains(peer, keys)
    }

    /// Whether a certificate of this chain has a key that is refused.
    pub(crate) fn refuses_key_of(&self, chain: &[CertificateDer<'_>]) -> bool {
        let refused = self.0.refused.borrow();
        key_digests(chain).iter().any(|key| refused.keys.contains(key))
    }

    /// Resolves when this process's own chain should be replaced at once: a certificate of it has a key that is refused, or it
    /// comes from a root that another takes the place of.
    pub async fn spoils(&self, chain: &[CertificateDer<'_>]) {
        let keys = key_digests(chain);
        let mut refused = self.0.refused.subscribe();
        // Neither ends before this: the cell is borrowed.
        tokio::select! {
            _ = refused.wait_for(|refused| keys.iter().any(|key| refused.keys.contains(key))) => {}
            () = self.outdates(chain) => {}
        }
    }

    /// Resolves when a chain ends in another root than certificates should come from.
    pub async fn outdates(&self, chain: &[CertificateDer<'_>]) {
        let mut bundle = self.replaced();
        // It does not end before this: the cell is borrowed.
        let _ = bundle.wait_for(|bundle| bundle.is_outdated(chain)).await;
    }

    /// Resolves when this peer is refused, or the root that its chain rests on is believed no more.
    pub(crate) fn refusal_of(&self, peer: Shown) -> impl Future<Output = ()> + Send + use<> {
        let (mut refused, mut bundle) = (self.0.refused.subscribe(), self.replaced());
        async move {
            let Shown { identity, keys, root } = peer;
            // One whose root was dropped while it shook hands has none any more.
            let uprooted = bundle.wait_for(|bundle| root.is_none_or(|root| !bundle.believes(&root)));
            let outcome = tokio::select! {
                refused = refused.wait_for(|refused| refused.contains(&identity, &keys)) => refused.is_ok(),
                uprooted = uprooted => uprooted.is_ok(),
            };
            if !outcome {
                future::pending::<()>().await; // the trust is gone, so nothing can refuse it
            }
        }
    }

    /// The clock that certificates are judged by.
    pub fn clock(&self) -> &WallClock {
        &self.0.clock
    }
}

impl From<TrustAnchor> for LiveTrust {
    /// One root, judged by the system's clock.
    fn from(anchor: TrustAnchor) -> Self {
        Self::new(anchor, WallClock::system())
    }
}

impl From<&TrustAnchor> for LiveTrust {
    fn from(anchor: &TrustAnchor) -> Self {
        anchor.clone().into()
    }
}

impl From<&LiveTrust> for LiveTrust {
    fn from(shared: &LiveTrust) -> Self {
        shared.clone()
    }
}

impl fmt::Debug for LiveTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LiveTrust({:?})", self.current())
    }
}
