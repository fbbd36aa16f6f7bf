//! Seals values of Secrets anew that earlier versions of the federation key sealed. Once a rotation is over, no value opens with an earlier
//! version.

use std::collections::BTreeSet;

use hanse_management::{ResourceKey, kinds::SealedValue};
use hanse_state::{CommandBody, ResealedValue, State};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tracing::error;

use super::{
    cipher,
    keyring::{Keyring, Keys},
    sealing::{place, sealed},
};

/// Most bytes of one command. The leader looks once a second, so Secrets of 60 MiB take a minute, and other commands wait for a small one.
const MAX_BYTES: usize = 1 << 20;
/// What a value has in a command beside its sealed bytes: a digest, and at most three names of 64 bytes.
const BESIDE_BYTES: usize = 256;

/// Seals with the versions that are here.
pub(crate) struct Resealing {
    keys: Keys,
    /// The values that did not open, with their Secrets: each is logged once.
    unopened: Mutex<BTreeSet<(ResourceKey, String)>>,
}

impl Resealing {
    /// With these keys.
    pub(crate) fn by(keys: Keys) -> Self {
        Self { keys, unopened: Mutex::default() }
    }

    /// The command that seals the next values with the active version. `None`: no value is left that opens here.
    pub(crate) fn next(&self, state: &State) -> Option<CommandBody> {
        let (active, _) = state.federation_keys().active()?;
        let keyring = self.keys.current();
        let (mut values, mut bytes) = (Vec::new(), 0);
        for (secret, field, present) in state.outdated_values() {
            let Some(value) = self.anew(state, &keyring, active, (secret, field, present)) else { continue };
            bytes += value.sealed.sealed.len() + BESIDE_BYTES;
            if bytes > MAX_BYTES {
                break;
            }
            values.push(value);
        }
        (!values.is_empty()).then_some(CommandBody::Reseal(values))
    }

    /// One value, sealed anew. `None`: a version is lacking here, or the value does not open.
    fn anew(
        &self,
        state: &State,
        keyring: &Keyring,
        active: u32,
        (secret, field, present): (&ResourceKey, &str, &SealedValue),
    ) -> Option<ResealedValue> {
        let keys = state.federation_keys();
        let key = |version: u32| keyring.key(&keys.get(version)?.digest);
        let (earlier, later, place) = (key(present.version)?, key(active)?, place(secret, field).ok()?);
        let Some(data) = cipher::open(earlier, present.version, place, &present.sealed) else {
            if self.unopened.lock().insert((secret.clone(), field.to_owned())) {
                error!(%secret, field, version = present.version, "a Secret's data does not open, and stays sealed as it is: write it anew");
            }
            return None;
        };
        Some(ResealedValue {
            secret: secret.clone(),
            field: field.to_owned(),
            was: Sha256::digest(&present.sealed).into(),
            sealed: SealedValue {
                version: active,
                sealed: sealed(later, active, place, &data)?,
                same_as: None,
            },
        })
    }
}

#[cfg(test)]
mod tests;
