//! The audit: one entry for each accepted command that changed something, in a chain of hashes. Every node makes the same one.
//!
//! - [`AuditEntry`]: who, when, from where, which resources, and what was before and after, without secrets.
//! - [`AuditLog`]: the entries that are kept, and where the chain begins and ends.
//!
//! An entry that is changed, dropped or moved no longer fits the hash of the next one. The oldest entries go only by a command
//! that names the hash of the last one of them; that hash stays as the beginning of the chain.

mod diff;
mod log;
mod record;
mod wire;

use hanse_management::ResourceKey;
use serde_json::Value;

use crate::Origin;

pub(crate) use diff::digest;
pub use log::{AuditLink, AuditLog};
pub(crate) use record::record;

/// A hash of the chain: SHA-256.
pub type AuditHash = [u8; 32];

/// One command that was accepted and changed something.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Its place in the chain, from 1 on.
    pub number: u64,
    /// The state's revision after it.
    pub revision: u64,
    /// The state's time, Unix milliseconds.
    pub time_ms: u64,
    /// Who asked: a Token's name or a node's identity.
    pub actor: String,
    /// With which right, and from where.
    pub origin: Origin,
    /// The request's id.
    pub request_id: String,
    /// What was asked: `apply`, or `revoke IDENTITY`.
    pub what: String,
    /// What happened to resources, in the order of the outcome. Each is named.
    pub changes: Vec<AuditChange>,
}

/// What happened to one resource.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditChange {
    /// Which.
    pub key: ResourceKey,
    /// `created`, `updated`, `deleted` or `moved`.
    pub action: String,
    /// What differs, in the order of the pointers.
    pub fields: Vec<AuditField>,
    /// In the place of fields that did not fit: SHA-256 and size of what the resource is, or of what it was when it is gone.
    pub left_out: Option<LeftOut>,
}

/// A part of a resource that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditField {
    /// Where it is: a JSON pointer such as `/spec/rate/requests`.
    pub pointer: String,
    /// What was there; `None`: nothing.
    pub before: Option<Value>,
    /// What is there.
    pub after: Option<Value>,
}

/// A content that did not fit into an entry: labels and protection as a JSON object, behind it the spec as JSON, without secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    /// How many bytes it has.
    pub bytes: u64,
    /// SHA-256 of these bytes.
    pub sha256: [u8; 32],
}

#[cfg(test)]
pub(crate) use tests::holds;

#[cfg(test)]
mod tests;
