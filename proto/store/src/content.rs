//! What goes in and comes out.

use std::sync::Arc;

use bytes::Bytes;
use hanse_proto::store::ScopeHead;
use hanse_topology::ScopeId;

/// The last change of one key of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// The key.
    pub key: Arc<str>,
    /// The revision of the change.
    pub revision: u64,
    /// The value since then; `None`: the key was removed.
    pub value: Option<Bytes>,
}

/// The records that go with a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// Those that changed since what is kept; the others stay.
    Changed(Vec<StoredRecord>),
    /// All there are; others go.
    All(Vec<StoredRecord>),
}

/// What to keep of one scope.
#[derive(Debug, Clone, PartialEq)]
pub struct ScopeWrite {
    /// The scope.
    pub scope: ScopeId,
    /// Where it stands once this is kept.
    pub head: ScopeHead,
    /// What is in it.
    pub records: Records,
}

/// Kept as a whole, or not at all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transaction {
    /// Scopes that changed.
    pub writes: Vec<ScopeWrite>,
    /// Scopes that exist no more.
    pub drops: Vec<ScopeId>,
}

impl Transaction {
    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.drops.is_empty()
    }
}

/// One scope as it was kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredScope {
    /// The scope.
    pub scope: ScopeId,
    /// Where it stands.
    pub head: ScopeHead,
    /// What is in it.
    pub records: Vec<StoredRecord>,
}

/// What was kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loaded {
    /// Scopes whose every record could be read.
    pub scopes: Vec<StoredScope>,
    /// The names of scopes that were there and could not be read.
    pub lost: Vec<String>,
}
