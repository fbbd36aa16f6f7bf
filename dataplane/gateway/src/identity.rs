//! The gateway's own key and certificate: got once from the region's agent with a join token, then read from disk and
//! renewed by any agent of the region that knows its key.

use std::{env, fs, time::Duration};

use hanse_identity::{
    Credentials, EnrolError, Expect, Issuers, JoinToken, KeyPair, LiveCredentials, LiveTrust, RenewError,
    RenewalSchedule, chain_of, enrol, forget_joining_key, joining_key, renew_credentials,
};
use hanse_process::{Shutdown, WallClock, backoff::Backoff, telemetry};
use hanse_topology::Role;
use tracing::{error, info, warn};

use crate::{Config, Error};

/// Between two attempts to reach an agent: the first start of a region brings everything up at once.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
/// At most: how late a gateway notices that its agent is there.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Reads the credentials, which may have expired, or joins. `None`: told to stop before an agent could be reached.
pub(crate) async fn credentials(
    config: &Config,
    clock: &WallClock,
    shutdown: &Shutdown,
) -> Result<Option<LiveCredentials>, Error> {
    let dir = config.pki_dir();
    if Credentials::is_saved(&dir) {
        let credentials = Credentials::load(&dir)?;
        let identity = credentials.identity();
        if identity.name != config.name || identity.role != Role::Gateway {
            let (found, name) = (identity.to_string(), config.name.to_string());
            return Err(Error::OtherIdentity { dir, found, name });
        }
        forget(config);
        return Ok(Some(LiveCredentials::new(credentials)));
    }
    let Some(token) = join_token(config)? else { return Err(Error::NoJoinToken(dir)) };
    let key = joining_key::<Error>(&config.data_dir)?;
    let Some(credentials) = join(config, &token.parse()?, key, clock, shutdown).await? else {
        return Ok(None);
    };
    credentials.save(&dir)?;
    forget(config);
    info!(identity = %credentials.identity(), "joined the region");
    Ok(Some(LiveCredentials::new(credentials)))
}

/// The key is kept with the certificate from now on.
fn forget(config: &Config) {
    if let Err(error) = forget_joining_key(&config.data_dir) {
        warn!(error = %telemetry::causes(&error), "the key of the join stays on disk; the next start tries again to remove it");
    }
}

/// Has the certificate renewed at half its life by any of the region's agents, also after it has expired, until the
/// shutdown. Connections made after that use the new one. Serving never waits for it.
pub(crate) async fn keep_renewed(
    config: Config,
    live: LiveCredentials,
    trust: LiveTrust,
    shutdown: Shutdown,
) {
    let expect = Expect { roles: vec![Role::Agent], region: live.identity().region };
    let mut schedule = RenewalSchedule::new(trust.clock().clone(), shutdown);
    let issuers = Issuers { addresses: config.enrolment.clone(), trust: trust.clone(), expect };
    if issuers.addresses.is_empty() {
        error!(
            "this gateway cannot renew its certificate: no enrolment address is configured (enrolment = [\"host:7446\"])"
        );
    }
    loop {
        let current = live.current();
        // The agent that certified it may be revoked: another one is asked at once.
        let spoilt = trust.spoils(current.chain());
        if !schedule.due(current.validity(), spoilt).await {
            return;
        }
        match renew(&config, &issuers, &live.current()).await {
            Ok(fresh) => {
                if let Err(error) = fresh.save(&config.pki_dir()) {
                    error!(error = %telemetry::causes(&error), "cannot save the renewed certificate");
                    // Under the same root it is in use all the same: after a restart the old one renews as well. Under another the old
                    // one may be of no use by then, and others go by what this gateway shows.
                    if fresh.trust_anchor().ok() != live.current().trust_anchor().ok() {
                        if !schedule.failed().await {
                            return;
                        }
                        continue;
                    }
                }
                live.replace(fresh);
                schedule.succeeded();
                info!("renewed this gateway's certificate");
            }
            Err(error) => {
                warn!(error = %telemetry::causes(&error), "cannot renew this gateway's certificate yet");
                if !schedule.failed().await {
                    return;
                }
            }
        }
    }
}

/// Renews or, where the agents refuse and there is a join token (they lost what they knew of this gateway), joins again
/// with the same key: under another it would be a stranger with a name that is taken.
async fn renew(config: &Config, issuers: &Issuers, current: &Credentials) -> Result<Credentials, RenewError> {
    let refused = match renew_credentials(issuers, current).await {
        Err(refused @ RenewError::Refused { .. }) => refused,
        decided => return decided,
    };
    let Some(token) = join_token(config).ok().flatten().and_then(|text| text.parse::<JoinToken>().ok())
    else {
        return Err(refused);
    };
    let (key, clock) = (current.key(), issuers.trust.clock());
    match enrol(&config.enrolment, &token, Role::Gateway, &config.name, key, None, clock).await {
        Ok(answer) => Credentials::new(chain_of(&answer), key.clone()).map_err(RenewError::Own),
        Err(error) => {
            warn!(error = %telemetry::causes(&error), "the join token does not help either");
            Err(refused)
        }
    }
}

/// Asks until an agent answers. What it answers is final.
async fn join(
    config: &Config,
    token: &JoinToken,
    key: KeyPair,
    clock: &WallClock,
    shutdown: &Shutdown,
) -> Result<Option<Credentials>, Error> {
    let mut backoff = Backoff::new(MIN_BACKOFF, MAX_BACKOFF);
    loop {
        let joining = enrol(&config.enrolment, token, Role::Gateway, &config.name, &key, None, clock);
        let error = match joining.await {
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
