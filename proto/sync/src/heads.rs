//! Which local scopes a subscriber asks for, and which of their heads it believes.

use std::fmt;

use hanse_proto::sync::HeadSignature;
use hanse_topology::{Position, ScopeId};

use crate::ContentRoot;

/// The most bytes of keys and values in a local scope. Each takeover is a snapshot to each subscriber.
pub const MAX_LOCAL_BYTES: usize = 64 << 20;
/// The most keys in a local scope: one for each of the Endpoints of a large Kubernetes cluster.
pub const MAX_LOCAL_KEYS: usize = 50_000;

/// Judges the heads of local scopes. Any neighbour may bring a local scope, so what counts is the signature of one of its holders.
pub trait Heads: fmt::Debug + Send + Sync {
    /// Whether the node has an Origin that places this local scope.
    fn wants(&self, scope: &ScopeId) -> bool;

    /// Whether a holder of the scope signed that its content has this root at this position; else why it is not believed.
    fn judge(
        &self,
        scope: &ScopeId,
        position: &Position,
        root: &ContentRoot,
        signature: &HeadSignature,
    ) -> Result<(), String>;
}

/// Of a node that asks for no local scope.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHeads;

impl Heads for NoHeads {
    fn wants(&self, _scope: &ScopeId) -> bool {
        false
    }

    fn judge(
        &self,
        _scope: &ScopeId,
        _position: &Position,
        _root: &ContentRoot,
        _signature: &HeadSignature,
    ) -> Result<(), String> {
        Err("this node knows no Origin".to_owned())
    }
}
