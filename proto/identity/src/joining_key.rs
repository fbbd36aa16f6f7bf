//! The key that a process is joining with: kept until it has joined, so that a join whose answer was lost is repeated with the
//! same key, which spends nothing more of the token.

use std::path::Path;

use hanse_process::json_file::{self, Error};

use crate::{KeyPair, PkiError};

/// Its name in the data directory.
const FILE: &str = "joining-key";

/// The key to join with, made at the first call.
pub fn joining_key<E: From<Error> + From<PkiError>>(data_dir: &Path) -> Result<KeyPair, E> {
    if let Some(pem) = json_file::read::<String>(data_dir, FILE)? {
        return Ok(KeyPair::from_pem(&pem)?);
    }
    let key = KeyPair::generate()?;
    json_file::write(data_dir, FILE, &key.to_pem())?;
    Ok(key)
}

/// To be called once it is saved with its certificate.
pub fn forget_joining_key(data_dir: &Path) -> Result<(), Error> {
    json_file::remove(data_dir, FILE)
}
