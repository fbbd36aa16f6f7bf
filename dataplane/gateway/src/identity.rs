//! The gateway's own key and certificate: got once from the region's agent with a join token, then read from disk.

use std::{env, fs, time::Duration, time::SystemTime};

use hanse_transport::{
    Credentials, EnrolError, JoinToken, KeyPair, LiveCredentials, Role, Shutdown, backoff::Backoff, chain_of,
    enrol, telemetry,
};
use tracing::{error, info, warn};

use crate::{Config, Error};

/// Between two attempts to reach an agent: the first start of a region brings everything up at once.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
/// At most: how late a gateway notices that its agent is there.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// The credentials on disk, expired or not; `None` where there are none yet.
pub(crate) fn found(config: &Config) -> Result<Option<Credentials>, Error> {
    let dir = config.pki_dir();
    if !dir.exists() {
        return Ok(None);
    }
    let credentials = Credentials::load(&dir)?;
    let identity = credentials.identity();
    if identity.name != config.name || identity.role != Role::Gateway {
        let (found, name) = (identity.to_string(), config.name.to_string());
        return Err(Error::OtherIdentity { dir, found, name });
    }
    Ok(Some(credentials))
}

/// The credentials to run with: those found, or such as an agent gives. Where there is something to serve alone
/// (`may_serve`), expired ones keep nobody from serving it. `None`: told to stop before an agent could be reached.
pub(crate) async fn credentials(
    config: &Config,
    found: Option<Credentials>,
    may_serve: bool,
    shutdown: &Shutdown,
) -> Result<Option<LiveCredentials>, Error> {
    if let Some(found) = &found
        && (found.not_after() > SystemTime::now() || may_serve)
    {
        let live = LiveCredentials::new(found.clone());
        if found.not_after() <= SystemTime::now() {
            warn!(
                "the certificate has expired: serving what is stored, without an agent until there is another one"
            );
            if let Some(token) = join_token(config)? {
                tokio::spawn(rejoin(config.clone(), token, live.clone(), shutdown.clone()));
            }
        }
        return Ok(Some(live));
    }
    let dir = config.pki_dir();
    let Some(token) = join_token(config)? else {
        return Err(if found.is_some() { Error::Expired(dir) } else { Error::NoJoinToken(dir) });
    };
    // The agent knows this gateway by its key: under another one it would be a stranger with a name that is taken.
    let key = found.map_or_else(KeyPair::generate, |expired| Ok(expired.key().clone()))?;
    let Some(credentials) = join(config, &token.parse()?, key, shutdown).await? else { return Ok(None) };
    credentials.save(&dir)?;
    info!(identity = %credentials.identity(), "joined the region");
    Ok(Some(LiveCredentials::new(credentials)))
}

/// Gets another certificate for the same key while the gateway serves.
async fn rejoin(config: Config, token: String, live: LiveCredentials, shutdown: Shutdown) {
    let again = async {
        let key = live.current().key().clone();
        let Some(fresh) = join(&config, &token.parse()?, key, &shutdown).await? else { return Ok(()) };
        fresh.save(&config.pki_dir())?;
        info!(identity = %fresh.identity(), "joined the region again");
        live.replace(fresh);
        Ok::<_, Error>(())
    };
    if let Err(error) = again.await {
        error!(error = %telemetry::causes(&error), "no new certificate: this gateway serves on and follows no agent");
    }
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
