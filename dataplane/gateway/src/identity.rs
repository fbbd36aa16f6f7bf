//! The gateway's own key and certificate: got once from the region's agent with a join token, then read from disk.

use std::{env, fs, time::Duration, time::SystemTime};

use hanse_transport::{
    Credentials, EnrolError, JoinToken, KeyPair, LiveCredentials, Role, Shutdown, backoff::Backoff, chain_of,
    enrol, telemetry,
};
use tracing::{info, warn};

use crate::{Config, Error};

/// Between two attempts to reach an agent: the first start of a region brings everything up at once.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
/// At most: how late a gateway notices that its agent is there.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Reads the credentials, or joins. `None`: told to stop before an agent could be reached.
pub(crate) async fn credentials(
    config: &Config,
    shutdown: &Shutdown,
) -> Result<Option<LiveCredentials>, Error> {
    let dir = config.pki_dir();
    let expired = if dir.exists() {
        let credentials = Credentials::load(&dir)?;
        let identity = credentials.identity();
        if identity.name != config.name || identity.role != Role::Gateway {
            let (found, name) = (identity.to_string(), config.name.to_string());
            return Err(Error::OtherIdentity { dir, found, name });
        }
        if credentials.not_after() > SystemTime::now() {
            return Ok(Some(LiveCredentials::new(credentials)));
        }
        Some(credentials.key().clone())
    } else {
        None
    };
    let Some(token) = join_token(config)? else {
        return Err(if expired.is_some() { Error::Expired(dir) } else { Error::NoJoinToken(dir) });
    };
    // The agent knows this gateway by its key: under another one it would be a stranger with a name that is taken.
    let key = expired.map_or_else(KeyPair::generate, Ok)?;
    let Some(credentials) = join(config, &token.parse()?, key, shutdown).await? else { return Ok(None) };
    credentials.save(&dir)?;
    info!(identity = %credentials.identity(), "joined the region");
    Ok(Some(LiveCredentials::new(credentials)))
}

/// Asks until an agent answers. What it answers is final.
async fn join(
    config: &Config,
    token: &JoinToken,
    key: KeyPair,
    shutdown: &Shutdown,
) -> Result<Option<Credentials>, Error> {
    let mut backoff = Backoff::new(MIN_BACKOFF, MAX_BACKOFF);
    loop {
        let error = match enrol(&config.enrolment, token, Role::Gateway, &config.name, &key, None).await {
            Ok(answer) => return Ok(Some(Credentials::new(chain_of(&answer), key)?)),
            Err(error @ EnrolError::Unreachable { .. }) => error,
            Err(error) => return Err(error.into()),
        };
        warn!(error = %telemetry::causes(&error), "no agent to join at yet");
        tokio::select! {
            () = tokio::time::sleep(backoff.next()) => {}
            () = shutdown.wait() => return Ok(None),
        }
    }
}

fn join_token(config: &Config) -> Result<Option<String>, Error> {
    if let Ok(token) = env::var(Config::JOIN_TOKEN_VARIABLE) {
        return Ok(Some(token.trim().to_owned()));
    }
    match &config.join_token_file {
        Some(path) => {
            Ok(Some(fs::read_to_string(path).map_err(Error::file("read", path))?.trim().to_owned()))
        }
        None => Ok(None),
    }
}
