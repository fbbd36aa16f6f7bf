//! Agents in this process: what `hanse agent` runs, with a source of wishes, and with a look at what they hold.

use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use hanse_agent::{Addresses, Config, Error, Observed, RegionWatcher, Replicas, Wish, Wishes, run_observed};
use hanse_process::{ShutdownTrigger, WallClock};
use hanse_topology::ScopeId;
use tokio::{
    sync::{oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use super::figures::content;
use crate::spec;

/// A change that takes longer is a fault, not a figure.
const HELD_WITHIN: Duration = Duration::from_secs(120);

/// One agent, whether it runs or not.
pub(super) struct InProcess {
    pub(super) config: Config,
    pub(super) wishes: watch::Sender<Wishes>,
    running: Option<Running>,
}

struct Running {
    seen: Observed,
    stop: ShutdownTrigger,
    task: JoinHandle<Result<(), Error>>,
}

impl InProcess {
    /// One that does not run yet.
    pub(super) fn new(config: Config) -> Self {
        Self { config, wishes: watch::Sender::default(), running: None }
    }

    /// Starts it; returns when it has its store open.
    async fn start(mut self) -> Result<Self> {
        let (stop, shutdown) = ShutdownTrigger::new();
        let (observer, seen) = oneshot::channel();
        let (config, wishes) = (self.config.clone(), self.wishes.subscribe());
        let task = tokio::spawn(run_observed(config, WallClock::system(), wishes, observer, shutdown));
        let Ok(seen) = seen.await else {
            task.await?.with_context(|| format!("{} does not start", self.config.name))?;
            bail!("{} ended", self.config.name);
        };
        self.running = Some(Running { seen, stop, task });
        Ok(self)
    }

    async fn stop(mut self) -> Result<Self> {
        if let Some(Running { stop, task, .. }) = self.running.take() {
            stop.trigger();
            task.await?.with_context(|| format!("{} does not end", self.config.name))?;
        }
        Ok(self)
    }

    /// What it knows of its region, while it runs.
    pub(super) fn region(&self) -> Option<RegionWatcher> {
        self.running.as_ref().map(|running| running.seen.region.clone())
    }

    /// Its source wishes for the content after this change.
    pub(super) fn wish(&self, scope: &ScopeId, change: u64) {
        let wish = Wish { term: 1, content: content(change).into_iter().collect() };
        self.wishes.send_modify(|wishes| drop(wishes.insert(scope.clone(), Arc::new(wish))));
    }
}

/// The usual ports, at an address of its own.
pub(super) fn listen(address: Ipv4Addr) -> Addresses {
    Addresses {
        federation: spec::at(address, spec::FEDERATION),
        enrolment: spec::at(address, spec::ENROLMENT),
        admin: spec::at(address, spec::AGENT_ADMIN),
    }
}

/// Starts all of them, so many at once.
pub(super) async fn start_all(agents: &mut Vec<InProcess>, at_once: usize) -> Result<()> {
    let mut waiting = std::mem::take(agents).into_iter();
    let mut starting: JoinSet<_> = waiting.by_ref().take(at_once).map(InProcess::start).collect();
    while let Some(started) = starting.join_next().await {
        agents.push(started??);
        if let Some(next) = waiting.next() {
            starting.spawn(next.start());
        }
    }
    agents.sort_by(|one, other| one.config.name.cmp(&other.config.name));
    Ok(())
}

/// Stops all of them, at once.
pub(super) async fn stop_all(agents: &mut Vec<InProcess>) -> Result<()> {
    let mut stopping: JoinSet<_> = std::mem::take(agents).into_iter().map(InProcess::stop).collect();
    while let Some(stopped) = stopping.join_next().await {
        agents.push(stopped??);
    }
    agents.sort_by(|one, other| one.config.name.cmp(&other.config.name));
    Ok(())
}

/// Waits, from before a wish on, until every agent holds what it says. When the last one did.
pub(super) fn all_hold(agents: &[InProcess], scope: &ScopeId, change: u64) -> JoinSet<Result<Instant>> {
    let wanted = content(change);
    let hubs =
        agents.iter().filter_map(|agent| agent.running.as_ref()).map(|running| running.seen.replicas.clone());
    let holding = hubs.map(|hub| {
        let (scope, wanted) = (scope.clone(), wanted.clone());
        async move {
            timeout(HELD_WITHIN, holds(&hub, &scope, &wanted))
                .await
                .with_context(|| format!("an agent does not hold a change of {scope} after {HELD_WITHIN:?}"))
        }
    });
    holding.collect()
}

/// The last of several moments.
pub(super) async fn last_of(mut moments: JoinSet<Result<Instant>>) -> Result<Instant> {
    let mut last = None;
    while let Some(moment) = moments.join_next().await {
        last = last.max(Some(moment??));
    }
    last.context("no agent runs")
}

async fn holds(hub: &Replicas, scope: &ScopeId, wanted: &[(Arc<str>, bytes::Bytes)]) -> Instant {
    let mut changed = hub.subscribe();
    loop {
        changed.mark_unchanged();
        let is_held = hub.read(|map| {
            let replica = map.get(scope);
            replica.is_some_and(|replica| wanted.iter().all(|(key, value)| replica.get(key) == Some(value)))
        });
        if is_held {
            return Instant::now();
        }
        // The hub outlives this: it has a clone of it.
        let _ = changed.changed().await;
    }
}
