//! The roots of trust, from the replicated state to this node's connections and to its agents.

mod authority;
mod certificates;

use std::{fs, path::PathBuf, sync::Arc};

use hanse_link::{Position, TrustedRoot, TrustedRoots};
use hanse_state::{State, port::Replicated};
use hanse_transport::{EndorsedRoot, LiveAuthority, LiveTrust, PkiError, Shutdown, telemetry};
use tracing::{error, info};

use crate::projector::lineage_of;

pub(crate) use authority::{ControlAuthority, ControlRenewal, RootKey, reissued};
pub(crate) use certificates::Certificates;

/// Has this node believe the roots that the state says are believed, from now on until the shutdown.
pub(crate) struct Roots {
    pub(crate) replicated: Arc<dyn Replicated>,
    pub(crate) trust: LiveTrust,
    /// This node's own authority: the root of its chain is believed whatever the state says.
    pub(crate) control: LiveAuthority,
    /// Where clients find the certificates.
    pub(crate) file: PathBuf,
}

impl Roots {
    /// Enforces; each change as soon as this node has applied it.
    pub(crate) async fn enforce(self, shutdown: Shutdown) {
        let mut authority = self.control.replaced();
        let mut state = self.replicated.current();
        loop {
            if let Some(issuing) = state.issuing_root()
                && let Err(error) = self.believe(&state, issuing)
            {
                error!(error = %telemetry::causes(&error), "cannot believe the roots that the state has");
            }
            let known = state.roots_revision();
            loop {
                state = tokio::select! {
                    () = shutdown.wait() => return,
                    // The root of its own chain may go now.
                    Ok(()) = authority.changed() => break,
                    state = self.replicated.changed_since(state.revision()) => state,
                };
                if state.roots_revision() != known {
                    break;
                }
            }
        }
    }

    fn believe(&self, state: &State, issuing: [u8; 32]) -> Result<(), PkiError> {
        let own = self.control.current().trust_anchor()?;
        let next = self.trust.current().followed_by(&endorsed(state), issuing, &own)?;
        if *self.trust.current() == next {
            return Ok(());
        }
        info!(roots = ?next, revision = state.roots_revision(), "the roots that are believed have changed");
        let pem = next.to_pem();
        self.trust.replace(next);
        fs::write(&self.file, pem).map_err(|source| PkiError::Io {
            action: "write",
            path: self.file.clone(),
            source,
        })
    }
}

/// The roots of a state as they are verified. What cannot be read is left out: whoever proposed it had read it.
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

/// What agents are told; `None` while the root was never replaced.
pub(crate) fn told(state: &State) -> Option<TrustedRoots> {
    let lineage = lineage_of(state.lineage()?);
    let believed = state.roots().iter().map(|known| TrustedRoot {
        certificate: known.root.certificate.clone(),
        endorsement: known.root.endorsement.clone(),
    });
    Some(TrustedRoots {
        as_of: Position { lineage, revision: state.roots_revision() },
        believed: believed.collect(),
        issuing: state.issuing_root()?.to_vec(),
    })
}
