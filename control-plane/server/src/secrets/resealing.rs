//! Seals values of Secrets anew that earlier versions of the federation key sealed. Once a rotation is over, no value opens with an earlier
//! version.

use std::collections::BTreeSet;

use hanse_management::{ResourceKey, kinds::SealedValue};
use hanse_state::{CommandBody, FederationKeys, ResealedValue, State};
use parking_lot::Mutex;
use tracing::{error, warn};

use super::{
    keyring::{Keyring, Keys, Unopened},
    sealing::{place, sealed},
};

/// Most bytes of one command. The leader looks once a second, so Secrets of 60 MiB take a minute, and other commands wait for a small one.
const MAX_BYTES: usize = 1 << 20;
/// What a value has in a command beside its sealed bytes: a digest, and at most three names of 64 bytes.
const BESIDE_BYTES: usize = 256;

/// How many Secrets a line of the log names. `GET /v1/federation-key` names as many.
const NAMED: usize = 10;

/// Seals with the versions that are here.
pub(crate) struct Resealing {
    keys: Keys,
    /// What was logged last. The leader looks each second, and the same is logged once.
    said: Mutex<Left>,
}

/// Why values stay under earlier versions.
#[derive(Debug, Default, PartialEq)]
struct Left {
    /// The versions that this node lacks.
    lacking: BTreeSet<u32>,
    /// The Secrets with a value that does not open.
    unopened: BTreeSet<ResourceKey>,
}

impl Resealing {
    /// With these keys.
    pub(crate) fn by(keys: Keys) -> Self {
        Self { keys, said: Mutex::default() }
    }

    /// The command that seals the next values with the active version. `None`: no value is left that opens here.
    pub(crate) fn next(&self, state: &State) -> Option<CommandBody> {
        let keys = state.federation_keys();
        let (active, _) = keys.active()?;
        // Where one version was used, all values are under it: the leader need not look at all Secrets each second.
        keys.versions().filter(|(_, version)| version.used).nth(1)?;
        let keyring = self.keys.current();
        let (mut values, mut bytes, mut left) = (Vec::new(), 0, Left::default());
        for (secret, field, present) in state.outdated_values() {
            match anew(keys, &keyring, active, (secret, field, present)) {
                Ok(value) => {
                    bytes += value.sealed.len() + BESIDE_BYTES;
                    if bytes > MAX_BYTES {
                        break;
                    }
                    values.push(value);
                }
                Err(Unopened::Lacks(version)) => drop(left.lacking.insert(version)),
                Err(Unopened::Altered) => drop(left.unopened.insert(secret.clone())),
            }
        }
        if values.is_empty() {
            self.say(left);
            return None;
        }
        Some(CommandBody::Reseal(values))
    }

    /// Logs why values are left, if that is new.
    fn say(&self, left: Left) {
        let mut said = self.said.lock();
        if *said == left {
            return;
        }
        if !left.lacking.is_empty() {
            let versions = &left.lacking;
            warn!(
                ?versions,
                "values of Secrets stay sealed as they are until this node has these versions of the federation key"
            );
        }
        if !left.unopened.is_empty() {
            let (count, named) = (left.unopened.len(), left.unopened.iter().take(NAMED));
            let secrets = named.map(ToString::to_string).collect::<Vec<_>>().join(", ");
            error!(
                count,
                secrets,
                "data of Secrets does not open with its version of the federation key, and stays sealed as it is: write it anew"
            );
        }
        *said = left;
    }
}

/// One value, sealed anew.
fn anew(
    keys: &FederationKeys,
    keyring: &Keyring,
    active: u32,
    (secret, field, present): (&ResourceKey, &str, &SealedValue),
) -> Result<ResealedValue, Unopened> {
    let later = keyring.of_version(keys, active).ok_or(Unopened::Lacks(active))?;
    let data = keyring.open(keys, secret, field, present)?;
    let sealed = place(secret, field).ok().and_then(|place| sealed(later, active, place, &data));
    Ok(ResealedValue::of(secret, field, present, active, sealed.ok_or(Unopened::Altered)?))
}

#[cfg(test)]
mod tests;
