//! Asks all relays what they know of the region.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    panic::resume_unwind,
    sync::Arc,
    time::{Duration, Instant},
};

use hanse_identity::{LiveCredentials, LiveTrust, client_tls_to};
use hanse_link::watch_region;
use hanse_local::{Directory, Target, followed};
use hanse_process::{Shutdown, backoff::Backoff, telemetry};
use hanse_topology::{Identity, Name};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
};
use tracing::{debug, info};

use super::{
    hearing::{Hearing, RegionView},
    views::Views,
};

/// First ceiling of the wait before a relay is asked again: one that restarts is back within a second.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
/// Last ceiling: how late an agent notices that a relay is back. A stream that told a view and lasted so long was a good one.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Watches. A clone takes the place of one that ended.
#[derive(Clone)]
pub(crate) struct Watching {
    pub(crate) credentials: LiveCredentials,
    pub(crate) trust: LiveTrust,
    pub(crate) directory: watch::Receiver<Arc<Directory>>,
    pub(crate) watched: Watched,
}

/// What the relays said. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watched {
    views: Arc<Mutex<Views>>,
    /// Fires after each view that a relay told.
    told: watch::Sender<()>,
}

impl Watched {
    /// Does something with it. Short: parts that come meanwhile wait.
    pub(super) fn with<T>(&self, with: impl FnOnce(&mut Views) -> T) -> T {
        with(&mut self.views.lock())
    }

    /// Fires after each view that a relay told.
    pub(super) fn told(&self) -> watch::Receiver<()> {
        self.told.subscribe()
    }

    /// A part came. `complete` is the view, if it made one.
    fn hear(&self, relay: &Name, complete: Option<&RegionView>) {
        self.with(|views| views.heard(relay, complete, Instant::now()));
        if complete.is_some() {
            self.told.send_replace(());
        }
    }
}

impl Watching {
    /// Watches each relay of the directory until the shutdown. Relays watch one another, too.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        let own = self.credentials.identity().name;
        let (mut running, mut tasks) = (BTreeMap::<Name, (Target, AbortHandle)>::new(), JoinSet::new());
        loop {
            let relays = followed(&own, &self.directory.borrow_and_update(), &BTreeSet::new());
            self.watched.with(|views| views.ask(relays.keys().cloned(), Instant::now()));
            running.retain(|name, (target, task)| {
                let stays = relays.get(name) == Some(target);
                if !stays {
                    task.abort();
                }
                stays
            });
            for (name, target) in relays {
                if let Entry::Vacant(vacant) = running.entry(name.clone()) {
                    let task = tasks.spawn(self.clone().ask(name, target.clone()));
                    vacant.insert((target, task));
                }
            }
            tokio::select! {
                () = shutdown.wait() => return,
                changed = self.directory.changed() => if changed.is_err() {
                    return; // the directory ends with the agent
                },
                Some(ended) = tasks.join_next() => {
                    if let Err(error) = ended && let Ok(panic) = error.try_into_panic() {
                        resume_unwind(panic);
                    }
                }
            }
        }
    }

    /// Asks one relay, again and again.
    async fn ask(self, name: Name, target: Target) {
        let mut backoff = Backoff::new(MIN_BACKOFF, MAX_BACKOFF);
        loop {
            let began = Instant::now();
            let (told, why) = self.watch(&name, &target).await;
            debug!(relay = %name, why, "tells no more of the region");
            self.watched.with(|views| views.failed(&name, why));
            if told && began.elapsed() >= MAX_BACKOFF {
                backoff.reset();
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// Hears one relay until there is nothing more to hear. Whether it told a whole view, and why there is no more.
    async fn watch(&self, name: &Name, target: &Target) -> (bool, String) {
        let peer = Identity { name: name.clone(), ..self.credentials.identity() };
        let tls = match client_tls_to(&self.credentials, self.trust.clone(), peer, target.key) {
            Ok(tls) => tls,
            Err(error) => return (false, telemetry::causes(&error).to_string()),
        };
        let (mut hearing, mut told) = (Hearing::default(), false);
        self.watched.with(|views| views.begun(name));
        let hear = |part| {
            let complete = hearing.take(part)?;
            if complete.is_some() && !told {
                told = true;
                info!(relay = %name, "hears of the region from this relay");
            }
            self.watched.hear(name, complete);
            Ok(())
        };
        let why = watch_region(&target.address, &tls, hear).await;
        (told, why)
    }
}
