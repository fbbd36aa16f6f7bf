//! Which local scopes a subscriber asks for, and which of their heads it believes.

use std::fmt;

use hanse_proto::sync::HeadSignature;
use hanse_topology::{Position, ScopeId};

use crate::{ContentRoot, HeldHead, Replica};

/// The most bytes of keys and values in a local scope. Each takeover is a snapshot to each subscriber.
pub const MAX_LOCAL_BYTES: usize = 64 << 20;
/// The most keys in a local scope: one for each of the Endpoints of a large Kubernetes cluster.
pub const MAX_LOCAL_KEYS: usize = 50_000;

/// Why a head of a local scope is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disbelief {
    /// As far as this node knows now, the key is no holder's. The Origin that names the holder may be on its way.
    #[error("{0}")]
    Unknown(String),
    /// The key is a holder's, and the signature does not fit.
    #[error("{0}")]
    Forged(String),
}

/// Judges the heads of local scopes. Any neighbour may bring a local scope, so what counts is the signature of one of its holders.
pub trait Heads: fmt::Debug + Send + Sync {
    /// Whether the node has an Origin that places this local scope.
    fn wants(&self, scope: &ScopeId) -> bool;

    /// Whether the key of a signature is a holder's now, and the lineage begins with it; else why not. The signature itself is not
    /// verified: that is for heads that were judged before.
    fn is_holders(
        &self,
        scope: &ScopeId,
        position: &Position,
        signature: &HeadSignature,
    ) -> Result<(), String>;

    /// Whether a holder of the scope signed that its content has this root at this position; else why it is not believed.
    fn judge(
        &self,
        scope: &ScopeId,
        position: &Position,
        root: &ContentRoot,
        signature: &HeadSignature,
    ) -> Result<(), Disbelief>;

    /// The greatest head of a local scope that another node was shown to hold, where it was beyond what this node held. Publishers that
    /// lack it are told of it: one of them may be a holder, or follow one. Nodes without subscribers know none.
    fn met(&self, _scope: &ScopeId) -> Option<HeldHead> {
        None
    }

    /// The believed head that the node itself holds of a local scope, on a link that has a hub of its own, where its lineage does not
    /// give way to that of `link`, which is what the link holds. The publisher is told of it too, once it lacked it for a while.
    fn own(&self, _scope: &ScopeId, _link: Option<&Position>) -> Option<HeldHead> {
        None
    }

    /// What is held of a scope, where it counts as a position. A head of a local scope counts only as long as its holder is
    /// believed: after that its content is used on, and any believed head takes its place.
    fn believed<'a>(&self, scope: &ScopeId, held: Option<&'a Replica>) -> Option<&'a Replica> {
        let position = held?.position()?;
        let is_holders = |signature| self.is_holders(scope, position, signature).is_ok();
        held.filter(|held| !scope.is_local() || held.signature().is_some_and(is_holders))
    }
}

/// Of a node that asks for no local scope.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHeads;

impl Heads for NoHeads {
    fn wants(&self, _scope: &ScopeId) -> bool {
        false
    }

    fn is_holders(
        &self,
        _scope: &ScopeId,
        _position: &Position,
        _signature: &HeadSignature,
    ) -> Result<(), String> {
        Err("this node knows no Origin".to_owned())
    }

    fn judge(
        &self,
        scope: &ScopeId,
        position: &Position,
        _root: &ContentRoot,
        signature: &HeadSignature,
    ) -> Result<(), Disbelief> {
        self.is_holders(scope, position, signature).map_err(Disbelief::Unknown)
    }
}
