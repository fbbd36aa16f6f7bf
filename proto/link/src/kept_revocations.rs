//! The revocations that this node was told: in force in its [`LiveTrust`], kept on disk, and enforced also without a publisher.
//!
//! What is in force is in memory first: no trouble with the disk takes a refusal back.

use std::{collections::BTreeSet, fmt, path::PathBuf, sync::Arc};

use hanse_identity::{LiveTrust, Refused};
use hanse_process::{Shutdown, json_file, telemetry};
use hanse_sync::Revoked;
use hanse_topology::{Identity, Lineage, Position};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::beside::WriteBeside;

/// Its name in the node's data directory.
const FILE: &str = "revoked";

/// What a node was told, in force and on disk. Cloning shares it.
#[derive(Clone)]
pub struct KeptRevocations(Arc<Shared>);

struct Shared {
    dir: PathBuf,
    trust: LiveTrust,
    told: watch::Sender<Option<Revoked>>,
    /// What the file says. Several may tell at once.
    written: Mutex<Option<Revoked>>,
}

impl fmt::Debug for KeptRevocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeptRevocations").field(&*self.0.told.borrow()).finish()
    }
}

impl KeptRevocations {
    /// Puts in force what is on disk in `dir`. To be called before a peer is let in or connected to.
    ///
    /// A file that cannot be read is moved aside and the node starts: what it is told next counts. Not to start would stop the
    /// region for want of a list that is mostly empty.
    pub fn restore(dir: PathBuf, trust: LiveTrust) -> Self {
        let so = "cannot read who is revoked: nobody is refused until this node is told again";
        let held = json_file::read_or_set_aside::<Record>(&dir, FILE, so).map(Revoked::from);
        if let Some(held) = &held {
            trust.refuse(refused(held));
        }
        let written = Mutex::new(held.clone());
        Self(Arc::new(Shared { dir, trust, told: watch::Sender::new(held), written }))
    }

    /// What is in force, to be passed on.
    pub fn in_force(&self) -> watch::Receiver<Option<Revoked>> {
        self.0.told.subscribe()
    }

    /// Holds this node to what it is told, and keeps that and what others [`take`](Self::take), until the shutdown.
    pub async fn follow(self, mut told: watch::Receiver<Option<Revoked>>, shutdown: Shutdown) {
        let mut in_force = self.in_force();
        let mut is_told = true;
        let mut writing = WriteBeside::default();
        loop {
            if !self.0.is_written() {
                let kept = self.clone();
                writing.start(move || kept.write());
            }
            tokio::select! {
                () = shutdown.wait() => return,
                changed = told.changed(), if is_told => match changed {
                    Ok(()) => {
                        let revoked = told.borrow_and_update().clone();
                        revoked.iter().for_each(|revoked| self.take(revoked));
                    }
                    Err(_) => is_told = false,
                },
                // It ends with `self`.
                Ok(()) = in_force.changed() => {}
                () = writing.turn() => {}
            }
        }
    }

    /// Puts a list in force, unless a later one is.
    pub fn take(&self, revoked: &Revoked) {
        self.0.told.send_if_modified(|held| {
            let fresh = match &*held {
                // Who lags must not take a revocation back.
                Some(held) if !revoked.as_of.may_follow(&held.as_of) => return false,
                Some(held) if revoked.as_of.is(&held.as_of) => both(held, revoked),
                Some(_) | None => revoked.clone(),
            };
            if held.as_ref() == Some(&fresh) {
                return false;
            }
            self.0.trust.refuse(refused(&fresh));
            info!(
                refused = fresh.identities.len(),
                revision = fresh.as_of.revision,
                "who is revoked has changed"
            );
            *held = Some(fresh);
            true
        });
    }

    /// Writes down what is in force; whether that worked.
    fn write(&self) -> bool {
        let Some(held) = self.0.told.borrow().clone() else { return true };
        match json_file::write(&self.0.dir, FILE, &Record::from(&held)) {
            Ok(()) => {
                *self.0.written.lock() = Some(held);
                true
            }
            Err(error) => {
                error!(
                    error = %telemetry::causes(&error),
                    "cannot keep who is revoked yet: after a restart nobody would remember it here"
                );
                false
            }
        }
    }
}

impl Shared {
    fn is_written(&self) -> bool {
        *self.told.borrow() == *self.written.lock()
    }
}

/// Two lists of one position. No agent is told of itself, so each list may lack the agent that it was told to.
fn both(one: &Revoked, other: &Revoked) -> Revoked {
    let identities: BTreeSet<_> = one.identities.iter().chain(&other.identities).cloned().collect();
    let keys = |one: &[[u8; 32]], other: &[[u8; 32]]| {
        let keys: BTreeSet<_> = one.iter().chain(other).copied().collect();
        keys.into_iter().collect()
    };
    Revoked {
        as_of: one.as_of,
        identities: identities.into_iter().collect(),
        authorities: keys(&one.authorities, &other.authorities),
        gateway_keys: keys(&one.gateway_keys, &other.gateway_keys),
    }
}

/// What cannot be read cannot be refused either: a later version's role, say.
fn refused(revoked: &Revoked) -> Refused {
    let read = |text: &String| -> Option<Identity> {
        text.parse().inspect_err(|error| warn!(text, %error, "cannot refuse what is no identity")).ok()
    };
    Refused {
        identities: revoked.identities.iter().filter_map(read).collect(),
        keys: revoked.authorities.iter().copied().collect(),
        gateway_keys: revoked.gateway_keys.iter().copied().collect(),
    }
}

/// What was told, as it is kept: where it stands, and the content. A file of an earlier version lacks what came later.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    /// The lineage's generation and id, and the revision of the last change.
    generation: u64,
    lineage: Hex<16>,
    revision: u64,
    /// Who is refused by name.
    identities: Vec<String>,
    /// The keys, as SHA-256, of authorities that are refused.
    #[serde(default)]
    authorities: Vec<Hex<32>>,
    /// The keys, as SHA-256, of gateways that are refused.
    #[serde(default)]
    gateway_keys: Vec<Hex<32>>,
}

impl From<&Revoked> for Record {
    fn from(revoked: &Revoked) -> Self {
        Self {
            generation: revoked.as_of.lineage.generation,
            lineage: Hex(revoked.as_of.lineage.id),
            revision: revoked.as_of.revision,
            identities: revoked.identities.clone(),
            authorities: revoked.authorities.iter().copied().map(Hex).collect(),
            gateway_keys: revoked.gateway_keys.iter().copied().map(Hex).collect(),
        }
    }
}

impl From<Record> for Revoked {
    fn from(kept: Record) -> Self {
        let lineage = Lineage { generation: kept.generation, id: kept.lineage.0, parent: None };
        Self {
            as_of: Position { lineage, revision: kept.revision },
            identities: kept.identities,
            authorities: kept.authorities.into_iter().map(|key| key.0).collect(),
            gateway_keys: kept.gateway_keys.into_iter().map(|key| key.0).collect(),
        }
    }
}

/// Octets, written as hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Hex<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> From<Hex<N>> for String {
    fn from(octets: Hex<N>) -> Self {
        hex::encode(octets.0)
    }
}

impl<const N: usize> TryFrom<String> for Hex<N> {
    type Error = hex::FromHexError;

    fn try_from(digits: String) -> Result<Self, Self::Error> {
        let mut octets = [0; N];
        hex::decode_to_slice(digits, &mut octets)?;
        Ok(Self(octets))
    }
}

#[cfg(test)]
mod tests;
