//! Keeps the routing table in step with the replicas that the agent fills.
//!
//! Level, not edge: each step brings the table to what the replicas hold now, so any number of changes that came
//! meanwhile are one. A lost agent changes no replica and so no table. Compiling and freeing tables happens here, never on
//! a serving thread.

mod kept_scope;
mod local;
mod local_wait;
mod news;
mod seed;
pub(crate) mod stand_in;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use hanse_link::{InUse, LinkStatus, ProvenVersions, Quarantine, Replicas};
use hanse_process::{Pulse, Shutdown, sleep_until};
use hanse_sync::{Changes, ReplicaMap};
use hanse_topology::{Name, Position, ScopeId};
use tokio::{sync::watch, task::JoinError};
use tracing::{Span, debug, error, info, warn};

use crate::{
    health::Endpoints,
    metrics::{ApiCounters, ApiStats, GatewayMetrics, HostCounters},
    table::{
        ConnectProfiles, Face, RoutingTable,
        index::{ScopeIndex, WaitsFor},
    },
};
use kept_scope::KeptScope;
pub(crate) use kept_scope::ScopeSummary;
use local_wait::{Missing, waited_until};
use news::{Content, Kept, News};
pub(crate) use seed::KeeperSeed;

/// How often old tables are looked at: requests that began on one are decided within microseconds.
const SWEEP: Duration = Duration::from_secs(1);
/// After a configuration that cannot be compiled even from scratch: the next attempt must not be another storm.
const RETRY: Duration = Duration::from_secs(30);

/// How often versions are proven: a small part of the time that it takes.
const PROVE: Duration = Duration::from_secs(15);
/// How long a change waits for the disk, where it waits at all: a full disk must not keep changes away for longer.
const KEPT_WITHIN: Duration = Duration::from_secs(1);

/// A keeper that does not turn for so long hangs: the largest configuration is compiled within seconds.
pub(crate) const HANGS_AFTER: Duration = Duration::from_secs(120);

/// Why there is nothing to serve.
const NOTHING: &str = "no configuration yet";

/// The task.
pub(crate) struct TableKeeper {
    replicas: Replicas,
    /// What the agent offers.
    link: watch::Receiver<LinkStatus>,
    /// The environments wanted; none: all.
    environments: Vec<Name>,
    state: Keeping,
    /// Every scope that was offered had its content once. Until then nothing is served: a scope that is missing would
    /// leave its requests to an environment with a wider host.
    complete: bool,
    /// Until when local scopes are waited for, once they alone are missing.
    local_until: Option<Instant>,
    handle: Published,
    /// Which versions are proven, and which are held back.
    proven: ProvenVersions,
    /// Beaten while the task turns.
    pulse: Pulse,
}

/// What others see of it.
#[derive(Clone)]
pub(crate) struct KeeperHandle {
    /// What is served.
    pub(crate) table: Arc<ArcSwap<RoutingTable>>,
    /// Where in their lineages the served scopes stand, and what of them cannot be used.
    pub(crate) effective: watch::Receiver<BTreeMap<ScopeId, InUse>>,
    /// Of these scopes the ones that clients get answers from, at an entry or another.
    pub(crate) served: watch::Receiver<BTreeSet<ScopeId>>,
    /// Whether there is anything to serve.
    pub(crate) ready: watch::Receiver<Result<(), String>>,
    /// For people.
    pub(crate) summary: Arc<ArcSwap<Vec<ScopeSummary>>>,
    /// The endpoints of every table, with their health.
    pub(crate) endpoints: Endpoints,
    /// Requests by host pattern.
    pub(crate) hosts: HostCounters,
    #[cfg(test)]
    faults: Arc<tests::Faults>,
}

/// Where results go.
#[derive(Clone)]
struct Published {
    table: Arc<ArcSwap<RoutingTable>>,
    effective: watch::Sender<BTreeMap<ScopeId, InUse>>,
    served: watch::Sender<BTreeSet<ScopeId>>,
    ready: watch::Sender<Result<(), String>>,
    summary: Arc<ArcSwap<Vec<ScopeSummary>>>,
    endpoints: Endpoints,
    /// Requests by Api. Like endpoints, they outlive what is compiled.
    counters: ApiCounters,
    metrics: Arc<GatewayMetrics>,
    /// The ways to the gateway.
    faces: Arc<[Face]>,
    /// Called when all that is awaited is there for the first time, before any of it is served.
    whole: Arc<dyn Fn() + Send + Sync>,
    /// What is to go wrong in steps.
    #[cfg(test)]
    faults: Arc<tests::Faults>,
}

/// The compiled scopes. Moves to a blocking thread and back with every step.
#[derive(Default)]
struct Keeping {
    scopes: BTreeMap<ScopeId, KeptScope>,
    profiles: ConnectProfiles,
    counters: ApiCounters,
    /// Of each scope, what tells whether its routes or its listener changed since it was last noted which local routes do not answer.
    places: BTreeMap<ScopeId, u64>,
    /// The environments that no entry of this gateway serves, and why.
    dark: BTreeMap<ScopeId, String>,
    /// The scopes differ from what the table in force was made of.
    unpublished: bool,
    /// Tables out of use, until no serving thread looks at them.
    retired: Vec<Arc<RoutingTable>>,
}

impl TableKeeper {
    /// Puts in force what the replicas hold already, so that the first request finds it.
    pub(crate) async fn prepare(&mut self) {
        // What is stored is on disk already. What arrived meanwhile comes with the next step.
        let stored = self.proven.kept().map(|durable| durable.borrow().clone());
        if self.step_with(stored).await.is_err() {
            error!("compiling what is stored panicked; it is done again");
        }
    }

    /// Follows the replicas until the shutdown. A call after one that ended goes on where that stopped.
    pub(crate) async fn run(&mut self, shutdown: Shutdown) {
        let mut changed = self.replicas.subscribe();
        changed.mark_changed(); // the first round takes what is there already
        let mut linked = true;
        let mut proving = tokio::time::interval(PROVE.min(self.proven.after()));
        loop {
            #[cfg(test)]
            self.handle.fault_of_task(&self.replicas);
            self.pulse.beat();
            let retired = !self.state.retired.is_empty();
            let local_until = self.local_until;
            tokio::select! {
                biased;
                () = shutdown.wait() => return,
                _ = proving.tick() => self.prove(), // before what may come without end
                ended = changed.changed() => if ended.is_err() { return },
                heard = self.link.changed(), if linked && !self.complete => linked = heard.is_ok(),
                () = tokio::time::sleep(SWEEP), if retired => {}
                () = sleep_until(local_until), if !self.complete => {} // the clock tells the step
                () = self.pulse.beat_on() => {}
            }
            if self.step().await.is_err() {
                // Going down would take down every gateway that gets the same change. So the last table stays in force, and
                // what it misses is not acknowledged, which the control plane shows.
                error!("compiling the configuration panicked; once more from scratch");
                let again = self.step().await.is_err() && !self.step_without_news().await;
                self.handle.metrics.following.store(!again, Ordering::Relaxed);
                if again {
                    error!(retry = ?RETRY, "the configuration cannot be compiled; the last table stays in force");
                    tokio::select! {
                        () = shutdown.wait() => return,
                        () = tokio::time::sleep(RETRY) => {}
                        () = self.pulse.beat_on() => {}
                    }
                    changed.mark_changed();
                }
            } else {
                self.handle.metrics.following.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Proves what is served.
    fn prove(&self) {
        let following = self.handle.metrics.following.load(Ordering::Relaxed);
        let uses = |scope: &ScopeId, key: &str| {
            self.state.scopes.get(scope).is_some_and(|kept| !kept.exceptions.contains_key(key))
        };
        let uses = (following && self.handle.ready.borrow().is_ok()).then_some(uses);
        self.replicas.read(|map| self.proven.prove(map, uses));
    }

    /// A step with what could not be compiled held back, as far as that is new. Whether that helped; else nothing is held back.
    async fn step_without_news(&mut self) -> bool {
        // First only what came last: what an Origin barred until now ended nothing yet.
        for hold in [ProvenVersions::hold, ProvenVersions::hold_with_untried] {
            if !hold(&self.proven) {
                continue;
            }
            error!("compiling once more without what is new");
            if self.step().await.is_ok() {
                return true;
            }
            self.proven.release();
        }
        false
    }

    /// Waits until what the replicas hold is on disk, where it must be before it is used.
    async fn kept(&self) -> Kept {
        let mut durable = self.proven.kept()?;
        let holds_no_more = |durable: &BTreeMap<ScopeId, Position>| {
            self.replicas
                .read(|map| map.iter().all(|(scope, replica)| replica.is_whole_in(durable.get(scope))))
        };
        let kept = tokio::time::timeout(KEPT_WITHIN, durable.wait_for(holds_no_more)).await;
        Some(kept.ok()?.ok()?.clone())
    }

    /// One step on a blocking thread. After a panic nothing compiled is left.
    async fn step(&mut self) -> Result<(), JoinError> {
        let kept = self.kept().await;
        self.step_with(kept).await
    }

    /// The same with what is `kept`.
    async fn step_with(&mut self, kept: Kept) -> Result<(), JoinError> {
        let proven = self.proven.clone();
        let (replicas, handle) = (self.replicas.clone(), self.handle.clone());
        let awaited = (!self.complete).then(|| self.awaited());
        let waits_for_local = self.local_until.is_none_or(|until| Instant::now() < until);
        // What is compiled is lost if this panics, and the next table a whole one.
        let mut state =
            std::mem::replace(&mut self.state, Keeping { unpublished: true, ..Keeping::over(&handle) });
        let span = Span::current();
        let step = tokio::task::spawn_blocking(move || {
            let _entered = span.enter();
            let awaited = awaited.as_ref();
            let missing = state.step(&replicas, awaited, waits_for_local, &handle, (&proven, &kept));
            (state, missing)
        });
        let (state, missing) = step.await?;
        self.state = state;
        self.complete = missing == Missing::Nothing;
        self.local_until = waited_until(self.local_until, missing, Instant::now());
        let scopes = &self.state.scopes;
        self.proven.is_used(|scope, key| scopes.get(scope).is_none_or(|kept| !kept.index.is_barred(key)));
        Ok(())
    }

    /// The scopes without which nothing is served.
    fn awaited(&self) -> BTreeSet<ScopeId> {
        let wanted = |name: &Name| self.environments.is_empty() || self.environments.contains(name);
        let offered = &self.link.borrow().offered;
        offered.iter().filter(|scope| scope.environment().is_some_and(wanted)).cloned().collect()
    }
}

impl Keeping {
    /// Nothing compiled. Endpoints outlive it: their health is not of one table.
    fn over(handle: &Published) -> Self {
        let profiles = ConnectProfiles::over(handle.endpoints.clone());
        Self { profiles, counters: handle.counters.clone(), ..Self::default() }
    }

    /// Brings everything in line with the replicas. What of those that are `awaited` is missing; `None`: nothing is awaited any more.
    fn step(
        &mut self,
        replicas: &Replicas,
        awaited: Option<&BTreeSet<ScopeId>>,
        waits_for_local: bool,
        handle: &Published,
        (proven, kept): (&ProvenVersions, &Kept),
    ) -> Missing {
        let (news, gone) = replicas.read(|map| {
            proven.observe(map);
            (self.news(map, proven, kept), self.gone(map))
        });
        #[cfg(test)]
        handle.fault(&news);
        let moved = !news.is_empty() || !gone.is_empty();
        let mut changed = !gone.is_empty();
        for scope in gone {
            info!(%scope, "scope is no longer served");
            self.scopes.remove(&scope);
            self.places.clear();
            self.profiles.sets.remove_scope(&scope);
        }
        for news in news {
            let scope = news.scope.clone();
            changed |= self.take_in(news);
            let kept = &self.scopes[&scope];
            replicas.confirm(&scope, &kept.position, &kept.held_otherwise());
        }
        for scope in self.follow_origins() {
            let kept = &self.scopes[&scope];
            replicas.confirm(&scope, &kept.position, &kept.held_otherwise());
            changed = true;
        }
        changed |= self.follow_sets();
        self.unpublished |= changed;
        if let Some(awaited) = awaited {
            let missing = self.missing(awaited, waits_for_local, handle);
            if missing != Missing::Nothing {
                return missing;
            }
            (handle.whole)();
        }
        let changed = std::mem::take(&mut self.unpublished);
        if changed {
            let tables = self.scopes.values().map(|kept| kept.index.table()).collect();
            let table = Arc::new(RoutingTable::new(tables, &handle.faces));
            // With the table that it belongs to: an upstream that moves and an egress that denies where it was are one change.
            handle.endpoints.enforce(&table.egress());
            self.retired.push(handle.table.swap(table.clone()));
            // After that: a change waits for nothing that is only told.
            self.note_lost(&table);
            self.note_dark(&table);
        }
        if moved || changed {
            self.publish(handle, changed);
        }
        // The count includes every serving thread that still looks at the table: swap saw to that.
        self.retired.retain(|table| Arc::strong_count(table) > 1);
        Missing::Nothing
    }

    /// What is missing of what is awaited. Scopes are in order: those of the control plane come before local ones.
    fn missing(&self, awaited: &BTreeSet<ScopeId>, waits_for_local: bool, handle: &Published) -> Missing {
        let missing = awaited.iter().find(|scope| !self.scopes.contains_key(scope));
        let (what, why) = match missing {
            None if awaited.iter().all(ScopeId::is_local) => (Missing::Scope, NOTHING.to_owned()),
            None => return Missing::Nothing,
            Some(scope) if scope.is_local() && !waits_for_local => {
                warn!(%scope, "serving without a local scope that is offered and does not come");
                return Missing::Nothing;
            }
            Some(scope) => {
                let what = if scope.is_local() { Missing::Local } else { Missing::Scope };
                (what, format!("no configuration yet: {scope} is missing"))
            }
        };
        handle.tell_ready(Err(why));
        what
    }

    fn gone(&self, map: &ReplicaMap) -> Vec<ScopeId> {
        let holds = |scope: &&ScopeId| map.get(scope).is_some_and(|replica| replica.position().is_some());
        self.scopes.keys().filter(|scope| !holds(scope)).cloned().collect()
    }

    /// Compiles what is new of one scope. Whether the table differs.
    fn take_in(&mut self, news: News) -> bool {
        let News { scope, seen, position, root, content, held_back } = news;
        let started = Instant::now();
        let origin = self.origin_of(&scope);
        let counters = &self.counters;
        let kept = self.scopes.entry(scope.clone()).or_insert_with(|| KeptScope {
            index: ScopeIndex::counting(scope.clone(), counters.clone()),
            seen,
            position,
            root,
            unusable: Vec::new(),
            quarantine: Quarantine::default(),
            lost_is_untold: true,
            exceptions: BTreeMap::new(),
            waits_for: WaitsFor::default(),
        });
        (kept.seen, kept.position, kept.root) = (seen, position, root);
        kept.index.set_poisoned(held_back.poisoned); // before anything of it is compiled
        let is_allowed_otherwise = kept.index.set_origin(origin, &mut self.profiles);
        let (resources, whole) = match content {
            Content::Changed { changes, .. } if changes.is_empty() => {
                if is_allowed_otherwise {
                    kept.note_unusable();
                }
                return is_allowed_otherwise;
            }
            Content::Changed { changes, last_good } => {
                let resources = changes.upserts.len() + changes.removals.len();
                let Changes { upserts, removals } = changes;
                kept.index.catch_up(last_good, upserts, removals, &mut self.profiles);
                (resources, false)
            }
            Content::Whole { content, last_good } => {
                let resources = content.len();
                kept.index.replace(last_good, content, &mut self.profiles);
                (resources, true)
            }
        };
        kept.note_unusable();
        debug!(%scope, revision = position.revision, resources, whole, took = ?started.elapsed(), "configuration compiled");
        true
    }

    /// Notes which environments no entry serves, and says so once.
    fn note_dark(&mut self, table: &RoutingTable) {
        let dark = table.dark();
        for (scope, why) in dark.iter().filter(|(scope, _)| !self.dark.contains_key(*scope)) {
            warn!(%scope, why, "no client gets an answer from this environment here");
        }
        self.dark = dark;
    }

    /// Whether clients get answers from a scope: its environment, or the one that it adds to, is not dark.
    fn is_served(&self, scope: &ScopeId) -> bool {
        !self.dark.contains_key(scope.adds_to().as_ref().unwrap_or(scope))
    }

    fn publish(&self, handle: &Published, changed: bool) {
        let scopes = self.scopes.iter().map(|(scope, kept)| kept.gauge(scope)).collect();
        let apis = match changed {
            true => {
                // Several scopes of an environment may count one Api.
                let all = self.scopes.values().flat_map(|kept| kept.index.stats());
                let each: HashMap<*const ApiStats, _> =
                    all.map(|stats| (Arc::as_ptr(stats), stats)).collect();
                Arc::new(each.into_values().cloned().collect())
            }
            false => handle.metrics.apis(),
        };
        handle.metrics.serve(apis, scopes);
        let summary =
            self.scopes.iter().map(|(scope, kept)| kept.summary(scope, self.dark.get(scope))).collect();
        handle.summary.store(Arc::new(summary));
        let serves = !self.scopes.keys().all(ScopeId::is_local);
        handle.tell_ready(if serves { Ok(()) } else { Err(NOTHING.to_owned()) });
        handle.served.send_if_modified(|served| {
            let now = self.scopes.keys().filter(|scope| self.is_served(scope)).cloned().collect();
            let before = std::mem::replace(served, now);
            before != *served
        });
        // Last: a task that hears of a position may count on its being served.
        let in_use = self.scopes.iter().map(|(scope, kept)| {
            let (position, quarantine) = (kept.position, kept.quarantine.clone());
            (scope.clone(), InUse { position, quarantine })
        });
        handle.effective.send_replace(in_use.collect());
    }
}

impl Published {
    fn tell_ready(&self, ready: Result<(), String>) {
        self.ready.send_if_modified(|now| {
            let differs = *now != ready;
            *now = ready;
            differs
        });
    }
}

#[cfg(test)]
pub(crate) mod tests;
