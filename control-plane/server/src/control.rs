//! This node's control intermediate. Its private key is on disk sealed with the key that `store_key` names.

use std::path::PathBuf;

use hanse_identity::{Authority, KeyDir, PkiError};
use hanse_link::{freshly_sealed_keys, sealed_keys};
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

/// Where a further intermediate is kept. A key in the directory that does not open any more is to be replaced: a key file that
/// `store_key` names is made if it is gone.
pub(crate) fn fresh_dir(config: &Config) -> Result<KeyDir, Error> {
    Ok(freshly_sealed_keys(path(config), &config.store())?)
}

/// This node's control intermediate, as it is kept on disk: for tools and tests that have the node's `store_key`.
pub fn control_intermediate(config: &Config) -> Result<Authority, Error> {
    read(config).map(|control| control.authority)
}

/// The same, with where it is kept.
pub(crate) fn read(config: &Config) -> Result<Control, Error> {
    let path = path(config);
    if !Authority::is_saved(&path) {
        return Err(Error::NotMade(config.data_dir.clone()));
    }
    let store = config.store();
    let dir = sealed_keys(path, &store)?;
    match Authority::load(&dir) {
        Ok(authority) => Ok(Control { authority, dir }),
        Err(PkiError::DoesNotOpen { path }) => Err(Error::OtherStoreKey { path, store_key: store.key }),
        Err(error) => Err(error.into()),
    }
}

/// Reads this node's control intermediate, for a start. A private key that is in the clear is sealed. Where the root's key is
/// here and the intermediate is past half its life, it is made anew: one that has ended is of no use even to ask others.
pub(crate) fn open(config: &Config, clock: &WallClock) -> Result<Control, Error> {
    let Control { authority, dir } = read(config)?;
    seal(&authority, &dir);
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

/// Seals the private key where it is in the clear. A disk that takes nothing stops no start: the next one tries again.
fn seal(authority: &Authority, dir: &KeyDir) {
    let sealed = || {
        if !KeyDir::holds_plain_key(dir.path())? {
            return Ok(false);
        }
        authority.save(dir)?;
        Ok::<_, PkiError>(true)
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
