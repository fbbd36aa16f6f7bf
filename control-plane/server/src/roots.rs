//! The roots of trust, from the replicated state to this node's connections and to its agents.

mod authority;
mod certificates;

use std::{path::PathBuf, sync::Arc, time::Duration};

use hanse_identity::{EndorsedRoot, KeyDigest, LiveAuthority, LiveTrust, PkiError, ToldRoots};
use hanse_link::{TrustedRoot, TrustedRoots};
use hanse_process::{Shutdown, durable, telemetry};
use hanse_state::{State, port::Replicated};
use hanse_topology::Position;
use tracing::{error, info};

use crate::projector::lineage_of;

pub(crate) use authority::{ControlAuthority, ControlRenewal, RootKey, reissued};
pub(crate) use certificates::Certificates;

/// How late it is noticed that a disk has room again.
const WRITE_AGAIN: Duration = Duration::from_secs(10);

/// Has this node believe the roots that the state says are believed, from now on until the shutdown.
#[derive(Clone)]
pub(crate) struct Roots {
    pub(crate) replicated: Arc<dyn Replicated>,
    pub(crate) trust: LiveTrust,
    /// This node's own authority. The root of its chain is always believed, also where the state does not have it.
    pub(crate) control: LiveAuthority,
    /// Where clients find the certificates.
    pub(crate) file: PathBuf,
}

impl Roots {
    /// Enforces; each change as soon as this node has applied it.
    pub(crate) async fn enforce(self, shutdown: Shutdown) {
        let mut authority = self.control.replaced();
        let mut state = self.replicated.current();
        let mut is_written = true;
        loop {
            if let Some(issuing) = state.issuing_root() {
                match self.believe(&state, issuing) {
                    Ok(changed) => is_written &= !changed,
                    Err(error) => {
                        error!(error = %telemetry::causes(&error), "cannot believe the roots that the state has");
                    }
                }
            }
            if !is_written {
                is_written = self.write_down().await;
            }
            let known = state.roots_revision();
            loop {
                state = tokio::select! {
                    () = shutdown.wait() => return,
                    // The root of its own chain may go now.
                    Ok(()) = authority.changed() => break,
                    () = tokio::time::sleep(WRITE_AGAIN), if !is_written => break,
                    state = self.replicated.changed_since(state.revision()) => state,
                };
                if state.roots_revision() != known {
                    break;
                }
            }
        }
    }

    /// Whether other roots are believed now.
    fn believe(&self, state: &State, issuing: KeyDigest) -> Result<bool, PkiError> {
        let own = self.control.current().trust_anchor()?;
        let dropped = state.dropped_roots().iter().copied().collect();
        let told = ToldRoots { believed: endorsed(state), issuing: Some(issuing), dropped };
        let next = self.trust.current().followed_by(&told, &own)?;
        if *self.trust.current() == next {
            return Ok(false);
        }
        info!(roots = ?next, revision = state.roots_revision(), "the roots that are believed have changed");
        self.trust.replace(next);
        Ok(true)
    }

    /// Writes the certificates where clients find them; whether that worked.
    async fn write_down(&self) -> bool {
        let (file, pem) = (self.file.clone(), self.trust.current().to_pem());
        let written = tokio::task::spawn_blocking(move || {
            durable::replace(&file, pem.as_bytes(), durable::SECRET_MODE)
        });
        match written.await.map_err(std::io::Error::other).flatten() {
            Ok(()) => true,
            Err(error) => {
                error!(%error, file = %self.file.display(), "cannot write the roots that are believed yet");
                false
            }
        }
    }
}

/// The roots of a state as they are verified. A root that cannot be read is left out; the node that proposed it had read it.
fn endorsed(state: &State) -> Vec<EndorsedRoot> {
    let read = |known: &hanse_state::Root| {
        EndorsedRoot::from_der(&known.root.certificate, &known.root.endorsement)
            .inspect_err(
                |error| error!(error = %telemetry::causes(error), "a root of the state cannot be read"),
            )
            .ok()
    };
    state.roots().iter().filter_map(read).collect()
}

/// The roots that a node tells agents; `None` while the root was never replaced. The node's own certificate comes from the root
/// `own`. The answer names the root that certificates should come from only once the node's own certificate does: before, the
/// node could issue none under that root.
pub(crate) fn told(state: &State, own: Option<KeyDigest>) -> Option<TrustedRoots> {
    let lineage = lineage_of(state.lineage()?);
    let issuing = state.issuing_root()?;
    let believed = state.roots().iter().map(|known| TrustedRoot {
        certificate: known.root.certificate.clone(),
        endorsement: known.root.endorsement.clone(),
    });
    Some(TrustedRoots {
        as_of: Position { lineage, revision: state.roots_revision() },
        believed: believed.collect(),
        issuing: Some(issuing).filter(|issuing| own == Some(*issuing)),
        dropped: state.dropped_roots().to_vec(),
    })
}
