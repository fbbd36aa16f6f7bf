//! Who may subscribe to what.

use hanse_identity::PeerKeys;
use hanse_sync::{HeldHead, Revoked, TrustedRoots};
use hanse_topology::{Identity, Position, ScopeId};
use tokio::sync::watch;

/// What a subscriber is offered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offer {
    /// The scopes it may subscribe to.
    pub scopes: Vec<ScopeId>,
    /// The state that says so, or an earlier one. The subscriber **drops** what it holds at or before that position and is
    /// not offered. `None`: it drops nothing, which is always safe.
    pub as_of: Option<Position>,
}

/// A peer that is not known by its name *and* key. That may change: the node may not have heard yet that the peer joined, or with
/// which key. So the peer is told to try again, and keeps what it holds meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Why, and what to do if it stays so; the peer's operator reads it.
    pub why: String,
}

/// Decides which scopes a subscriber may have. Asked when a stream opens and after every change.
pub trait Admission: Send + Sync {
    /// What `peer` may have, and the state that says so: take the position before the scopes, for these may come from a
    /// later state and never from an earlier one. [`Unknown`] if it did not join, cannot be looked up, or comes with another key than
    /// it joined with, for a name belongs to one key: its stream ends, and nothing that it says counts.
    fn offer_to(&self, peer: &Identity, keys: &PeerKeys) -> Result<Offer, Unknown>;

    /// Whether `peer` may call at all; asked before anything of a call is read. As a rule the call itself decides.
    fn may_call(&self, peer: &Identity, keys: &PeerKeys) -> Result<(), Unknown> {
        let _ = (peer, keys);
        Ok(())
    }

    /// Who is refused, as far as it concerns `peer`. `None`: nothing is said of it, as by those who do not know.
    fn revoked_for(&self, peer: &Identity) -> Option<Revoked> {
        let _ = peer;
        None
    }

    /// Which roots of trust are believed. `None`: nothing is said of it.
    fn roots(&self) -> Option<TrustedRoots> {
        None
    }

    /// A subscriber says that it holds this head of a local scope. Nothing of it is judged yet.
    fn note_head(&self, scope: &ScopeId, head: &HeldHead) {
        let _ = (scope, head);
    }

    /// Fires when answers may have changed.
    fn changed(&self) -> watch::Receiver<u64>;
}
