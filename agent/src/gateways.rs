//! Which gateways the agent admitted, what each may learn, and which of them are not heard.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use hanse_link::LEASE;
use hanse_proto::sync::{Report, SubscriberStatus};
use hanse_topology::{Name, ScopeId};
use hanse_transport::{Identity, LiveTrust, PeerKeys, Role, json_file};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use crate::{Config, Error};

/// How long a gateway that nobody hears is reported as missing. It bears more than a long weekend off; one that was off for
/// longer joins again where it must. Containers that get a new name at each start leave an entry behind each time, and
/// those must not be waited for without end.
const MISSED_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// Missing gateways that a report names; the others are counted. At most 17 KB, a small part of what a message may carry,
/// also where a control node passes on the reports of all its agents.
const NAMED_UNHEARD: usize = 256;

/// What the agent remembers of a gateway it admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Admitted {
    /// The environments it may learn; empty: all of the agent's.
    pub(crate) environments: Vec<Name>,
    /// SHA-256 of the public key it joined with, in hexadecimal. Nobody else gets its name.
    pub(crate) key: String,
    /// When it joined or had its certificate renewed last, Unix seconds: half a day ago at most while it runs.
    #[serde(default)]
    pub(crate) seen: u64,
}

impl Admitted {
    /// Whether it is with this key that it joined.
    pub(crate) fn joined_with(&self, keys: &PeerKeys) -> bool {
        self.key == hex::encode(keys.own_digest())
    }

    /// Which of the agent's scopes it may learn.
    pub(crate) fn may_learn(&self, scope: &ScopeId) -> bool {
        self.environments.is_empty()
            || scope.environment().is_some_and(|name| self.environments.contains(name))
    }
}

/// The gateways that the agent admitted, this process or one before it.
#[derive(Debug)]
pub(crate) struct Gateways {
    config: Arc<Config>,
    /// When each was seen last, as their entries say: reports are too frequent to read those each time.
    seen: Mutex<BTreeMap<Name, u64>>,
}

impl Gateways {
    /// From the entries on disk. One that cannot be read is a gateway's of which nothing is known: it counts as seen now.
    pub(crate) fn open(config: Arc<Config>, now: u64) -> Result<Self, Error> {
        let dir = config.gateways_dir();
        let names = json_file::names(&dir)?.into_iter().filter_map(|name| Name::new(name).ok());
        let seen = names.map(|name| match json_file::read::<Admitted>(&dir, name.as_str()) {
            Ok(admitted) => (name, admitted.map_or(0, |admitted| admitted.seen)),
            Err(error) => {
                error!(%name, error = &error as &dyn std::error::Error, "cannot tell when this gateway was seen");
                (name, now)
            }
        });
        let seen = Mutex::new(seen.collect());
        Ok(Self { config, seen })
    }

    /// Remembers a gateway, replacing what was known under its name.
    pub(crate) fn admit(&self, name: &Name, admitted: &Admitted) -> Result<(), Error> {
        json_file::write(&self.config.gateways_dir(), name.as_str(), admitted)?;
        self.seen.lock().insert(name.clone(), admitted.seen);
        Ok(())
    }

    /// Remembers that a gateway had its certificate renewed. It has that whether or not the disk takes the note.
    pub(crate) fn renewed(&self, name: &Name, admitted: Admitted, now: u64) {
        self.seen.lock().insert(name.clone(), now);
        if let Err(error) = self.admit(name, &Admitted { seen: now, ..admitted }) {
            warn!(%name, error = &error as &dyn std::error::Error, "cannot note that this gateway was seen");
        }
    }

    /// Adds to a report the gateways that were seen of late and have no lease now, but for those that are refused. Some of
    /// them it speaks of still; who hears it forgets those when they have been away for some time.
    pub(crate) fn add_unheard(&self, report: Report, trust: &LiveTrust) -> Report {
        let lives = |status: &&SubscriberStatus| u128::from(status.heard_ms_ago) < LEASE.as_millis();
        let heard: BTreeSet<&str> =
            report.subscribers.iter().filter(lives).map(|status| status.name.as_str()).collect();
        let now = trust.clock().unix_seconds();
        let is_unheard = |(name, seen): &(&Name, &u64)| {
            now.saturating_sub(**seen) < MISSED_FOR.as_secs()
                && !heard.contains(name.as_str())
                && !trust.refuses(&Identity::gateway((*name).clone(), self.config.region.clone()))
        };
        let seen = self.seen.lock();
        let mut unheard: Vec<String> =
            seen.iter().filter(is_unheard).map(|(name, _)| name.to_string()).collect();
        let unheard_total = unheard.len() as u64;
        unheard.truncate(NAMED_UNHEARD);
        Report { unheard, unheard_total, ..report }
    }
}

/// Whether the name is another gateway's: one that joined with another key.
pub(crate) fn is_taken(config: &Config, name: &Name, key: &str) -> Result<bool, Error> {
    let known: Option<Admitted> = json_file::read(&config.gateways_dir(), name.as_str())?;
    Ok(known.is_some_and(|known| known.key != key))
}

/// What is remembered of the gateway with this identity; `None` when it is not one of this agent's region.
pub(crate) fn admitted(config: &Config, peer: &Identity) -> Result<Option<Admitted>, Error> {
    if peer.role != Role::Gateway || peer.region.as_ref() != Some(&config.region) {
        return Ok(None);
    }
    Ok(json_file::read(&config.gateways_dir(), peer.name.as_str())?)
}

#[cfg(test)]
mod tests;
