//! The roots of trust that the federation believes, while one takes another's place. Opaque here: who proposes a root has
//! checked what its certificates say.

use hanse_management::Revision;

use crate::resource::rfc3339;

/// SHA-256 of a root's SubjectPublicKeyInfo: what a root goes by.
pub type RootId = [u8; 32];

/// A root with another root's word for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootCertificate {
    /// Its key.
    pub key: RootId,
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// A certificate of the same key under the other root, DER.
    pub endorsement: Vec<u8>,
}

/// A root that is believed, and who said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The root.
    pub root: RootCertificate,
    /// Who had it believed.
    pub actor: String,
    /// When, by the command's time, Unix milliseconds.
    pub time_ms: u64,
}

impl Root {
    /// When, as RFC 3339 has it.
    pub fn at(&self) -> String {
        rfc3339(self.time_ms)
    }
}

/// Which roots are believed. Of a federation that never replaced its root, nothing is known here: it believes the one it
/// was founded with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Roots {
    /// Those that are believed, in the order they came.
    pub(crate) believed: Vec<Root>,
    /// The one that certificates come from; zeros before the first rotation.
    pub(crate) issuing: RootId,
    /// Those that were believed once and never will be again, the last of them last.
    pub(crate) dropped: Vec<RootId>,
    /// The revision of the last change.
    pub(crate) revision: Revision,
}

impl Roots {
    pub(crate) fn get(&self, key: &RootId) -> Option<&Root> {
        self.believed.iter().find(|believed| believed.root.key == *key)
    }
}
