//! The roots of trust that this node was told to believe: in force in its [`LiveTrust`], and kept on disk.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use hanse_proto::sync::TrustStatus;
use hanse_sync::{Lineage, Position, TrustedRoot, TrustedRoots};
use hanse_transport::{
    EndorsedRoot, KeyDigest, LiveCredentials, LiveTrust, PkiError, Shutdown, TrustAnchor, json_file,
    telemetry,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::kept_trust::Hex;

/// Its name in the node's data directory.
const FILE: &str = "roots";
/// Between two attempts to write it: how late it is noticed that a disk has room again.
const WRITE_AGAIN: Duration = Duration::from_secs(10);

/// What a node was told, in force and on disk. Cloning shares it.
#[derive(Clone)]
pub struct KeptRoots(Arc<Shared>);

struct Shared {
    dir: PathBuf,
    trust: LiveTrust,
    own: LiveCredentials,
    told: watch::Sender<Option<TrustedRoots>>,
    /// What would be believed after a restart: what others may count on. Held while anything changes.
    lasting: Mutex<Vec<KeyDigest>>,
}

impl fmt::Debug for KeptRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeptRoots").field(&self.0.trust).finish()
    }
}

impl KeptRoots {
    /// Puts in force what is on disk in `dir`, beside the root of this node's own certificate. To be called before anybody is
    /// let in and anybody is connected to.
    ///
    /// A file that cannot be read is moved aside, and the node believes the root of its own certificate until it is told anew.
    pub fn restore(dir: PathBuf, trust: LiveTrust, own: LiveCredentials) -> Self {
        let held = read(&dir);
        let shared = Shared { dir, trust, own, told: watch::Sender::new(None), lasting: Mutex::default() };
        if let Some(held) = held
            && shared.put_in_force(&held).inspect_err(cannot_believe).is_ok()
        {
            shared.told.send_replace(Some(held));
        }
        *shared.lasting.lock() = shared.believed();
        Self(Arc::new(shared))
    }

    /// What is in force, for whoever passes it on.
    pub fn in_force(&self) -> watch::Receiver<Option<TrustedRoots>> {
        self.0.told.subscribe()
    }

    /// Which roots this node believes for good, and which one its certificate comes from.
    pub fn status(&self) -> TrustStatus {
        let shown = self.0.own.current().trust_anchor().map(|anchor| anchor.spki_sha256().to_vec());
        TrustStatus {
            believed: self.0.lasting.lock().iter().map(|key| key.to_vec().into()).collect(),
            shown: shown.unwrap_or_default().into(),
        }
    }

    /// Has this node believe what it is told, until the shutdown or until nobody is left to tell.
    pub async fn follow(self, mut told: watch::Receiver<Option<TrustedRoots>>, shutdown: Shutdown) {
        loop {
            let is_written = *self.0.lasting.lock() == self.0.believed();
            tokio::select! {
                () = shutdown.wait() => return,
                changed = told.changed() => match changed {
                    Ok(()) => {
                        let roots = told.borrow_and_update().clone();
                        roots.iter().for_each(|roots| self.take(roots));
                    }
                    Err(_) => return,
                },
                () = tokio::time::sleep(WRITE_AGAIN), if !is_written => self.write(),
            }
        }
    }

    /// Puts a list in force, unless a later one is; then writes it down.
    pub fn take(&self, roots: &TrustedRoots) {
        let held = self.0.told.borrow().clone();
        // Who lags takes nothing back.
        if held.is_some_and(|held| held == *roots || !roots.as_of.may_follow(&held.as_of)) {
            return;
        }
        if let Err(error) = self.0.put_in_force(roots) {
            return cannot_believe(&error);
        }
        info!(believed = ?self.0.trust.current(), revision = roots.as_of.revision, "other roots are believed");
        self.0.told.send_replace(Some(roots.clone()));
        self.write();
    }

    fn write(&self) {
        let Some(record) = self.0.told.borrow().as_ref().map(Record::from) else { return };
        let believed = self.0.believed();
        let mut lasting = self.0.lasting.lock();
        match json_file::write(&self.0.dir, FILE, &record) {
            Ok(()) => *lasting = believed,
            Err(error) => error!(
                error = %telemetry::causes(&error),
                "cannot keep the roots that are believed yet: after a restart nobody would remember them here"
            ),
        }
    }
}

impl Shared {
    fn put_in_force(&self, roots: &TrustedRoots) -> Result<(), PkiError> {
        let read = |root: &TrustedRoot| {
            EndorsedRoot::from_der(&root.certificate, &root.endorsement).inspect_err(cannot_believe).ok()
        };
        let told: Vec<_> = roots.believed.iter().filter_map(read).collect();
        let issuing = KeyDigest::try_from(&*roots.issuing).map_err(|_| PkiError::Certificate {
            reason: "the key of the root to use has not 32 octets".into(),
        })?;
        let next = self.trust.current().followed_by(&told, issuing, &self.own.current().trust_anchor()?)?;
        for left_out in told.iter().filter(|root| !next.anchors().contains(&root.anchor)) {
            warn!(root = ?left_out.anchor, "a root is not believed: none that is believed speaks for it");
        }
        self.trust.replace(next);
        Ok(())
    }

    fn believed(&self) -> Vec<KeyDigest> {
        self.trust.current().anchors().iter().map(TrustAnchor::spki_sha256).collect()
    }
}

fn cannot_believe(error: &PkiError) {
    error!(error = %telemetry::causes(error), "cannot read a root that is to be believed");
}

fn read(dir: &std::path::Path) -> Option<TrustedRoots> {
    let read = json_file::read::<Record>(dir, FILE).unwrap_or_else(|error| {
        error!(error = %telemetry::causes(&error), "cannot read the roots that are believed");
        if matches!(error, json_file::Error::Damaged { .. })
            && let Err(error) = json_file::set_aside(dir, FILE)
        {
            error!(error = %telemetry::causes(&error), "cannot move the damaged list aside");
        }
        None
    });
    read.map(TrustedRoots::from)
}

/// What was told, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    generation: u64,
    lineage: Hex<16>,
    revision: u64,
    issuing: Octets,
    believed: Vec<RootRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RootRecord {
    certificate: Octets,
    endorsement: Octets,
}

impl From<&TrustedRoots> for Record {
    fn from(roots: &TrustedRoots) -> Self {
        let believed = roots.believed.iter().map(|root| RootRecord {
            certificate: Octets(root.certificate.clone()),
            endorsement: Octets(root.endorsement.clone()),
        });
        Self {
            generation: roots.as_of.lineage.generation,
            lineage: Hex(roots.as_of.lineage.id),
            revision: roots.as_of.revision,
            issuing: Octets(roots.issuing.clone()),
            believed: believed.collect(),
        }
    }
}

impl From<Record> for TrustedRoots {
    fn from(kept: Record) -> Self {
        let lineage = Lineage { generation: kept.generation, id: kept.lineage.0, parent: None };
        let believed = kept
            .believed
            .into_iter()
            .map(|root| TrustedRoot { certificate: root.certificate.0, endorsement: root.endorsement.0 });
        Self {
            as_of: Position { lineage, revision: kept.revision },
            believed: believed.collect(),
            issuing: kept.issuing.0,
        }
    }
}

/// Any number of octets, written as hexadecimal digits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Octets(Vec<u8>);

impl From<Octets> for String {
    fn from(octets: Octets) -> Self {
        hex::encode(octets.0)
    }
}

impl TryFrom<String> for Octets {
    type Error = hex::FromHexError;

    fn try_from(digits: String) -> Result<Self, Self::Error> {
        hex::decode(digits).map(Self)
    }
}

#[cfg(test)]
mod tests;
