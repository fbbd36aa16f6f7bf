//! A node's own private key, sealed with the key of the node's store.

use std::{path::PathBuf, sync::Arc};

use hanse_identity::{KeyDir, Seal};
use hanse_store::{FileSeal, KeyError, StoreOptions};

/// The directory of a node's private key, sealed with the key of the node's store. No key file is made.
pub fn sealed_keys(dir: PathBuf, store: &StoreOptions) -> Result<KeyDir, KeyError> {
    Ok(KeyDir::sealed(dir, Arc::new(ByStoreKey(FileSeal::load(store)?))))
}

/// The same for a private key that is about to be made. A key file that `store_key` names and that is not there is made.
pub fn freshly_sealed_keys(dir: PathBuf, store: &StoreOptions) -> Result<KeyDir, KeyError> {
    Ok(KeyDir::sealed(dir, Arc::new(ByStoreKey(FileSeal::load_or_make(store)?))))
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
