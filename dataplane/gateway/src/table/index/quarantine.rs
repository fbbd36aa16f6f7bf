//! What is in force and is not what was received.

use std::collections::BTreeMap;

use bytes::Bytes;
use hanse_proto::sync::Quarantined;
use hanse_runtime::Unusable;
use sha2::{Digest as _, Sha256};

use super::{ConnectProfiles, Key, ScopeIndex};

impl ScopeIndex {
    /// What cannot be used as received, with the reason.
    pub(super) fn unusable(&self) -> impl Iterator<Item = (&str, &Unusable)> {
        let refused = self.versions.refused();
        let dangling = self.dangling.iter().filter(|(key, _)| !refused.contains_key(*key));
        let refused = refused.iter().map(|(key, refused)| (&**key, &refused.reason));
        let barred = self.barred.iter().map(|(key, (_, reason))| (&**key, reason));
        refused.chain(dangling.map(|(key, reason)| (&**key, reason))).chain(barred)
    }

    /// What cannot be used as received, with the reason and with what is in use instead; and what is gone and still in use.
    /// `held_over`: as [`Self::held_over`] has it.
    pub fn quarantined(&self, held_over: &BTreeMap<Key, Bytes>) -> Vec<Quarantined> {
        let received = self.versions.received();
        let barred = |key: &str| self.barred.get(key).map(|(bytes, _)| bytes);
        let hash = |bytes: Option<&Bytes>| -> Bytes {
            bytes.map_or_else(Bytes::new, |bytes| Sha256::digest(bytes).to_vec().into())
        };
        let unusable = self.unusable().map(|(key, reason)| Quarantined {
            key: key.to_owned(),
            received: hash(received.get(key).or_else(|| barred(key))),
            // A subscription whose plan is missing is in force as it is.
            effective: hash(held_over.get(key).or_else(|| {
                let as_it_is = self.subscriptions.contains(key) && !self.versions.refused().contains_key(key);
                received.get(key).filter(|_| as_it_is)
            })),
            field: reason.field.clone(),
            reason: reason.reason.clone(),
        });
        let gone = held_over.iter().filter(|(key, _)| !received.contains_key(*key));
        let gone = gone.map(|(key, bytes)| Quarantined {
            key: key.to_string(),
            received: Bytes::new(),
            effective: hash(Some(bytes)),
            field: String::new(),
            reason: "is removed; what cannot be used as received still needs it".to_owned(),
        });
        unusable.chain(gone).collect()
    }

    /// Applies changes of any number of revisions, with the versions in `held_over` where what they lead to cannot be used: as if
    /// those had been seen in their time.
    pub fn catch_up(
        &mut self,
        held_over: Vec<(Key, Bytes)>,
        upserts: Vec<(Key, Bytes)>,
        removals: Vec<Key>,
        profiles: &mut ConnectProfiles,
    ) {
        self.apply(held_over, Vec::new(), profiles);
        // What is gone goes last: what needs it must have met it.
        self.apply(upserts, Vec::new(), profiles);
        self.apply(Vec::new(), removals, profiles);
    }

    /// The keys that are not in force as received, each with the version that is, if there is one.
    pub fn exceptions(&self, held_over: BTreeMap<Key, Bytes>) -> BTreeMap<Key, Option<Bytes>> {
        let mut exceptions: BTreeMap<Key, Option<Bytes>> =
            self.unusable().map(|(key, _)| (Key::from(key), None)).collect();
        exceptions.extend(held_over.into_iter().map(|(key, bytes)| (key, Some(bytes))));
        exceptions
    }

    /// The last good versions in force, by key: of what cannot be used as received, and of what is gone and still needed. With
    /// these and what was received, [`Self::replace`] makes an index that serves the same.
    pub fn held_over(&self) -> BTreeMap<Key, Bytes> {
        let refused = self.versions.refused().iter();
        let mut held: BTreeMap<Key, Bytes> =
            refused.filter_map(|(key, refused)| Some((key.clone(), refused.last_good.clone()?))).collect();
        for key in self.dangling.keys() {
            let route = self.routes.in_force(key);
            let route = route.map(|served| (&served.from, served.upstream(), &served.upstream_from));
            let granted = self.subscriptions.granted(key);
            let granted = granted.map(|granted| (&granted.from, &granted.plan, &granted.plan_from));
            let Some((own, needs, needed)) = route.or(granted) else { continue };
            // Whom a subscription admits is never taken from an older version than the last good one, its limit is.
            let superseded = self.versions.refused().contains_key(key) && self.subscriptions.contains(key);
            if self.versions.received().get(key) != Some(own) && !superseded {
                held.insert(key.clone(), own.clone());
            }
            if let Some(needed) = needed.as_ref().filter(|_| self.versions.usable(needs).is_none()) {
                held.insert(needs.clone(), needed.clone());
            }
        }
        held
    }
}
