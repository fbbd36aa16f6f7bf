//! A chain and its key in a directory, replaced so that a crash leaves a pair that fits together.
//!
//! Two files cannot be renamed at once. The key goes first, while the key it replaces stays beside it. A reader
//! takes the key that fits the chain.

use std::{fs, io, path::Path};

use hanse_process::{
    durable::{self, SECRET_MODE},
    private,
};

use super::{Chain, KeyPair, PkiError, keys};

const CHAIN: &str = "chain.pem";
const KEY: &str = "key.pem";
const PREVIOUS_KEY: &str = "key.previous.pem";

/// Writes chain and key, durably and so that any crash leaves a readable pair, old or new.
pub(super) fn save(dir: &Path, chain: &Chain, key: &KeyPair) -> Result<(), PkiError> {
    private::make_dir(dir).map_err(io_error("create", dir))?;
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        durable::sync(parent).map_err(io_error("sync", parent))?;
    }
    let previous = dir.join(PREVIOUS_KEY);
    // Whichever of the two fits the chain now, so that a crash after a crash loses nothing either.
    if let Ok((_, current)) = load(dir) {
        replace(dir, PREVIOUS_KEY, &current.to_pem(), SECRET_MODE)?;
    }
    replace(dir, KEY, &key.to_pem(), SECRET_MODE)?;
    replace(dir, CHAIN, &keys::certificates_to_pem(chain), SECRET_MODE)?;
    match fs::remove_file(&previous) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &previous)(error)),
        _ => Ok(()),
    }
}

/// Whether `save` has come to its end in this directory at least once: the chain is written last.
pub(super) fn is_saved(dir: &Path) -> bool {
    dir.join(CHAIN).exists()
}

/// Reads chain and the key that fits it.
pub(super) fn load(dir: &Path) -> Result<(Chain, KeyPair), PkiError> {
    let read = |name: &str| {
        let path = dir.join(name);
        let text = fs::read_to_string(&path).map_err(io_error("read", &path))?;
        Ok::<_, PkiError>((text, path.display().to_string()))
    };
    let (chain, path) = read(CHAIN)?;
    let chain = keys::certificates_from_pem(&chain, &path)?;
    let (key, path) = read(KEY)?;
    let key = KeyPair::from_named_pem(&key, &path)?;
    if key.belongs_to(&chain[0]) {
        return Ok((chain, key));
    }
    // A crash between the two renames of `save`.
    let (previous, path) = read(PREVIOUS_KEY).map_err(|_| PkiError::KeyMismatch)?;
    let previous = KeyPair::from_named_pem(&previous, &path)?;
    if previous.belongs_to(&chain[0]) { Ok((chain, previous)) } else { Err(PkiError::KeyMismatch) }
}

fn replace(dir: &Path, name: &str, content: &str, mode: u32) -> Result<(), PkiError> {
    let path = dir.join(name);
    durable::replace(&path, content.as_bytes(), mode).map_err(io_error("write", &path))
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PkiError {
    let path = path.to_owned();
    move |source| PkiError::Io { action, path, source }
}
