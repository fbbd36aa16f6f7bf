//! A keeper before it has a link.

use std::sync::Arc;

use hanse_link::{LinkStatus, PROVEN_AFTER, ProvenVersions, Replicas};
use hanse_process::Pulse;
use hanse_topology::Name;
use tokio::sync::watch;

use super::{KeeperHandle, Keeping, NOTHING, Published, TableKeeper};
use crate::{
    health::Endpoints,
    metrics::{ApiCounters, GatewayMetrics},
    table::Face,
};

/// A [`TableKeeper`] that does not know its link yet: the link reports what is served, and so is made after it.
pub(crate) struct KeeperSeed {
    pub(super) replicas: Replicas,
    environments: Vec<Name>,
    complete: bool,
    pub(super) handle: Published,
    pub(super) proven: ProvenVersions,
    pulse: Pulse,
}

impl KeeperSeed {
    /// A task over these replicas, which hold what of the link's offer these `environments` (none: all) want. `faces`: the ways to the
    /// gateway.
    pub(crate) fn new(
        replicas: Replicas,
        environments: Vec<Name>,
        faces: Vec<Face>,
        metrics: Arc<GatewayMetrics>,
    ) -> (Self, KeeperHandle) {
        let handle = Published {
            table: Arc::default(),
            effective: watch::Sender::default(),
            served: watch::Sender::default(),
            ready: watch::Sender::new(Err(NOTHING.to_owned())),
            summary: Arc::default(),
            endpoints: Endpoints::default(),
            counters: ApiCounters::default(),
            metrics,
            faces: faces.into(),
            whole: Arc::new(|| ()),
            #[cfg(test)]
            faults: Arc::default(),
        };
        let seen = KeeperHandle {
            table: handle.table.clone(),
            effective: handle.effective.subscribe(),
            served: handle.served.subscribe(),
            ready: handle.ready.subscribe(),
            summary: handle.summary.clone(),
            endpoints: handle.endpoints.clone(),
            hosts: handle.counters.hosts.clone(),
            #[cfg(test)]
            faults: handle.faults.clone(),
        };
        let proven = ProvenVersions::unkept(PROVEN_AFTER);
        (Self { replicas, environments, complete: false, handle, proven, pulse: Pulse::new() }, seen)
    }

    /// Says that the replicas hold all that an earlier process was complete with. It is served, also while offered scopes are
    /// missing.
    pub(crate) fn resuming(self) -> Self {
        Self { complete: true, ..self }
    }

    /// Serves only what this allows, and has it proven.
    pub(crate) fn proving(self, proven: ProvenVersions) -> Self {
        Self { proven, ..self }
    }

    /// Calls this when the replicas hold all that is awaited for the first time, before any of it is served: a client that is
    /// served may count on it.
    pub(crate) fn noting(mut self, whole: impl Fn() + Send + Sync + 'static) -> Self {
        self.handle.whole = Arc::new(whole);
        self
    }

    /// Beats this pulse while it turns, whether or not there is something to compile.
    pub(crate) fn beating(self, pulse: Pulse) -> Self {
        Self { pulse, ..self }
    }

    /// The task, once there is a link.
    pub(crate) fn over(self, link: watch::Receiver<LinkStatus>) -> TableKeeper {
        let Self { replicas, environments, complete, handle, proven, pulse } = self;
        let state = Keeping::over(&handle);
        TableKeeper {
            replicas,
            link,
            environments,
            state,
            complete,
            local_until: None,
            handle,
            proven,
            pulse,
        }
    }
}
