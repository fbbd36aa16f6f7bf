//! Getting a first certificate, once, with a join token; after that it is read from disk.

use std::{path::Path, time::Duration};

use hanse_identity::{EnrolError, Held, JoinToken, KeyDir, chain_of, enrol, forget_joining_key, joining_key};
use hanse_process::{backoff::Backoff, json_file, telemetry};
use hanse_proto::enrolment::EnrolResponse;
use hanse_topology::Role;
use tracing::{info, warn};

use crate::{
    Error, NodeConfig, Shell,
    error::{admitting, place},
};

/// Between two attempts to reach who admits this node: the first start of a region brings everything up at once.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
/// At most: how late it is noticed that they are there.
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// The control nodes' addresses as told at enrolment.
const LEARNT_PUBLISHERS: &str = "publishers";

/// Reads what is in `dir`, which may have expired, or joins. `None`: told to stop before one that admits this node answered.
pub(crate) async fn read_or_join<T: Held>(shell: &Shell, dir: &Path) -> Result<Option<T>, Error> {
    let (config, clock) = (&*shell.config, shell.clock());
    let dir = &KeyDir::from(dir);
    if let Some(held) = T::read(dir, clock)? {
        forget_key(config);
        return Ok(Some(held));
    }
    let Some(token) = config.join_token()? else {
        return Err(Error::NoJoinToken {
            data_dir: config.data_dir.clone(),
            role: config.role,
            variable: config.join_token_variable(),
        });
    };
    let token: JoinToken = token.parse()?;
    let key = joining_key::<Error>(&config.data_dir)?;
    let Some(answer) = answered(shell, &token, &key).await? else { return Ok(None) };
    if let Some(configured) = config.region.clone().filter(|region| answer.region != region.as_str()) {
        return Err(Error::OtherRegion { token: answer.region, configured });
    }
    let held = T::of(chain_of(&answer), key, clock)?;
    if config.role.admitted_by() == Role::Server {
        json_file::write(&config.data_dir, LEARNT_PUBLISHERS, &answer.publishers)?;
    }
    held.write(dir)?;
    forget_key(config);
    info!(name = %config.name, region = answer.region, "joined the {}", place(config.role));
    Ok(Some(held))
}

/// Where publishers are: the configured ones first, then those learnt when joining. Agents tell no others than are configured.
pub(crate) fn publishers(config: &NodeConfig) -> Result<Vec<String>, Error> {
    let mut publishers = config.publishers.clone();
    for learnt in json_file::read::<Vec<String>>(&config.data_dir, LEARNT_PUBLISHERS)?.unwrap_or_default() {
        if !publishers.contains(&learnt) {
            publishers.push(learnt);
        }
    }
    Ok(publishers)
}

/// Asks until one that admits this node answers, or shows that the token is for another federation. That is final.
async fn answered(
    shell: &Shell,
    token: &JoinToken,
    key: &hanse_identity::KeyPair,
) -> Result<Option<EnrolResponse>, Error> {
    let Shell { config, shutdown, .. } = shell;
    let mut backoff = Backoff::new(MIN_BACKOFF, MAX_BACKOFF);
    loop {
        let joining = enrol(&config.enrolment, token, config.role, &config.name, key, None, shell.clock());
        let error = tokio::select! {
            () = shutdown.wait() => return Ok(None),
            answer = joining => match answer {
                Ok(answer) => return Ok(Some(answer)),
                Err(error @ EnrolError::Unreachable { .. }) => error,
                Err(source) => return Err(Error::Enrol { role: config.role, source }),
            },
        };
        warn!(%error, "cannot join yet: no {} gives an answer that can be used", admitting(config.role));
        shell.not_ready(format!("not joined yet: {error}"));
        tokio::select! {
            () = tokio::time::sleep(backoff.next()) => {}
            () = shutdown.wait() => return Ok(None),
        }
    }
}

/// The key is kept with the certificate from now on.
fn forget_key(config: &NodeConfig) {
    if let Err(error) = forget_joining_key(&config.data_dir) {
        warn!(error = %telemetry::causes(&error), "the key of the join stays on disk; the next start tries again to remove it");
    }
}
