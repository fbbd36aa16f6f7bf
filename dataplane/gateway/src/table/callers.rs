//! Who may call: API keys by digest, subscriptions by application and Api.

use std::sync::Arc;

use hanse_runtime::Credential;
pub use hanse_runtime::KeyDigest;
use sha2::{Digest as _, Sha256};

use super::map::Map;
use crate::limit::Bucket;

/// An application or Api of an organization, as 128 bits of a SHA-256 over both names: two of them compare and hash
/// in nothing, and no name can be found that passes for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwnedId(u128);

impl OwnedId {
    /// The identity of `name` in `organization`.
    pub fn new(organization: &str, name: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(organization);
        hash.update([0]); // in no name
        hash.update(name);
        let digest: KeyDigest = hash.finalize().into();
        Self(digest.iter().take(16).fold(0, |id, &byte| id << 8 | u128::from(byte)))
    }
}

/// The holder of an API key.
#[derive(Debug)]
pub struct Caller {
    /// The application's name, for the access log.
    pub application: Box<str>,
    /// The application.
    pub id: OwnedId,
    /// Unix seconds after which the key is refused.
    pub expires_at: Option<u64>,
}

/// What a subscription allows.
#[derive(Debug)]
pub struct Grant {
    /// Draws on it; `None`: no limit.
    pub bucket: Option<Arc<Bucket>>,
}

/// The Applications that may call in one environment. Cloning is cheap: clones share what they do not change.
#[derive(Debug, Clone, Default)]
pub struct Callers {
    keys: Map<KeyDigest, Arc<Caller>>,
    grants: Map<(OwnedId, OwnedId), Arc<Grant>>,
}

impl Callers {
    /// Who holds the key of that digest.
    pub fn by_key(&self, digest: &KeyDigest) -> Option<&Arc<Caller>> {
        self.keys.get(digest)
    }

    /// What `application` may do with `api`.
    pub fn grant(&self, application: OwnedId, api: OwnedId) -> Option<&Arc<Grant>> {
        self.grants.get(&(application, api))
    }

    /// Sets, or with `None` removes, the holder of a key.
    pub(super) fn set_key(&mut self, digest: KeyDigest, caller: Option<Arc<Caller>>) {
        match caller {
            Some(caller) => drop(self.keys.insert(digest, caller)),
            None => drop(self.keys.remove(&digest)),
        }
    }

    /// Sets, or with `None` removes, what an application may do with an Api.
    pub(super) fn set_grant(&mut self, pair: (OwnedId, OwnedId), grant: Option<Arc<Grant>>) {
        match grant {
            Some(grant) => drop(self.grants.insert(pair, grant)),
            None => drop(self.grants.remove(&pair)),
        }
    }

    /// How many keys are known.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }
}

/// The digest of a presented key.
pub fn digest(key: &[u8]) -> KeyDigest {
    Sha256::digest(key).into()
}

impl Caller {
    /// The holder of a credential's key.
    pub(super) fn new(credential: &Credential) -> Self {
        Self {
            application: credential.application.as_str().into(),
            id: OwnedId::new(&credential.organization, &credential.application),
            expires_at: credential.expires_at,
        }
    }
}
