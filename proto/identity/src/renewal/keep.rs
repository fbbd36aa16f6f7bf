//! Keeping what a process holds young: one loop for gateways' certificates, agents' authorities and control nodes' own.

use std::sync::Arc;

use hanse_process::{Shutdown, telemetry};
use tracing::{debug, error, info, warn};

use super::schedule::{BY_HAND, Due, RenewalSchedule, STEADY};
use crate::{Chain, Held, KeyDir, Live, LiveTrust, PkiError, RenewError, TrustAnchor};

/// How a process comes by another certificate.
#[derive(Debug, Clone, Copy)]
pub enum Issuing {
    /// Those who issue it are there all the time. It is renewed early too when a key of its chain is refused.
    Always,
    /// An operator brings the root's key for a while.
    ByHand {
        /// What to do, where another root takes the place of the one it comes from.
        remedy: &'static str,
    },
}

/// What is to be kept young, and where.
#[derive(Debug, Clone)]
pub struct Renewal<T> {
    /// What it is, in words: `the authority over the region`.
    pub what: &'static str,
    /// The cell it is swapped in.
    pub live: Live<T>,
    /// Whom this process believes.
    pub trust: LiveTrust,
    /// Where it is kept.
    pub dir: KeyDir,
    /// Who issues it.
    pub issuing: Issuing,
}

impl<T: Held> Renewal<T> {
    /// Until the shutdown: has it renewed by `ask` at half its life, also after it has expired, and at once when it comes from
    /// another root than it should. What is issued or connected after that is by the new one.
    pub async fn keep<F>(self, ask: impl Fn(Arc<T>) -> F, shutdown: Shutdown)
    where
        F: Future<Output = Result<T, RenewError>>,
    {
        let waits = match self.issuing {
            Issuing::Always => STEADY,
            Issuing::ByHand { .. } => BY_HAND,
        };
        let mut schedule = RenewalSchedule::new(waits, self.trust.clock().clone(), shutdown.clone());
        let mut is_said = false;
        loop {
            let current = self.live.current();
            let Some(due) = schedule.due(current.validity(), self.spoilt(current.chain())).await else {
                return;
            };
            let renewed = tokio::select! {
                () = shutdown.wait() => return,
                renewed = ask(self.live.current()) => renewed,
            };
            let hurries = match renewed {
                Ok(fresh) => {
                    if self.take(fresh).await {
                        schedule.succeeded();
                        is_said = false;
                        continue;
                    }
                    true // the issuer may be gone soon: an operator takes the root's key away again
                }
                Err(error) => {
                    let is_spoilt = due == Due::Spoilt;
                    self.say(due, is_said, &error);
                    is_said |= is_spoilt; // failures for mere age are silent, and must not silence this one
                    is_spoilt
                }
            };
            if !schedule.failed(hurries).await {
                return;
            }
        }
    }

    /// Resolves when another would be of more use than this.
    async fn spoilt(&self, chain: &Chain) {
        match self.issuing {
            // Who certified it may be revoked: another one is asked at once.
            Issuing::Always => self.trust.spoils(chain).await,
            Issuing::ByHand { .. } => self.trust.outdates(chain).await,
        }
    }

    /// Saves it, off the runtime's threads, for a disk may be slow, and puts it to use; whether it is used.
    async fn take(&self, fresh: T) -> bool {
        let (saved, dir) = (fresh.clone(), self.dir.clone());
        let saved = tokio::task::spawn_blocking(move || saved.write(&dir)).await;
        let saved = saved.unwrap_or_else(|_| Err(PkiError::certificate("saving it panicked")));
        let what = self.what;
        if let Err(error) = saved {
            error!(error = %telemetry::causes(&error), "cannot save {what} as renewed");
            // Under the same root it is used without being saved, if its issuer is always there: after a restart the old one is
            // renewed again. Under another root it is not used: operators drop the old root once every process shows the new
            // one, and after a restart this one would show what is believed by none.
            let root = |held: &T| TrustAnchor::of_chain(held.chain()).ok();
            if matches!(self.issuing, Issuing::ByHand { .. }) || root(&fresh) != root(&self.live.current()) {
                return false;
            }
        }
        info!(root = ?TrustAnchor::of_chain(fresh.chain()).ok(), "renewed {what}");
        self.live.replace(fresh);
        true
    }

    fn say(&self, due: Due, is_said: bool, error: &RenewError) {
        let (what, error) = (self.what, telemetry::causes(error));
        match (self.issuing, due) {
            (Issuing::Always, _) => warn!(%error, "cannot renew {what} yet"),
            // Once, for it lasts as long as the operator takes; the debug log has the rest.
            (Issuing::ByHand { remedy }, Due::Spoilt) if !is_said => {
                warn!(%error, remedy, "cannot bring {what} under the root that certificates should come from yet");
            }
            (Issuing::ByHand { .. }, Due::Spoilt | Due::Age) => debug!(%error, "cannot renew {what} yet"),
        }
    }
}
