//! A node's own private key, sealed with the key of the node's store.

use std::{path::PathBuf, sync::Arc};

use hanse_identity::{KeyDir, PkiError, Seal};
use hanse_store::{FileSeal, KeyError, StoreOptions};

/// Why a directory's key can be neither sealed nor opened.
#[derive(Debug, thiserror::Error)]
pub enum NoSeal {
    /// The key that `store_key` names is not to be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The directory cannot be read.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// The directory of a node's private key, sealed with the key of the node's store. A key file that `store_key` names and that is
/// not there is made, unless a key in the directory is sealed already.
pub fn sealed_keys(dir: PathBuf, store: &StoreOptions) -> Result<KeyDir, NoSeal> {
    let seal = FileSeal::load(store, KeyDir::holds_sealed_key(&dir)?)?;
    Ok(KeyDir::sealed(dir, Arc::new(ByStoreKey(seal))))
}

/// The same for a private key that is about to be made: what the directory holds need not open any more, so a key file is made too
/// where one sealed key is there.
pub fn freshly_sealed_keys(dir: PathBuf, store: &StoreOptions) -> Result<KeyDir, NoSeal> {
    let seal = FileSeal::load(store, false)?;
    Ok(KeyDir::sealed(dir, Arc::new(ByStoreKey(seal))))
}

#[derive(Debug)]
struct ByStoreKey(FileSeal);

impl Seal for ByStoreKey {
    fn seal(&self, name: &str, content: &[u8]) -> Vec<u8> {
        self.0.seal(name, content)
    }

    fn open(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.open(name, sealed)
    }
}
