//! This node's control intermediate. Its private key is on disk sealed with the key that `store_key` names.

use std::path::PathBuf;

use hanse_identity::{Authority, KeyDir, PkiError};
use hanse_link::{KeyError, freshly_sealed_keys, sealed_keys};
use hanse_process::{WallClock, telemetry};
use tracing::{error, info, warn};

use crate::{Config, Error, home, roots};

/// Its directory, below the PKI directory.
const DIR: &str = "control";

/// This node's control intermediate, and where it is kept.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) authority: Authority,
    pub(crate) dir: KeyDir,
}

/// The directory that it is kept in.
pub(crate) fn path(config: &Config) -> PathBuf {
    config.pki_dir().join(DIR)
}

/// Whether this node has one.
pub(crate) fn is_made(config: &Config) -> bool {
    Authority::is_saved(&path(config))
}

/// Where an intermediate is kept that takes the place of what the directory holds. A key file that `store_key` names is made if it
/// is gone; a start makes none.
pub(crate) fn fresh_dir(config: &Config) -> Result<KeyDir, Error> {
    Ok(freshly_sealed_keys(path(config), &config.store())?)
}

/// Whether [`fresh_dir`] can have a key, as far as that shows without making one.
pub(crate) fn check_fresh_dir(config: &Config) -> Result<(), Error> {
    match sealed_keys(path(config), &config.store()) {
        Ok(_) | Err(KeyError::Lost(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Keeps a copy of an intermediate that does not open, before it is replaced: its `store_key` may turn up. Returns where. `None`: it
/// opens, or there is none; or a private key lies in the clear, of which no copy may stay.
pub(crate) fn keep_aside(config: &Config) -> Result<Option<PathBuf>, Error> {
    let path = path(config);
    if !path.exists() || read(config).is_ok() || KeyDir::holds_plain_key(&path)? {
        return Ok(None);
    }
    home::copy_aside(&path).map(Some)
}

/// This node's control intermediate, as it is kept on disk: for tools and tests that have the node's `store_key`.
pub fn control_intermediate(config: &Config) -> Result<Authority, Error> {
    read(config).map(|control| control.authority)
}

/// The same, with where it is kept.
pub(crate) fn read(config: &Config) -> Result<Control, Error> {
    read_unsealed(config).map(|(control, _)| control)
}

/// The same. A private key that is in the clear is read without its `store_key` too: then this says why there is none, and what
/// is written is in the clear as well.
fn read_unsealed(config: &Config) -> Result<(Control, Option<KeyError>), Error> {
    let path = path(config);
    if !Authority::is_saved(&path) {
        return Err(Error::NotMade(config.data_dir.clone()));
    }
    let store = config.store();
    let (dir, no_seal) = match sealed_keys(path.clone(), &store) {
        Ok(dir) => (dir, None),
        Err(why) => (path.into(), Some(why)),
    };
    match (Authority::load(&dir), no_seal) {
        (Ok(authority), no_seal) => Ok((Control { authority, dir }, no_seal)),
        (Err(PkiError::DoesNotOpen { .. }), Some(why)) => Err(why.into()),
        (Err(PkiError::DoesNotOpen { path }), None) => {
            Err(Error::OtherStoreKey { path, store_key: store.key })
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// Reads this node's control intermediate, for a start. A private key that is in the clear is sealed. No key file is made for
/// that: one that is made while the mount of `store_key` is late would hide behind the mount. Where the root's key is
/// here and the intermediate is past half its life, it is made anew: one that has ended is of no use even to ask others.
pub(crate) fn open(config: &Config, clock: &WallClock) -> Result<Control, Error> {
    let (Control { authority, dir }, no_seal) = read_unsealed(config)?;
    seal(&authority, &dir, no_seal);
    let authority = authority.with_clock(clock.clone());
    if clock.now() < authority.validity().half_life() {
        return Ok(Control { authority, dir });
    }
    let renewed = || {
        let Some(root) = home::root_key(config, clock).load(Some(authority.root_key()?))? else {
            return Ok(None);
        };
        let fresh = roots::reissued(&authority, &root, config)?;
        fresh.save(&dir)?;
        Ok::<_, PkiError>(Some(fresh))
    };
    match renewed() {
        Ok(None) => {}
        Ok(Some(fresh)) => {
            info!("renewed this node's control intermediate under the root");
            return Ok(Control { authority: fresh, dir });
        }
        Err(error) => warn!(
            error = %telemetry::causes(&error),
            "cannot renew this node's control intermediate from pki/root yet; going on with the one there is"
        ),
    }
    Ok(Control { authority, dir })
}

/// Seals the private key where it is in the clear. Neither a `store_key` that is not there nor a disk that takes nothing stops the
/// start: the next one tries again.
fn seal(authority: &Authority, dir: &KeyDir, no_seal: Option<KeyError>) {
    let sealed = || {
        if !KeyDir::holds_plain_key(dir.path())? {
            return Ok(false);
        }
        if let Some(why) = no_seal {
            return Err(why.into());
        }
        authority.save(dir)?;
        Ok::<_, Error>(true)
    };
    match sealed() {
        Ok(true) => info!("sealed this node's private key"),
        Ok(false) => {}
        Err(error) => error!(
            error = %telemetry::causes(&error),
            "this node's private key is in the clear and cannot be sealed now; the next start tries again"
        ),
    }
}

#[cfg(test)]
mod tests;
