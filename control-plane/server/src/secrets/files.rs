//! The federation key on this node's disk: each version in a file of its own, sealed with the key that `store_key` names.

use hanse_identity::{KeyDir, PkiError};
use hanse_process::telemetry;
use tracing::warn;

use super::{key::Key, keyring::Keyring};

/// How the names of the files end.
const ENDING: &str = ".key";
/// How much of a key's digest names its file: no two of a thousand keys have it in common.
const NAMED_BY: usize = 8;

/// The directory of the files. No file is ever removed: after a restart, the state may be older than the version that a file has.
#[derive(Debug, Clone)]
pub(crate) struct KeyFiles(KeyDir);

impl KeyFiles {
    /// In this directory.
    pub(crate) fn new(dir: KeyDir) -> Self {
        Self(dir)
    }

    /// All keys. One that does not open is left out: it comes from another control node or from the recovery pairs again, unless no
    /// state lists it.
    pub(super) fn load(&self) -> Keyring {
        let unreadable = |error: &PkiError| {
            warn!(error = %telemetry::causes(error), "a version of the federation key cannot be read from disk");
        };
        let secrets = self.0.read_secrets(ENDING).inspect_err(unreadable).unwrap_or_default();
        let read = |(name, secret): (String, Result<Vec<u8>, PkiError>)| {
            let secret = secret.inspect_err(unreadable).ok()?;
            let Ok(key) = <[u8; 32]>::try_from(secret).map(Key::from) else {
                warn!(name, "the file has no version of the federation key");
                return None;
            };
            Some(key)
        };
        secrets.into_iter().filter_map(read).collect()
    }

    /// Keeps a key, durably.
    pub(super) fn keep(&self, key: &Key) -> Result<(), PkiError> {
        let name = format!("{}{ENDING}", hex::encode(&key.digest()[..NAMED_BY]));
        self.0.write_secret(&name, key.bytes())
    }
}
