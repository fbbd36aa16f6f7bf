//! A chain and its key in a directory, replaced so that a crash leaves a pair that fits together.
//!
//! Two files cannot be renamed at once. The key goes first, while the key it replaces stays beside it. A reader
//! takes the key that fits the chain.
//!
//! A key that the directory [seals](KeyDir::sealed) is in an envelope of its own in the file: PEM with the label
//! `HANSE SEALED KEY`.

use std::{fs, io, path::Path};

use hanse_process::{
    durable::{self, SECRET_MODE},
    private,
};

use super::{Chain, KeyDir, KeyPair, PkiError, keys};

const CHAIN: &str = "chain.pem";
const KEY: &str = "key.pem";
const PREVIOUS_KEY: &str = "key.previous.pem";
/// The label of a sealed key in PEM.
pub(super) const SEALED: &str = "HANSE SEALED KEY";
/// Begins a file with a sealed key.
const SEALED_BEGINS: &str = "-----BEGIN HANSE SEALED KEY-----";

/// One write of a save. Each is made whole or not at all, and is durable before the next one.
#[derive(Debug)]
pub(super) enum Step {
    Write { name: &'static str, content: String },
    Remove { name: &'static str },
}

/// Writes chain and key, durably and so that any crash leaves a readable pair, old or new.
pub(super) fn save(dir: &KeyDir, chain: &Chain, key: &KeyPair) -> Result<(), PkiError> {
    let path = dir.path();
    private::make_dir(path).map_err(io_error("create", path))?;
    steps(dir, chain, key).iter().try_for_each(|step| step.take(path))
}

/// The writes of a save, in their order. A crash may come between any two.
pub(super) fn steps(dir: &KeyDir, chain: &Chain, key: &KeyPair) -> Vec<Step> {
    let written = |name, key: &KeyPair| Step::Write { name, content: sealed(dir, name, &key.to_pem()) };
    // Whichever of the two fits the chain now, so that a crash after a crash loses nothing either.
    let current = load(dir).ok().map(|(_, current)| written(PREVIOUS_KEY, &current));
    let rest = [
        written(KEY, key),
        Step::Write { name: CHAIN, content: keys::certificates_to_pem(chain) },
        Step::Remove { name: PREVIOUS_KEY },
    ];
    current.into_iter().chain(rest).collect()
}

impl Step {
    pub(super) fn take(&self, dir: &Path) -> Result<(), PkiError> {
        match self {
            Self::Write { name, content } => {
                let path = dir.join(name);
                durable::replace(&path, content.as_bytes(), SECRET_MODE).map_err(io_error("write", &path))
            }
            Self::Remove { name } => {
                let path = dir.join(name);
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        Err(io_error("remove", &path)(error))
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

/// Whether `save` has come to its end in this directory at least once: the chain is written last.
pub(super) fn is_saved(dir: &Path) -> bool {
    dir.join(CHAIN).exists()
}

/// Reads chain and the key that fits it.
pub(super) fn load(dir: &KeyDir) -> Result<(Chain, KeyPair), PkiError> {
    let path = dir.path().join(CHAIN);
    let chain = fs::read_to_string(&path).map_err(io_error("read", &path))?;
    let chain = keys::certificates_from_pem(&chain, &path.display().to_string())?;
    let key = read_key(dir, KEY)?;
    if key.belongs_to(&chain[0]) {
        return Ok((chain, key));
    }
    // A crash between the two renames of `save`.
    if !dir.path().join(PREVIOUS_KEY).exists() {
        return Err(PkiError::KeyMismatch);
    }
    let previous = read_key(dir, PREVIOUS_KEY)?;
    if previous.belongs_to(&chain[0]) { Ok((chain, previous)) } else { Err(PkiError::KeyMismatch) }
}

/// Whether a file that has, or had at a crash, a private key has one in the clear.
pub(super) fn holds_plain_key(dir: &Path) -> Result<bool, PkiError> {
    for name in [KEY, PREVIOUS_KEY] {
        for path in [dir.join(name), durable::temporary(&dir.join(name))] {
            match fs::read(&path) {
                Ok(content) if !is_sealed(&content) => return Ok(true),
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error("read", &path)(error));
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
    Ok(false)
}

/// Whether this is the content of a file with a sealed key.
fn is_sealed(content: &[u8]) -> bool {
    content.starts_with(SEALED_BEGINS.as_bytes())
}

/// A key as it is written to the file `name`.
fn sealed(dir: &KeyDir, name: &str, pem: &str) -> String {
    match dir.seal() {
        Some(seal) => keys::to_pem(SEALED, &seal.seal(name, pem.as_bytes())),
        None => pem.to_owned(),
    }
}

fn read_key(dir: &KeyDir, name: &str) -> Result<KeyPair, PkiError> {
    let path = dir.path().join(name);
    let text = fs::read_to_string(&path).map_err(io_error("read", &path))?;
    let said = path.display().to_string();
    if !is_sealed(text.as_bytes()) {
        return KeyPair::from_named_pem(&text, &said);
    }
    let opened = keys::from_pem(SEALED, &text).and_then(|sealed| dir.seal()?.open(name, &sealed));
    let opened = opened.and_then(|content| String::from_utf8(content).ok());
    KeyPair::from_named_pem(&opened.ok_or(PkiError::DoesNotOpen { path })?, &said)
}

pub(super) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PkiError {
    let path = path.to_owned();
    move |source| PkiError::Io { action, path, source }
}
