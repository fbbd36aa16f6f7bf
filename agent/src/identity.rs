//! The agent's authority over its region, and its own certificate: got once with a join token, and issued by
//! itself.

use std::{env, fs, sync::Arc};

use hanse_identity::{
    Authority, Expect, Issuers, JoinToken, LiveAuthority, LiveCredentials, LiveTrust, RenewalSchedule,
    chain_of, enrol, forget_joining_key, joining_key, renew_authority,
};
use hanse_process::{Shutdown, WallClock, json_file, telemetry};
use hanse_topology::{Identity, Role};
use tracing::{error, info, warn};

use crate::{Config, Error};

/// The control nodes' addresses as told at enrolment.
const LEARNT_PUBLISHERS: &str = "publishers";

/// Reads the regional intermediate, or gets one with the join token.
pub(crate) async fn authority(config: &Config, clock: &WallClock) -> Result<Authority, Error> {
    let dir = config.authority_dir();
    if Authority::is_saved(&dir) {
        return Ok(Authority::load(&dir)?.with_clock(clock.clone()));
    }
    let token: JoinToken = join_token(config)?.parse()?;
    let key = joining_key::<Error>(&config.data_dir)?;
    let answer = enrol(&config.enrolment, &token, Role::Agent, &config.name, &key, None, clock).await?;
    if answer.region != config.region.as_str() {
        return Err(Error::OtherRegion { token: answer.region, configured: config.region.to_string() });
    }
    let authority = Authority::from_parts(chain_of(&answer), key)?.with_clock(clock.clone());
    json_file::write(&config.data_dir, LEARNT_PUBLISHERS, &answer.publishers)?;
    authority.save(&dir)?;
    forget_joining_key(&config.data_dir)?;
    info!(name = %config.name, region = %config.region, "joined the federation");
    Ok(authority)
}

/// Where to sync from: the configured control nodes first, then those learnt when joining.
pub(crate) fn publishers(config: &Config) -> Result<Vec<String>, Error> {
    let mut publishers = config.servers.clone();
    for learnt in json_file::read::<Vec<String>>(&config.data_dir, LEARNT_PUBLISHERS)?.unwrap_or_default() {
        if !publishers.contains(&learnt) {
            publishers.push(learnt);
        }
    }
    Ok(publishers)
}

fn join_token(config: &Config) -> Result<String, Error> {
    if let Some(path) = &config.join_token_file {
        return Ok(fs::read_to_string(path).map_err(Error::file("read", path))?.trim().to_owned());
    }
    env::var(Config::JOIN_TOKEN_VARIABLE)
        .map(|token| token.trim().to_owned())
        .map_err(|_| Error::NoJoinToken(config.data_dir.clone()))
}

/// Issues the agent's own certificate. Under an authority that has expired it is of no use but to renew that.
pub(crate) fn issue(config: &Config, authority: &Authority) -> Result<LiveCredentials, Error> {
    Ok(LiveCredentials::new(authority.issue_renewal_credentials(&own(config))?))
}

/// Has the regional intermediate renewed at half its life by any control node, also after it has expired, until the
/// shutdown. What is issued after that is issued under the new one.
pub(crate) async fn keep_authority(
    config: Arc<Config>,
    live: LiveAuthority,
    trust: LiveTrust,
    shutdown: Shutdown,
) {
    let expect = Expect { roles: vec![Role::Server], region: None };
    let mut schedule = RenewalSchedule::new(trust.clock().clone(), shutdown);
    let issuers = Issuers { addresses: config.enrolment.clone(), trust: trust.clone(), expect };
    if issuers.addresses.is_empty() {
        error!(
            "this agent cannot renew its authority: no enrolment address is configured (enrolment = [\"host:7446\"])"
        );
    }
    loop {
        let current = live.current();
        // A control node that certified it may be revoked: then nobody believes this agent until it has another certificate.
        let spoilt = trust.spoils(current.chain());
        if !schedule.due(current.validity(), spoilt).await {
            return;
        }
        match renew_authority(&issuers, &live.current(), &own(&config)).await {
            Ok(fresh) => {
                if let Err(error) = fresh.save(&config.authority_dir()) {
                    error!(error = %telemetry::causes(&error), "cannot save the renewed authority");
                    // Under the same root it is in use all the same: after a restart the old one renews as well. Under another the old
                    // one may be of no use by then, and others go by what this agent shows.
                    if fresh.trust_anchor().ok() != live.current().trust_anchor().ok() {
                        if !schedule.failed().await {
                            return;
                        }
                        continue;
                    }
                }
                live.replace(fresh);
                schedule.succeeded();
                info!(region = %config.region, "renewed the authority over the region");
            }
            Err(error) => {
                warn!(error = %telemetry::causes(&error), "cannot renew the authority over the region yet");
                if !schedule.failed().await {
                    return;
                }
            }
        }
    }
}

fn own(config: &Config) -> Identity {
    Identity::agent(config.name.clone(), config.region.clone())
}
