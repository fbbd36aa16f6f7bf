//! What was received, and which versions of it can be used.

use std::collections::BTreeMap;

use bytes::Bytes;
use hanse_runtime::Unusable;

use super::Key;

/// The resources of a scope as they came.
#[derive(Debug, Default)]
pub(super) struct Versions {
    /// As received: what is compared when everything comes again.
    received: BTreeMap<Key, Bytes>,
    /// What cannot be used by itself.
    refused: BTreeMap<Key, Refused>,
}

/// A resource that cannot be used by itself.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) reason: Unusable,
    /// The last version that could be used, if there was one.
    pub(super) last_good: Option<Bytes>,
}

impl Versions {
    /// Everything as received.
    pub(super) fn received(&self) -> &BTreeMap<Key, Bytes> {
        &self.received
    }

    /// What cannot be used by itself.
    pub(super) fn refused(&self) -> &BTreeMap<Key, Refused> {
        &self.refused
    }

    /// The version of a resource that can be used by itself.
    pub(super) fn usable(&self, key: &Key) -> Option<&Bytes> {
        match self.refused.get(key) {
            Some(refused) => refused.last_good.as_ref(),
            None => self.received.get(key),
        }
    }

    /// A new version came, and could be used or not.
    pub(super) fn insert(&mut self, key: Key, bytes: Bytes, used: Result<(), Unusable>) {
        let before = self.received.insert(key.clone(), bytes);
        let refused = self.refused.remove(&key);
        if let Err(reason) = used {
            let last_good = match refused {
                Some(refused) => refused.last_good,
                None => before,
            };
            self.refused.insert(key, Refused { reason, last_good });
        }
    }

    /// It is gone.
    pub(super) fn remove(&mut self, key: &Key) {
        self.received.remove(key);
        self.refused.remove(key);
    }
}
