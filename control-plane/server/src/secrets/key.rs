//! One version of the federation key.

use std::fmt;

use rand::Rng;
use sha2::{Digest as _, Sha256};

/// Before the key in what its digest is of.
const DIGEST_OF: &[u8] = b"hanse federation key 1";

/// What the state knows a version of the federation key by.
pub(crate) type KeyDigest = [u8; 32];

/// 32 random bytes that Secrets are sealed with. Printing does not reveal them.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// A fresh random key.
    pub(crate) fn generate() -> Self {
        Self(rand::rng().random())
    }

    /// What the state knows it by. It says nothing about the key: that is random.
    pub(crate) fn digest(&self) -> KeyDigest {
        Sha256::new().chain_update(DIGEST_OF).chain_update(self.0).finalize().into()
    }

    /// The secret itself.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Key {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_stays_what_it_was() {
        let digest = "f30ef732b9bc615e7e7b3ab345ca743f1c0be32b07bc7d44c3a1e17e6f75394e";
        assert_eq!(hex::encode(Key::from([7; 32]).digest()), digest);
        assert_ne!(Key::generate(), Key::generate());
        assert_eq!(format!("{:?}", Key::from([7; 32])), "Key(secret)");
    }
}
