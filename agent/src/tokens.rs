//! Join tokens for gateways: minted on the agent's own machine, spent by it alone, so that a gateway can join with the
//! control plane gone.
//!
//! A token is a file with a digest in the agent's data directory: whoever may write there may admit gateways.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hanse_topology::Name;
use hanse_transport::{Authority, JoinToken};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::{Config, Error, ledger};

/// How long a token may wait for its gateway: a working day for whoever rolls it out.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// What the agent keeps of a token.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Minted {
    /// SHA-256 of the secret, in hexadecimal.
    digest: String,
    /// The environments the gateway may learn; empty: all of the agent's.
    environments: Vec<Name>,
    /// Unix seconds.
    expires_at: u64,
}

/// Makes a join token for one gateway and returns it; only its digest is kept.
pub fn mint_token(config: &Config, environments: &[Name]) -> Result<String, Error> {
    if !config.authority_dir().exists() {
        return Err(Error::NotEnrolled);
    }
    let anchor = Authority::load(&config.authority_dir())?.trust_anchor()?;
    let id = Name::new(format!("gw-{}", hex::encode(rand::rng().random::<[u8; 5]>())))
        .expect("a letter prefix and hexadecimal digits are a name");
    let token = JoinToken::generate(id.clone(), &anchor);
    let minted = Minted {
        digest: hex::encode(token.secret_digest()),
        environments: environments.to_vec(),
        expires_at: now() + LIFETIME.as_secs(),
    };
    ledger::write(&config.tokens_dir(), id.as_str(), &minted)?;
    Ok(token.to_string())
}

/// A token that was shown, checked and not yet spent.
pub(crate) struct Shown {
    id: Name,
    /// The environments its gateway may learn.
    pub(crate) environments: Vec<Name>,
}

/// Looks a token up. `None`: unknown, expired or with a wrong secret, which are not told apart.
pub(crate) fn check(config: &Config, id: &str, secret: &[u8]) -> Result<Option<Shown>, Error> {
    // Parsed as a name first: it becomes part of a path.
    let Ok(id) = Name::new(id) else { return Ok(None) };
    let Some(minted) = ledger::read::<Minted>(&config.tokens_dir(), id.as_str())? else { return Ok(None) };
    let right = minted.digest == hex::encode(hanse_transport::digest_secret(secret));
    Ok((right && now() < minted.expires_at).then_some(Shown { id, environments: minted.environments }))
}

/// Spends a token: it cannot be used again.
pub(crate) fn spend(config: &Config, shown: &Shown) -> Result<(), Error> {
    ledger::remove(&config.tokens_dir(), shown.id.as_str())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
