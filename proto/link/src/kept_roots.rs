//! The roots of trust that this node was told to believe: in force in its [`LiveTrust`], and kept on disk.

use std::{fmt, path::PathBuf, sync::Arc};

use hanse_identity::{EndorsedRoot, KeyDigest, LiveCredentials, LiveTrust, PkiError, ToldRoots, TrustAnchor};
use hanse_process::{Shutdown, json_file, telemetry};
use hanse_proto::sync::TrustStatus;
use hanse_sync::{TrustedRoot, TrustedRoots};
use hanse_topology::{Lineage, Position};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::{beside::WriteBeside, kept_revocations::Hex, trust_status};

/// Its name in the node's data directory.
const FILE: &str = "roots";

/// What a node was told, in force and on disk. Cloning shares it.
#[derive(Clone)]
pub struct KeptRoots(Arc<Shared>);

struct Shared {
    dir: PathBuf,
    trust: LiveTrust,
    own: LiveCredentials,
    told: watch::Sender<Option<TrustedRoots>>,
    /// What is on disk, and would be believed after a restart: what others may count on.
    lasting: Mutex<InForce>,
}

/// What a node was told, and what it believes by that.
#[derive(Debug, Clone, PartialEq, Eq)]
struct InForce {
    told: Option<TrustedRoots>,
    believed: Vec<KeyDigest>,
}

impl fmt::Debug for KeptRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeptRoots").field(&self.0.trust).finish()
    }
}

impl KeptRoots {
    /// Puts in force what is on disk in `dir`, beside the root of this node's own certificate. To be called before a peer is
    /// let in or connected to.
    ///
    /// A file that cannot be read is moved aside, and the node believes the root of its own certificate until it is told anew.
    pub fn restore(dir: PathBuf, trust: LiveTrust, own: LiveCredentials) -> Self {
        let read =
            json_file::read_or_set_aside::<Record>(&dir, FILE, "cannot read the roots that are believed");
        let held = read.map(TrustedRoots::from);
        let held = held.filter(|held| put_in_force(held, &trust, &own).inspect_err(cannot_believe).is_ok());
        let lasting = Mutex::new(InForce { told: held.clone(), believed: believed(&trust) });
        Self(Arc::new(Shared { dir, trust, own, told: watch::Sender::new(held), lasting }))
    }

    /// Fires when something else is in force than before.
    pub fn changed(&self) -> watch::Receiver<Option<TrustedRoots>> {
        self.0.told.subscribe()
    }

    /// What is in force, to be told to this node's subscribers. It names the root that certificates should come from only once
    /// this node's own certificate does: before, this node could issue none under that root.
    pub fn to_tell(&self) -> Option<TrustedRoots> {
        let told = self.0.told.borrow().clone()?;
        let own = self.0.own_root();
        Some(TrustedRoots { issuing: told.issuing.filter(|issuing| own == Some(*issuing)), ..told })
    }

    /// Which roots this node believes for good, and which one its certificate comes from.
    pub fn status(&self) -> TrustStatus {
        let believed = self.0.lasting.lock().believed.iter().map(|key| key.to_vec().into()).collect();
        TrustStatus { believed, ..trust_status(&self.0.trust, &self.0.own) }
    }

    /// Has this node believe what it is told, until the shutdown or until no source of roots is left.
    pub async fn follow(self, mut told: watch::Receiver<Option<TrustedRoots>>, shutdown: Shutdown) {
        let mut own = self.0.own.replaced();
        self.look_again(); // for a certificate that came while nothing followed
        let mut writing = WriteBeside::default();
        loop {
            if let Some(now) = self.0.unwritten() {
                let kept = self.clone();
                writing.start(move || kept.write(now));
            }
            tokio::select! {
                () = shutdown.wait() => return,
                changed = told.changed() => match changed {
                    Ok(()) => {
                        let roots = told.borrow_and_update().clone();
                        roots.iter().for_each(|roots| self.take(roots));
                    }
                    Err(_) => return,
                },
                // It ends with `self`.
                Ok(()) = own.changed() => self.look_again(),
                () = writing.turn() => {}
            }
        }
    }

    /// Puts a list in force, unless a later one is.
    fn take(&self, roots: &TrustedRoots) {
        let held = self.0.told.borrow().clone();
        let fresh = match &held {
            // Who lags takes nothing back.
            Some(held) if !roots.as_of.may_follow(&held.as_of) => return,
            Some(held) => {
                // Of one position it is the same lineage, though a disk does not keep where that came from.
                let as_of = if roots.as_of.is(&held.as_of) { held.as_of } else { roots.as_of };
                TrustedRoots { as_of, issuing: roots.issuing.or(held.issuing), ..roots.clone() }
            }
            None => roots.clone(),
        };
        if held.as_ref() == Some(&fresh) {
            return;
        }
        if let Err(error) = put_in_force(&fresh, &self.0.trust, &self.0.own) {
            return cannot_believe(&error);
        }
        info!(believed = ?self.0.trust.current(), revision = fresh.as_of.revision, "other roots are believed");
        self.0.told.send_replace(Some(fresh));
    }

    /// Believes the root of an earlier certificate of its own no more, where that is not among those told.
    fn look_again(&self) {
        let Some(told) = self.0.told.borrow().clone() else { return };
        if self.0.trust.current().anchors().len() > told.believed.len()
            && let Err(error) = put_in_force(&told, &self.0.trust, &self.0.own)
        {
            cannot_believe(&error);
        }
    }

    /// Writes down what was in force; whether that worked.
    fn write(&self, then: InForce) -> bool {
        let written = match &then.told {
            Some(told) => json_file::write(&self.0.dir, FILE, &Record::from(told)),
            None => Ok(()),
        };
        match written {
            Ok(()) => {
                *self.0.lasting.lock() = then;
                true
            }
            Err(error) => {
                error!(
                    error = %telemetry::causes(&error),
                    "cannot keep the roots that are believed yet: after a restart nobody would remember them here"
                );
                false
            }
        }
    }
}

impl Shared {
    fn own_root(&self) -> Option<KeyDigest> {
        self.own.current().trust_anchor().ok().map(|anchor| anchor.spki_sha256())
    }

    /// What is in force, if that is not what is on disk. To be called where nothing else is put in force meanwhile.
    fn unwritten(&self) -> Option<InForce> {
        let now = InForce { told: self.told.borrow().clone(), believed: believed(&self.trust) };
        (now != *self.lasting.lock()).then_some(now)
    }
}

fn put_in_force(roots: &TrustedRoots, trust: &LiveTrust, own: &LiveCredentials) -> Result<(), PkiError> {
    let read = |root: &TrustedRoot| {
        EndorsedRoot::from_der(&root.certificate, &root.endorsement).inspect_err(cannot_believe).ok()
    };
    let told = ToldRoots {
        believed: roots.believed.iter().filter_map(read).collect(),
        issuing: roots.issuing,
        dropped: roots.dropped.iter().copied().collect(),
    };
    let next = trust.current().followed_by(&told, &own.current().trust_anchor()?)?;
    for left_out in told.believed.iter().filter(|root| !next.anchors().contains(&root.anchor)) {
        warn!(root = ?left_out.anchor, "a root is not believed: it was dropped, or none that is believed speaks for it");
    }
    trust.replace(next);
    Ok(())
}

fn believed(trust: &LiveTrust) -> Vec<KeyDigest> {
    trust.current().anchors().iter().map(TrustAnchor::spki_sha256).collect()
}

fn cannot_believe(error: &PkiError) {
    error!(error = %telemetry::causes(error), "cannot read a root that is to be believed");
}

/// What was told, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    generation: u64,
    lineage: Hex<16>,
    revision: u64,
    #[serde(default)]
    issuing: Option<Hex<32>>,
    believed: Vec<RootRecord>,
    #[serde(default)]
    dropped: Vec<Hex<32>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RootRecord {
    #[serde(with = "hex::serde")]
    certificate: Vec<u8>,
    #[serde(with = "hex::serde")]
    endorsement: Vec<u8>,
}

impl From<&TrustedRoots> for Record {
    fn from(roots: &TrustedRoots) -> Self {
        let believed = roots.believed.iter().map(|root| RootRecord {
            certificate: root.certificate.clone(),
            endorsement: root.endorsement.clone(),
        });
        Self {
            generation: roots.as_of.lineage.generation,
            lineage: Hex(roots.as_of.lineage.id),
            revision: roots.as_of.revision,
            issuing: roots.issuing.map(Hex),
            believed: believed.collect(),
            dropped: roots.dropped.iter().copied().map(Hex).collect(),
        }
    }
}

impl From<Record> for TrustedRoots {
    fn from(kept: Record) -> Self {
        let lineage = Lineage { generation: kept.generation, id: kept.lineage.0, parent: None };
        let believed = kept
            .believed
            .into_iter()
            .map(|root| TrustedRoot { certificate: root.certificate, endorsement: root.endorsement });
        Self {
            as_of: Position { lineage, revision: kept.revision },
            believed: believed.collect(),
            issuing: kept.issuing.map(|key| key.0),
            dropped: kept.dropped.into_iter().map(|key| key.0).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
