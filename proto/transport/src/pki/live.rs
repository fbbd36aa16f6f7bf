//! Cells that a process shares and renewal replaces: its authority, and whom it believes.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{Authority, TrustAnchor, TrustBundle};
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

/// Whom verifiers believe, and the clock they judge by. New handshakes use what is current. Cloning shares the cell.
#[derive(Clone)]
pub struct LiveTrust(Arc<Cell>);

struct Cell {
    bundle: ArcSwap<TrustBundle>,
    clock: WallClock,
}

impl LiveTrust {
    /// Starts with these roots.
    pub fn new(bundle: impl Into<TrustBundle>, clock: WallClock) -> Self {
        Self(Arc::new(Cell { bundle: ArcSwap::from_pointee(bundle.into()), clock }))
    }

    /// New handshakes believe these roots from now on.
    pub fn replace(&self, bundle: impl Into<TrustBundle>) {
        self.0.bundle.store(Arc::new(bundle.into()));
    }

    /// The roots believed now.
    pub fn current(&self) -> Arc<TrustBundle> {
        self.0.bundle.load_full()
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
