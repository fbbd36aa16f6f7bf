//! The versions of the federation key that this node holds.

use std::{collections::BTreeMap, sync::Arc};

use hanse_identity::{PkiError, WrappedAs, wrap_key};
use hanse_management::{ResourceKey, Revision, kinds::SealedValue};
use hanse_proto::raft::FederationKey;
use hanse_state::{CommandBody, FederationKeys, State};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::{
    cipher,
    key::{Key, KeyDigest},
    sealing::place,
};

/// Why a value of a Secret does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unopened {
    /// This node lacks this version of the federation key.
    Lacks(u32),
    /// It was altered, or was sealed for another place.
    Altered,
}

/// Keys by their digest. A value: it never changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Keyring(BTreeMap<KeyDigest, Key>);

impl Keyring {
    /// The key with that digest.
    pub(crate) fn key(&self, digest: &KeyDigest) -> Option<&Key> {
        self.0.get(digest)
    }

    /// The key of a version. `None`: it is not here.
    pub(super) fn of_version(&self, keys: &FederationKeys, version: u32) -> Option<&Key> {
        self.key(&keys.get(version)?.digest)
    }

    /// Opens the sealed value of a field of a Secret.
    pub(super) fn open(
        &self,
        keys: &FederationKeys,
        secret: &ResourceKey,
        field: &str,
        SealedValue { version, sealed, .. }: &SealedValue,
    ) -> Result<Vec<u8>, Unopened> {
        let key = self.of_version(keys, *version).ok_or(Unopened::Lacks(*version))?;
        let place = place(secret, field).map_err(|_of_no_organization| Unopened::Altered)?;
        cipher::open(key, *version, place, sealed).ok_or(Unopened::Altered)
    }

    /// The same with one more key.
    pub(super) fn with(&self, key: Key) -> Self {
        let mut keys = self.0.clone();
        keys.insert(key.digest(), key);
        Self(keys)
    }

    /// Why this node can neither open nor seal all Secrets of `state`: it lacks a version that is or was used. `None`: it lacks none.
    pub(crate) fn lacking(&self, state: &State) -> Option<String> {
        let lacks = self.missing(state.federation_keys(), |version| version.used).next()?;
        Some(format!(
            "this control node lacks version {lacks} of the federation key. It asks the other control nodes for it; if none has it, bring the recovery pairs into pki/recovery"
        ))
    }

    /// The numbers of the versions that `are` so and that are not here.
    pub(super) fn missing<'a>(
        &'a self,
        keys: &'a FederationKeys,
        are: impl Fn(&hanse_state::KeyVersion) -> bool + 'a,
    ) -> impl Iterator<Item = u32> + 'a {
        let missing =
            keys.versions().filter(move |(_, version)| are(version) && self.key(&version.digest).is_none());
        missing.map(|(number, _)| number)
    }

    /// The keys that are here, of those that `state` lists: what another control node may be told.
    pub(crate) fn told(&self, state: &State) -> Vec<FederationKey> {
        let told = |(_, version): (u32, &hanse_state::KeyVersion)| {
            Some(FederationKey { key: self.key(&version.digest)?.bytes().to_vec().into() })
        };
        state.federation_keys().versions().filter_map(told).collect()
    }

    /// The newest version that is here and up to which this node lacks none; 0: there is none.
    pub(crate) fn newest(&self, state: &State) -> u32 {
        let is_here = |version: &hanse_state::KeyVersion| self.key(&version.digest).is_some();
        let versions = state.federation_keys().versions();
        let up_to_a_gap = versions.take_while(|(_, version)| is_here(version) || !version.used);
        up_to_a_gap.filter(|(_, version)| is_here(version)).last().map_or(0, |(number, _)| number)
    }
}

impl FromIterator<Key> for Keyring {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        Self(keys.into_iter().map(|key| (key.digest(), key)).collect())
    }
}

/// A key that this node made to become the next version. It is in the Keyring already, so it is durable.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    /// What it is made for.
    pub(super) turn: Turn,
    pub(super) key: Key,
}

/// One turn at making a version. A key that was made for another turn is not used: it may be older than a theft, of which the rotation
/// is the consequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    version: u32,
    rotate_after: Revision,
}

impl Turn {
    /// The present one. `None`: there is no recovery key, or no room for another version.
    pub(super) fn of(keys: &FederationKeys) -> Option<Self> {
        keys.recovery()?;
        Some(Self { version: keys.next_number()?, rotate_after: keys.rotate_after() })
    }
}

/// What this node holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    pub(super) keyring: Arc<Keyring>,
    pub(super) candidate: Option<Candidate>,
}

/// The Keyring as it is now. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Keys(watch::Receiver<Held>);

impl Keys {
    /// Keys that a task keeps, from these on.
    pub(super) fn of(keyring: Keyring) -> (watch::Sender<Held>, Self) {
        let (sender, receiver) = watch::channel(Held { keyring: Arc::new(keyring), candidate: None });
        (sender, Self(receiver))
    }

    /// These keys, for good.
    #[cfg(test)]
    pub(crate) fn fixed(keyring: Keyring) -> Self {
        Self::of(keyring).1
    }

    /// No keys, for good.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self::fixed(Keyring::default())
    }

    /// No keys at first, and what adds one.
    #[cfg(test)]
    pub(crate) fn growing() -> (impl Fn(Key), Self) {
        let (held, keys) = Self::of(Keyring::default());
        (move |key| held.send_modify(|held| held.keyring = Arc::new(held.keyring.with(key))), keys)
    }

    /// The Keyring, now.
    pub(crate) fn current(&self) -> Arc<Keyring> {
        self.0.borrow().keyring.clone()
    }

    /// As [`Keyring::lacking`].
    pub(crate) fn lacking(&self, state: &State) -> Option<String> {
        self.current().lacking(state)
    }

    /// As [`Keyring::newest`].
    pub(crate) fn newest(&self, state: &State) -> u32 {
        self.current().newest(state)
    }

    /// Resolves when the Keyring may be another than at the last look of this handle.
    pub(crate) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The command that makes this node's candidate the next version. `None`: this node has none for this turn.
    pub(crate) fn addition(&self, state: &State, maker: &str) -> Option<Result<CommandBody, PkiError>> {
        let keys = state.federation_keys();
        let (turn, recovery) = (Turn::of(keys)?, keys.recovery()?);
        let Candidate { key, .. } =
            self.0.borrow().candidate.clone().filter(|candidate| candidate.turn == turn)?;
        let (version, digest) = (turn.version, key.digest());
        let wrapped = wrap_key(&recovery.wrap, WrappedAs { version, digest: &digest }, key.bytes());
        Some(wrapped.map(|wrapped| CommandBody::AddKey {
            version,
            digest,
            recipient: Sha256::digest(&recovery.wrap).into(),
            wrapped,
            maker: maker.to_owned(),
            rotate_after: turn.rotate_after,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::fixture::Federation;

    #[test]
    fn a_newer_version_hides_no_gap() {
        let key = |byte: u8| Key::from([byte; 32]);
        let mut federation = Federation::new();
        // Version 2 was skipped, version 4 is pending.
        federation.add(&key(1)).used(1).rotate().add(&key(2)).rotate().add(&key(3)).used(3);
        federation.rotate().add(&key(4));
        let newest = |held: &[u8]| {
            let keyring: Keyring = held.iter().map(|byte| key(*byte)).collect();
            let newest = keyring.newest(&federation.state);
            let lacks = keyring.lacking(&federation.state).is_some();
            assert_eq!(lacks, newest < 3, "{held:?}");
            newest
        };
        assert_eq!(newest(&[]), 0);
        assert_eq!(newest(&[1]), 1);
        assert_eq!(newest(&[1, 2]), 2);
        assert_eq!(newest(&[1, 4]), 1, "version 3 is missing");
        assert_eq!(newest(&[3, 4]), 0, "version 1 is missing, and Secrets may be sealed with it");
        assert_eq!(newest(&[1, 3]), 3);
        assert_eq!(newest(&[1, 3, 4]), 4);
    }
}
