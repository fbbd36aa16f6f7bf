//! Where a chain and its private key are kept, and what seals the key there.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{PkiError, files};

/// Seals private keys before they are written to a disk, and opens them.
pub trait Seal: fmt::Debug + Send + Sync {
    /// Seals the content of the file `name`. It opens under this name only.
    fn seal(&self, name: &str, content: &[u8]) -> Vec<u8>;

    /// Opens it. `None`: it was altered, or another key sealed it.
    fn open(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>>;
}

/// A directory with a chain and its private key. A path alone is one whose key is in the clear.
#[derive(Debug, Clone)]
pub struct KeyDir {
    path: PathBuf,
    seal: Option<Arc<dyn Seal>>,
}

impl KeyDir {
    /// A directory whose private key `seal` seals. A key that lies there in the clear is read too.
    pub fn sealed(path: PathBuf, seal: Arc<dyn Seal>) -> Self {
        Self { path, seal: Some(seal) }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Another directory, whose secrets are sealed as the private key of this one is.
    pub fn beside(&self, path: PathBuf) -> Self {
        Self { path, seal: self.seal.clone() }
    }

    pub(super) fn seal(&self) -> Option<&dyn Seal> {
        self.seal.as_deref()
    }

    /// Whether a private key in the directory is in the clear: one that a crash left counts too.
    pub fn holds_plain_key(path: &Path) -> Result<bool, PkiError> {
        files::holds_plain_key(path)
    }
}

impl From<PathBuf> for KeyDir {
    fn from(path: PathBuf) -> Self {
        Self { path, seal: None }
    }
}

impl From<&PathBuf> for KeyDir {
    fn from(path: &PathBuf) -> Self {
        path.clone().into()
    }
}

impl From<&Path> for KeyDir {
    fn from(path: &Path) -> Self {
        path.to_owned().into()
    }
}

impl From<&Self> for KeyDir {
    fn from(dir: &Self) -> Self {
        dir.clone()
    }
}
