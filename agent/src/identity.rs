//! The agent's authority over its region, and its own certificate: got once with a join token, and issued by
//! itself.

use std::{env, fs};

use hanse_transport::{Authority, Identity, JoinToken, KeyPair, LiveCredentials, chain_of, enrol};
use tracing::info;

use crate::{Config, Error};

/// Reads the regional intermediate, or gets one with the join token.
pub(crate) async fn authority(config: &Config) -> Result<Authority, Error> {
    let dir = config.authority_dir();
    if dir.exists() {
        return Ok(Authority::load(&dir)?);
    }
    let token: JoinToken = join_token(config)?.parse()?;
    let key = KeyPair::generate()?;
    let answer = enrol(&config.enrolment, &token, &config.name, &key, None).await?;
    if answer.region != config.region.as_str() {
        return Err(Error::OtherRegion { token: answer.region, configured: config.region.to_string() });
    }
    let authority = Authority::from_parts(chain_of(&answer), key)?;
    authority.save(&dir)?;
    info!(name = %config.name, region = %config.region, "joined the federation");
    Ok(authority)
}

fn join_token(config: &Config) -> Result<String, Error> {
    if let Some(path) = &config.join_token_file {
        return Ok(fs::read_to_string(path).map_err(Error::file("read", path))?.trim().to_owned());
    }
    env::var(Config::JOIN_TOKEN_VARIABLE)
        .map(|token| token.trim().to_owned())
        .map_err(|_| Error::NoJoinToken(config.data_dir.clone()))
}

/// Issues the agent's own certificate.
pub(crate) fn issue(config: &Config, authority: &Authority) -> Result<LiveCredentials, Error> {
    Ok(LiveCredentials::new(authority.issue_credentials(&own(config), &[])?))
}

fn own(config: &Config) -> Identity {
    Identity::agent(config.name.clone(), config.region.clone())
}
