//! Which gateways the agent admitted, what each may learn, and which of them are not heard.
//!
//! An entry says what its node is, so that an agent can admit other roles too. What is reported as not heard, or as revoked
//! with a key, is of gateways only.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use hanse_identity::{KeyDigest, LiveTrust, PeerKeys};
use hanse_link::{Below, SubscriberRecord, report_of};
use hanse_process::{Shutdown, WallClock, json_file, telemetry};
use hanse_proto::sync::{Facts, GatewayKey, MintedToken, Report};
use hanse_topology::{Identity, Name, Role, ScopeId};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::{Config, Error, tokens};

/// How long a gateway that is not heard is reported as missing. It bears more than a long weekend off; one that was off for
/// longer joins again where it must. Containers that get a new name at each start leave an entry behind each time, and
/// those must not be waited for without end.
const MISSED_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// Missing gateways that a report names; the others are counted. At most 17 KB, a small part of what a message may carry,
/// also where a control node passes on the reports of all its agents.
const NAMED_UNHEARD: usize = 256;
/// Keys of revoked gateways that a report has; the others follow when these are refused. At most 26 KB.
const REPORTED_KEYS: usize = 256;

/// A renewal so soon after one that was noted is not: a week is counted, and a gateway that renews in a loop must not keep the
/// disk busy.
const NOTED_AGAIN: Duration = Duration::from_secs(3600);
/// How late an entry that was changed by hand is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What the agent remembers of a node it admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Admitted {
    /// What it is; a gateway unless said.
    #[serde(default = "unsaid")]
    pub(crate) role: Role,
    /// The environments it may learn; empty: all of the agent's.
    pub(crate) environments: Vec<Name>,
    /// SHA-256 of the public key it joined with, in hexadecimal. No other key gets its name.
    pub(crate) key: String,
    /// When it joined or had its certificate renewed last, Unix seconds: half a day ago at most while it runs.
    #[serde(default)]
    pub(crate) seen: u64,
}

/// The role of a node whose entry or token does not say.
pub(crate) fn unsaid() -> Role {
    Role::Gateway
}

impl Admitted {
    /// Whether it is with this key that it joined.
    pub(crate) fn joined_with(&self, keys: &PeerKeys) -> bool {
        self.key == hex::encode(keys.own_digest())
    }

    /// The key it joined with; `None`: its entry has none, by hand.
    fn key_digest(&self) -> Option<KeyDigest> {
        hex::decode(&self.key).ok()?.try_into().ok()
    }

    /// Which of the agent's scopes it may learn.
    pub(crate) fn may_learn(&self, scope: &ScopeId) -> bool {
        self.environments.is_empty()
            || scope.environment().is_some_and(|name| self.environments.contains(name))
    }
}

/// The gateways that the agent admitted, this process or one before it. Who asks is answered from memory; the directory
/// is looked at now and then, since operators remove entries by hand.
#[derive(Debug)]
pub(crate) struct Gateways {
    config: Arc<Config>,
    known: Mutex<BTreeMap<Name, Known>>,
    /// Held while entries are written: the last word on a gateway is the last in its file.
    writing: Mutex<()>,
    /// Whose entries could not be read when the directory was looked at last: that is said once.
    unreadable: Mutex<BTreeSet<Name>>,
    /// The join tokens that this agent made of late, as the directory was looked at last.
    minted: Mutex<Vec<MintedToken>>,
    changed: watch::Sender<()>,
}

/// What is known of one.
#[derive(Debug, Clone, PartialEq)]
enum Known {
    Admitted(Admitted),
    /// Its entry cannot be read: it counts as seen when that was found, and may learn nothing.
    Damaged {
        since: u64,
    },
}

impl Known {
    /// Whether it is a gateway, as far as its entry can be read.
    fn may_be_gateway(&self) -> bool {
        match self {
            Self::Admitted(admitted) => admitted.role == Role::Gateway,
            Self::Damaged { .. } => true,
        }
    }

    fn seen(&self) -> u64 {
        match self {
            Self::Admitted(admitted) => admitted.seen,
            Self::Damaged { since } => *since,
        }
    }
}

impl Gateways {
    /// From the entries on disk. One that cannot be read is a gateway's of which nothing is known: it counts as seen now.
    pub(crate) fn open(config: Arc<Config>, now: u64) -> Result<Self, Error> {
        let mut unreadable = BTreeSet::new();
        let known = Mutex::new(read_all(&config, now, &mut unreadable)?);
        let unreadable = Mutex::new(unreadable);
        let minted = Mutex::new(tokens::of_late(&config, now)?);
        let (writing, changed) = (Mutex::default(), watch::Sender::default());
        Ok(Self { config, known, writing, unreadable, minted, changed })
    }

    /// Fires when a gateway is admitted, or an entry is changed by hand: another key may have a name from now on.
    pub(crate) fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// What is remembered of the node with this identity; `None` when it is not one that this agent admitted.
    pub(crate) fn admitted(&self, peer: &Identity) -> Option<Admitted> {
        self.remembered(peer, Admitted::clone)
    }

    /// The environments that this node may learn; empty: all of the agent's. `None` when it is not one that this agent admitted.
    pub(crate) fn environments(&self, peer: &Identity) -> Option<Vec<Name>> {
        self.remembered(peer, |admitted| admitted.environments.clone())
    }

    /// Something of what is remembered of the node with this identity.
    fn remembered<T>(&self, peer: &Identity, of: impl FnOnce(&Admitted) -> T) -> Option<T> {
        match self.known.lock().get(&peer.name)? {
            Known::Admitted(admitted) => {
                (*peer == self.identity(&peer.name, admitted.role)).then(|| of(admitted))
            }
            Known::Damaged { .. } => None,
        }
    }

    /// Who a node is that this agent admits. A name is given once, whatever the role.
    pub(crate) fn identity(&self, name: &Name, role: Role) -> Identity {
        Identity { name: name.clone(), role, region: Some(self.config.region.clone()) }
    }

    /// The role of the other node that has this name, by its entry on disk: one that joined with another key.
    pub(crate) fn taken_by(&self, name: &Name, key: &str) -> Result<Option<Role>, Error> {
        let known: Option<Admitted> = json_file::read(&self.config.gateways_dir(), name.as_str())?;
        Ok(known.filter(|known| known.key != key).map(|known| known.role))
    }

    /// The gateway of another name that joined with this key.
    pub(crate) fn other_with(&self, key: &str, name: &Name) -> Option<Name> {
        let known = self.known.lock();
        let has_key = |(other, known): &(&Name, &Known)| {
            *other != name && matches!(known, Known::Admitted(admitted) if admitted.key == key)
        };
        known.iter().find(has_key).map(|(other, _)| other.clone())
    }

    /// Remembers a gateway, replacing what was known under its name.
    pub(crate) fn admit(&self, name: &Name, admitted: Admitted) -> Result<(), Error> {
        {
            let _writing = self.writing.lock();
            let dir = self.config.gateways_dir();
            if !dir.exists() {
                self.write_all(&dir)?;
            }
            json_file::write(&dir, name.as_str(), &admitted)?;
            self.known.lock().insert(name.clone(), Known::Admitted(admitted));
        }
        self.changed.send_replace(());
        Ok(())
    }

    /// Writes what is known of all into a directory that is not there any more: with one entry in it, it would say that the others
    /// were removed.
    fn write_all(&self, dir: &Path) -> Result<(), Error> {
        let known = self.known.lock().clone();
        for (name, known) in known {
            if let Known::Admitted(admitted) = known {
                json_file::write(dir, name.as_str(), &admitted)?;
            }
        }
        Ok(())
    }

    /// Remembers that a gateway had its certificate renewed. It has that whether or not the disk takes the note, and waits for
    /// no disk.
    pub(crate) fn renewed(self: &Arc<Self>, name: &Name, now: u64) {
        match self.known.lock().get_mut(name) {
            Some(Known::Admitted(admitted)) if now.saturating_sub(admitted.seen) >= NOTED_AGAIN.as_secs() => {
                admitted.seen = now;
            }
            _ => return, // noted not long ago
        }
        let (gateways, name) = (self.clone(), name.clone());
        tokio::task::spawn_blocking(move || gateways.write_down(&name));
    }

    /// Writes what is known of a gateway, unless its entry was removed meanwhile.
    fn write_down(&self, name: &Name) {
        let _writing = self.writing.lock();
        let Some(Known::Admitted(admitted)) = self.known.lock().get(name).cloned() else { return };
        let dir = self.config.gateways_dir();
        let written = match json_file::read::<Admitted>(&dir, name.as_str()) {
            // Only when it was seen: every other difference was made by hand.
            Ok(Some(found)) if found.key == admitted.key && found.seen < admitted.seen => {
                json_file::write(&dir, name.as_str(), &Admitted { seen: admitted.seen, ..found })
            }
            Ok(_) => Ok(()), // by hand: the next look at the directory takes it in
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            warn!(%name, error = %telemetry::causes(&error), "cannot note that this gateway was seen");
        }
    }

    /// Looks at the directory now and then, until the shutdown.
    pub(crate) async fn watch_directory(self: Arc<Self>, clock: WallClock, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.wait() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let (gateways, now) = (self.clone(), clock.unix_seconds());
            let looked = tokio::task::spawn_blocking(move || gateways.look(now)).await;
            if let Err(error) = looked {
                error!(%error, "looking at the gateways' entries panicked");
            }
        }
    }

    /// Takes in what was changed by hand.
    fn look(&self, now: u64) {
        match tokens::of_late(&self.config, now) {
            Ok(minted) => *self.minted.lock() = minted,
            Err(error) => warn!(error = %telemetry::causes(&error), "cannot look at the join tokens"),
        }
        let _writing = self.writing.lock();
        let found = match read_all(&self.config, now, &mut self.unreadable.lock()) {
            Ok(found) => found,
            Err(error) => {
                warn!(error = %telemetry::causes(&error), "cannot look at the gateways' entries");
                return;
            }
        };
        let mut known = self.known.lock();
        let mut is_news = false;
        if found.is_empty() && !known.is_empty() && !self.config.gateways_dir().exists() {
            warn!("the directory of the gateways' entries is not there; going on with what is known");
            return;
        }
        known.retain(|name, _| {
            let stays = found.contains_key(name);
            is_news |= !stays;
            stays
        });
        for (name, found) in found {
            match (known.get_mut(&name), found) {
                // A note of when it was seen may be under way to the disk.
                (Some(Known::Admitted(held)), Known::Admitted(found)) if held.key == found.key => {
                    is_news |= (held.role, &held.environments) != (found.role, &found.environments);
                    *held = Admitted { seen: held.seen.max(found.seen), ..found };
                }
                // What was read before is good until a readable file replaces it.
                (Some(_), Known::Damaged { .. }) => {}
                (_, found) => {
                    is_news = true;
                    known.insert(name, found);
                }
            }
        }
        drop(known);
        if is_news {
            info!("the gateways' entries were changed by hand");
            self.changed.send_replace(());
        }
    }

    /// What goes up: what these subscribers said, and what this agent says of itself beside `own`.
    pub(crate) fn report(
        &self,
        subscribers: &[SubscriberRecord],
        now: Instant,
        trust: &LiveTrust,
        own: Facts,
    ) -> Report {
        let below = Below::of(subscribers, now, |node| self.key_of(node));
        let lives = subscribers.iter().filter(|record| record.is_live(now));
        let mut unheard = self.unheard(&lives.map(|record| &record.identity.name).collect(), trust);
        let unheard_total = unheard.len() as u64;
        unheard.truncate(NAMED_UNHEARD);
        let revoked_gateways = self.revoked(trust);
        let minted_tokens = self.minted.lock().clone();
        let left_out = below.left_out;
        let address = self.config.found_at().unwrap_or_default().to_owned();
        let facts =
            Facts { unheard, unheard_total, left_out, revoked_gateways, minted_tokens, address, ..own };
        report_of(&facts, below.row)
    }

    /// The gateways that were seen of late and are not among these, which have a lease; but for those that are refused.
    fn unheard(&self, heard: &BTreeSet<&Name>, trust: &LiveTrust) -> Vec<String> {
        let now = trust.clock().unix_seconds();
        let is_unheard = |(name, known): &(&Name, &Known)| {
            known.may_be_gateway()
                && now.saturating_sub(known.seen()) < MISSED_FOR.as_secs()
                && !heard.contains(name)
                && !trust.refuses(&self.identity(name, Role::Gateway))
        };
        self.known.lock().iter().filter(is_unheard).map(|(name, _)| name.to_string()).collect()
    }

    /// The keys of gateways that are revoked by name while their key is not refused yet. The control plane has all agents refuse these
    /// keys then.
    fn revoked(&self, trust: &LiveTrust) -> Vec<GatewayKey> {
        let refused = trust.refused().borrow().clone();
        let own = refused.identities.iter().filter(|identity| {
            identity.role == Role::Gateway && identity.region.as_ref() == Some(&self.config.region)
        });
        let unrefused = own.filter_map(|identity| {
            let key = self.key_of(identity).filter(|key| !refused.gateway_keys.contains(key))?;
            Some(GatewayKey { name: identity.name.to_string(), key: key.to_vec().into() })
        });
        unrefused.take(REPORTED_KEYS).collect()
    }

    /// The key that a node joined with.
    fn key_of(&self, identity: &Identity) -> Option<KeyDigest> {
        self.remembered(identity, Admitted::key_digest)?
    }
}

/// Every entry of the directory. Says which cannot be read, unless they could not be read before, and notes them.
fn read_all(
    config: &Config,
    now: u64,
    unreadable: &mut BTreeSet<Name>,
) -> Result<BTreeMap<Name, Known>, Error> {
    let dir = config.gateways_dir();
    let names = json_file::names(&dir)?.into_iter().filter_map(|name| Name::new(name).ok());
    let before = std::mem::take(unreadable);
    let read = |name: Name| match json_file::read::<Admitted>(&dir, name.as_str()) {
        Ok(admitted) => admitted.map(|admitted| (name, Known::Admitted(admitted))),
        Err(error) => {
            if !before.contains(&name) {
                error!(%name, error = %telemetry::causes(&error), "cannot read the entry of this gateway: mend \
                    or remove it, what was read before holds only until the agent restarts");
            }
            unreadable.insert(name.clone());
            Some((name, Known::Damaged { since: now }))
        }
    };
    Ok(names.filter_map(read).collect())
}

#[cfg(test)]
mod tests;
