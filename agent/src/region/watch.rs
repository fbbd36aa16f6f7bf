//! Asks relays what they know of the region, one at a time.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use hanse_identity::{LiveCredentials, LiveTrust, client_tls_to};
use hanse_link::watch_region;
use hanse_local::{Directory, Target, followed};
use hanse_process::{Shutdown, backoff::Backoff, telemetry};
use hanse_topology::{Identity, Name};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{debug, info};

use super::hearing::{Hearing, RegionView};

/// First ceiling of the wait after every relay was tried: a relay that restarts is back within a second.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
/// Last ceiling: how late an agent notices that a relay is back.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Watches. A clone takes the place of one that ended.
#[derive(Clone)]
pub(crate) struct Watching {
    pub(crate) credentials: LiveCredentials,
    pub(crate) trust: LiveTrust,
    pub(crate) directory: watch::Receiver<Arc<Directory>>,
    pub(crate) watched: Watched,
}

/// What was heard. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watched(Arc<Mutex<Heard>>);

/// What was heard of a relay.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    /// Whose view it is; `None`: none was heard.
    pub(super) relay: Option<Name>,
    /// When a part came last.
    pub(super) at: Option<Instant>,
    pub(super) view: RegionView,
    /// Why the last relay that was asked says nothing more.
    pub(super) last_failure: Option<String>,
}

impl Watched {
    pub(super) fn read(&self) -> Heard {
        self.0.lock().clone()
    }
}

impl Watching {
    /// Watches one relay after another until the shutdown. A relay itself watches none: it hears all agents.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        let mut backoff = Backoff::new(MIN_BACKOFF, MAX_BACKOFF);
        let mut turn = usize::from(rand::random::<u16>());
        let mut failed = 0;
        loop {
            let relays = relays(&self.credentials.identity(), &self.directory.borrow_and_update());
            if relays.is_empty() {
                *self.watched.0.lock() = Heard::default();
                tokio::select! {
                    () = shutdown.wait() => return,
                    changed = self.directory.changed() => match changed {
                        Ok(()) => continue,
                        Err(_) => return, // the directory ends with the agent
                    },
                }
            }
            let relay = &relays[turn % relays.len()];
            let began = Instant::now();
            tokio::select! {
                () = shutdown.wait() => return,
                why = self.watch(relay) => {
                    debug!(relay = %relay.0, why, "tells no more of the region");
                    self.watched.0.lock().last_failure = Some(format!("{}: {why}", relay.0));
                }
                () = is_no_relay(self.directory.clone(), self.credentials.identity(), relay) => continue,
            }
            turn = turn.wrapping_add(1);
            failed += 1;
            if self.watched.0.lock().at.is_some_and(|at| at >= began) {
                (failed, backoff) = (0, Backoff::new(MIN_BACKOFF, MAX_BACKOFF));
            }
            // Every relay was tried. One that ends each stream at once is not asked without end either.
            if failed >= relays.len() || began.elapsed() < MIN_BACKOFF {
                tokio::select! {
                    () = shutdown.wait() => return,
                    () = tokio::time::sleep(backoff.next()) => {}
                }
            }
        }
    }

    /// Hears one relay until there is nothing more to hear; why.
    async fn watch(&self, (name, target): &(Name, Target)) -> String {
        let peer = Identity { name: name.clone(), ..self.credentials.identity() };
        let tls = match client_tls_to(&self.credentials, self.trust.clone(), peer, target.key) {
            Ok(tls) => tls,
            Err(error) => return telemetry::causes(&error).to_string(),
        };
        let mut hearing = Hearing::default();
        let hear = |part| {
            let complete = hearing.take(part)?;
            let mut heard = self.watched.0.lock();
            if let Some(view) = complete {
                if heard.relay.as_ref() != Some(name) {
                    info!(relay = %name, "hears of the region from this relay");
                    heard.relay = Some(name.clone());
                }
                heard.view.clone_from(view);
            }
            if heard.relay.as_ref() == Some(name) {
                heard.at = Some(Instant::now());
            }
            Ok(())
        };
        watch_region(&target.address, &tls, hear).await
    }
}

/// The relays that an agent may watch, in the order of their names; none, if it is one itself.
fn relays(own: &Identity, directory: &Directory) -> Vec<(Name, Target)> {
    if directory.get(&own.name).is_some_and(|own| own.relay) {
        return Vec::new();
    }
    followed(&own.name, directory, &BTreeSet::new()).into_iter().collect()
}

/// Returns when this relay is not to be watched any more.
async fn is_no_relay(mut directory: watch::Receiver<Arc<Directory>>, own: Identity, relay: &(Name, Target)) {
    while relays(&own, &directory.borrow_and_update()).contains(relay) {
        if directory.changed().await.is_err() {
            return; // it ends with the agent
        }
    }
}
