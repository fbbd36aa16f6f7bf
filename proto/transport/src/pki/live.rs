//! Cells that a process shares and renewal replaces: its authority, and whom it believes.

use std::{collections::BTreeSet, fmt, future, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{Authority, Identity, TrustAnchor, TrustBundle};
use crate::WallClock;

/// An authority that issuing services share and that renewal replaces. Cloning shares the cell.
#[derive(Debug, Clone)]
pub struct LiveAuthority(watch::Sender<Arc<Authority>>);

impl LiveAuthority {
    /// Starts with this one.
    pub fn new(authority: Authority) -> Self {
        Self(watch::Sender::new(Arc::new(authority)))
    }

    /// Whatever is issued from now on is issued by this one.
    pub fn replace(&self, authority: Authority) {
        self.0.send_replace(Arc::new(authority));
    }

    /// The one in use now.
    pub fn current(&self) -> Arc<Authority> {
        self.0.borrow().clone()
    }

    /// Fires when it is replaced.
    pub fn replaced(&self) -> watch::Receiver<Arc<Authority>> {
        self.0.subscribe()
    }
}

/// Whom verifiers believe, whom they refuse by name all the same, and the clock they judge by. New handshakes use what is
/// current; who is refused later loses the connections it has. Cloning shares the cell.
#[derive(Clone)]
pub struct LiveTrust(Arc<Cell>);

struct Cell {
    bundle: ArcSwap<TrustBundle>,
    refused: watch::Sender<Arc<BTreeSet<Identity>>>,
    clock: WallClock,
}

impl LiveTrust {
    /// Starts with these roots.
    pub fn new(bundle: impl Into<TrustBundle>, clock: WallClock) -> Self {
        let refused = watch::Sender::default();
        Self(Arc::new(Cell { bundle: ArcSwap::from_pointee(bundle.into()), refused, clock }))
    }

    /// New handshakes believe these roots from now on.
    pub fn replace(&self, bundle: impl Into<TrustBundle>) {
        self.0.bundle.store(Arc::new(bundle.into()));
    }

    /// The roots believed now.
    pub fn current(&self) -> Arc<TrustBundle> {
        self.0.bundle.load_full()
    }

    /// Refuses exactly these identities from now on: their handshakes fail, and the connections they have are cut at once.
    pub fn refuse(&self, identities: BTreeSet<Identity>) {
        self.0.refused.send_if_modified(|refused| {
            let changed = **refused != identities;
            *refused = Arc::new(identities);
            changed
        });
    }

    /// Whether this identity is refused by name.
    pub fn refuses(&self, identity: &Identity) -> bool {
        self.0.refused.borrow().contains(identity)
    }

    /// Resolves when this identity is refused by name.
    pub(crate) fn refusal_of(&self, identity: Identity) -> impl Future<Output = ()> + Send + use<> {
        let mut refused = self.0.refused.subscribe();
        async move {
            if refused.wait_for(|refused| refused.contains(&identity)).await.is_err() {
                future::pending::<()>().await; // nobody is left who could refuse it
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
