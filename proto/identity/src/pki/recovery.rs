//! An operator's recovery pairs: the private keys that open a federation when no control node is left.
//!
//! They lie in a directory in the clear, because they must open where no control node's `store_key` is. The operator keeps it away
//! from control nodes.

use std::{fs, io, path::Path};

use hanse_process::{
    durable::{self, SECRET_MODE},
    private,
};

use super::{KeyPair, PkiError, files::io_error};

const SIGN: &str = "sign.pem";
const WRAP: &str = "wrap.pem";

/// Both pairs.
#[derive(Debug, Clone)]
pub struct RecoveryPairs {
    /// Signs what founds another lineage.
    pub sign: KeyPair,
    /// Opens the federation key.
    pub wrap: KeyPair,
}

impl RecoveryPairs {
    /// Fresh random pairs.
    pub fn generate() -> Result<Self, PkiError> {
        Ok(Self { sign: KeyPair::generate()?, wrap: KeyPair::generate()? })
    }

    /// Writes both private keys into a directory, which is made if it is not there.
    pub fn save(&self, dir: &Path) -> Result<(), PkiError> {
        private::make_dir(dir).map_err(io_error("create", dir))?;
        for (name, pair) in [(SIGN, &self.sign), (WRAP, &self.wrap)] {
            let path = dir.join(name);
            durable::replace(&path, pair.to_pem().as_bytes(), SECRET_MODE)
                .map_err(io_error("write", &path))?;
        }
        Ok(())
    }

    /// Both pairs of a directory. `None`: one of them is not there.
    pub fn load(dir: &Path) -> Result<Option<Self>, PkiError> {
        let (sign, wrap) = (load(&dir.join(SIGN))?, load(&dir.join(WRAP))?);
        Ok(sign.zip(wrap).map(|(sign, wrap)| Self { sign, wrap }))
    }

    /// The pair that opens the federation key. `None`: it is not in the directory.
    pub fn load_wrap(dir: &Path) -> Result<Option<KeyPair>, PkiError> {
        load(&dir.join(WRAP))
    }
}

fn load(path: &Path) -> Result<Option<KeyPair>, PkiError> {
    match fs::read_to_string(path) {
        Ok(pem) => KeyPair::from_named_pem(&pem, &path.display().to_string()).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn pairs_are_kept_for_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("recovery");
        assert!(RecoveryPairs::load_wrap(&dir).unwrap().is_none());
        let pairs = RecoveryPairs::generate().unwrap();
        pairs.save(&dir).unwrap();
        let wrap = RecoveryPairs::load_wrap(&dir).unwrap().unwrap();
        assert_eq!(wrap.public_key_der(), pairs.wrap.public_key_der());
        let both = RecoveryPairs::load(&dir).unwrap().unwrap();
        assert_eq!(both.sign.public_key_der(), pairs.sign.public_key_der());
        assert_ne!(pairs.sign.public_key_der(), pairs.wrap.public_key_der());
        for name in [SIGN, WRAP] {
            assert_eq!(fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(dir.join(WRAP), "what?").unwrap();
        assert!(RecoveryPairs::load_wrap(&dir).unwrap_err().to_string().contains("wrap.pem"));
    }
}
