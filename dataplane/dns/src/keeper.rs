//! Keeps the zones in step with the replica that the agent fills.
//!
//! Level, not edge: each step brings the zones to what the replica holds now, so any number of changes that came meanwhile are one. A lost
//! agent changes no replica and so no answer. Compiling happens here, never on a serving thread.
//!
//! A scope exists while it has content. One that is gone says that operators removed the last zone of the region: names are refused then.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use hanse_link::{HeldBack, InUse, ProvenVersions, Quarantine, Replica, Replicas};
use hanse_process::{Pulse, Shutdown};
use hanse_proto::sync::ZoneServed;
use hanse_runtime::ResourceKind;
use hanse_sync::Seen;
use hanse_topology::{Position, ScopeId};
use serde::Serialize;
use tokio::{sync::watch, task::JoinError};
use tracing::{Span, debug, error, warn};

use crate::{
    keys::Keys,
    metrics::DnsMetrics,
    zones::{Counts, Key, ScopeIndex, Zones},
};

/// After a configuration that cannot be compiled even from scratch: the next attempt must not be another storm.
const RETRY: Duration = Duration::from_secs(30);
/// How often versions are proven: a small part of the time that it takes.
const PROVE: Duration = Duration::from_secs(15);
/// How long a change waits for the disk, where it waits at all: a full disk must not keep changes away for longer.
const KEPT_WITHIN: Duration = Duration::from_secs(1);
/// A keeper that does not turn for so long hangs: the largest configuration is compiled within seconds.
pub(crate) const HANGS_AFTER: Duration = Duration::from_secs(120);

/// The task.
pub(crate) struct ZoneKeeper {
    scope: ScopeId,
    replicas: Replicas,
    kept: Option<KeptScope>,
    published: Published,
    /// Which versions are proven, and which are held back.
    proven: ProvenVersions,
    /// Beaten while the task turns.
    pulse: Pulse,
}

/// What others see of it.
#[derive(Clone)]
pub(crate) struct KeeperHandle {
    /// What is answered from; none: there never was a configuration.
    pub(crate) zones: Arc<ArcSwapOption<Zones>>,
    /// Where the scope that is in use stands, and what of it cannot be used.
    pub(crate) effective: watch::Receiver<BTreeMap<ScopeId, InUse>>,
    /// Whether there is anything to answer from.
    pub(crate) ready: watch::Receiver<Result<(), String>>,
    /// For people.
    pub(crate) summary: Arc<ArcSwap<Option<ScopeSummary>>>,
}

/// Where results go.
#[derive(Clone)]
struct Published {
    /// Why it is not ready while there is no zone.
    nothing: String,
    zones: Arc<ArcSwapOption<Zones>>,
    effective: watch::Sender<BTreeMap<ScopeId, InUse>>,
    ready: watch::Sender<Result<(), String>>,
    summary: Arc<ArcSwap<Option<ScopeSummary>>>,
    metrics: Arc<DnsMetrics>,
    keys: Arc<Keys>,
}

/// The scope as it was compiled last.
struct KeptScope {
    index: ScopeIndex,
    seen: Seen,
    position: Position,
    /// What is not in force as received, and what is instead.
    exceptions: BTreeMap<Key, Option<Bytes>>,
}

/// The scope for people.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ScopeSummary {
    scope: String,
    lineage: String,
    revision: u64,
    #[serde(flatten)]
    pub(crate) counts: Counts,
    served: Vec<ZoneSummary>,
    /// TSIG keys that zones name and the configuration lacks.
    #[serde(rename = "missingKeys", skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) missing_keys: BTreeSet<String>,
    pub(crate) unusable: u64,
    #[serde(rename = "unusableResources", skip_serializing_if = "Vec::is_empty")]
    named: Vec<UnusableSummary>,
}

#[derive(Debug, Clone, Serialize)]
struct ZoneSummary {
    zone: String,
    origin: String,
    serial: u32,
}

/// A resource that is not in force as received.
#[derive(Debug, Clone, Serialize)]
struct UnusableSummary {
    key: String,
    field: String,
    why: String,
}

/// How the replica differs from what is compiled.
struct News {
    seen: Seen,
    position: Position,
    /// All of it; `None`: only the position moved.
    content: Option<Content>,
}

struct Content {
    all: Vec<(Key, Bytes)>,
    last_good: Vec<(Key, Bytes)>,
    held_back: HeldBack,
}

/// Where what may be compiled stands, where not all may be.
type OnDisk = Option<BTreeMap<ScopeId, Position>>;

impl ZoneKeeper {
    /// A task that follows this scope of the replicas.
    pub(crate) fn new(
        scope: ScopeId,
        replicas: Replicas,
        proven: ProvenVersions,
        pulse: Pulse,
        metrics: Arc<DnsMetrics>,
        keys: Arc<Keys>,
    ) -> (Self, KeeperHandle) {
        let nothing = format!("no zone: {scope} is missing; apply a DnsZone for region {}", scope.region());
        let published = Published {
            zones: Arc::default(),
            effective: watch::Sender::default(),
            ready: watch::Sender::new(Err(nothing.clone())),
            nothing,
            summary: Arc::default(),
            metrics,
            keys,
        };
        let handle = KeeperHandle {
            zones: published.zones.clone(),
            effective: published.effective.subscribe(),
            ready: published.ready.subscribe(),
            summary: published.summary.clone(),
        };
        (Self { scope, replicas, kept: None, published, proven, pulse }, handle)
    }

    /// Puts in force what the replicas hold already, so that the first query finds it.
    pub(crate) async fn prepare(&mut self) {
        // What is stored is on disk already. What arrived meanwhile comes with the next step.
        let on_disk = self.proven.kept().map(|durable| durable.borrow().clone());
        if self.step_with(on_disk).await.is_err() {
            error!("compiling what is stored panicked; it is done again");
        }
    }

    /// Follows the replicas until the shutdown. A call after one that ended goes on where that stopped.
    pub(crate) async fn run(&mut self, shutdown: Shutdown) {
        let mut changed = self.replicas.subscribe();
        changed.mark_changed(); // the first round takes what is there already
        let mut proving = tokio::time::interval(PROVE.min(self.proven.after()));
        loop {
            self.pulse.beat();
            tokio::select! {
                biased;
                () = shutdown.wait() => return,
                _ = proving.tick() => self.prove(),
                ended = changed.changed() => if ended.is_err() { return },
                () = self.pulse.beat_on() => {}
            }
            if self.follow().await {
                continue;
            }
            error!(retry = ?RETRY, "the configuration cannot be compiled; the last zones stay in force");
            tokio::select! {
                () = shutdown.wait() => return,
                () = tokio::time::sleep(RETRY) => {}
                () = self.pulse.beat_on() => {}
            }
            changed.mark_changed();
        }
    }

    /// A step; if that panics, one from scratch, and then one without what is new. Whether one of them came to its end.
    async fn follow(&mut self) -> bool {
        let follows = self.step().await.is_ok() || {
            // Going down would take down every responder that gets the same change.
            error!("compiling the configuration panicked; once more from scratch");
            self.step().await.is_ok() || self.step_without_news().await
        };
        self.published.metrics.following.store(follows.into(), Ordering::Relaxed);
        follows
    }

    /// A step with what could not be compiled held back, as far as that is new. Whether that helped; else nothing is held back.
    async fn step_without_news(&mut self) -> bool {
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

    /// Proves what is served.
    fn prove(&self) {
        let follows = self.published.metrics.following.load(Ordering::Relaxed) != 0;
        let kept = self.kept.as_ref().filter(|_| follows);
        let uses = kept.map(|kept| {
            |scope: &ScopeId, key: &str| *scope == self.scope && !kept.exceptions.contains_key(key)
        });
        self.replicas.read(|map| self.proven.prove(map, uses));
    }

    /// Waits until what the replica holds is on disk, where it must be before it is used.
    async fn on_disk(&self) -> OnDisk {
        let mut durable = self.proven.kept()?;
        let scope = &self.scope;
        let holds_no_more = |durable: &BTreeMap<ScopeId, Position>| {
            self.replicas
                .read(|map| map.get(scope).is_none_or(|replica| replica.is_whole_in(durable.get(scope))))
        };
        let kept = tokio::time::timeout(KEPT_WITHIN, durable.wait_for(holds_no_more)).await;
        Some(kept.ok()?.ok()?.clone())
    }

    /// One step on a blocking thread. After a panic nothing compiled is left.
    async fn step(&mut self) -> Result<(), JoinError> {
        let on_disk = self.on_disk().await;
        self.step_with(on_disk).await
    }

    /// The same with what is on disk.
    async fn step_with(&mut self, on_disk: OnDisk) -> Result<(), JoinError> {
        let (news, is_gone) = self.replicas.read(|map| {
            self.proven.observe(map);
            let replica = map.get(&self.scope).filter(|replica| replica.position().is_some());
            (replica.and_then(|replica| self.news(replica, &on_disk)), replica.is_none())
        });
        if is_gone {
            self.kept = None;
            self.published.forget();
        }
        let Some(News { seen, position, content }) = news else { return Ok(()) };
        let changed = content.is_some();
        let zones = match content {
            Some(content) => Some(self.compile(content).await?),
            None => None,
        };
        if let Some((index, zones)) = zones {
            let exceptions = index.exceptions();
            self.kept = Some(KeptScope { index, seen, position, exceptions });
            self.published.zones.store(Some(Arc::new(zones)));
        }
        let Some(kept) = &mut self.kept else { return Ok(()) };
        (kept.seen, kept.position) = (seen, position);
        self.replicas.confirm(&self.scope, &position, &kept.exceptions);
        self.published.publish(&self.scope, kept);
        self.proven.is_used(|_, _| true);
        debug!(scope = %self.scope, revision = position.revision, changed, "configuration in use");
        Ok(())
    }

    async fn compile(&mut self, content: Content) -> Result<(ScopeIndex, Zones), JoinError> {
        // What is compiled is lost if this panics, and the next step is from scratch.
        let mut index = self.kept.take().map(|kept| kept.index).unwrap_or_default();
        let span = Span::current();
        let compile = tokio::task::spawn_blocking(move || {
            let _entered = span.enter();
            let Content { all, last_good, held_back } = content;
            #[cfg(test)]
            tests::fault(&all, &held_back);
            let zones = index.hold(all, last_good, &held_back.poisoned);
            (index, zones)
        });
        compile.await
    }

    /// How the replica differs, as far as it is on disk. From nothing everything is taken: without it no name would be answered.
    fn news(&self, replica: &Replica, on_disk: &OnDisk) -> Option<News> {
        let (seen, position) = (replica.seen()?, *replica.position()?);
        let kept = self.kept.as_ref();
        if kept.is_some_and(|kept| kept.seen == seen && kept.position.is(&position)) {
            return None;
        }
        if kept.is_some()
            && on_disk.as_ref().is_some_and(|on_disk| !replica.is_whole_in(on_disk.get(&self.scope)))
        {
            return None;
        }
        let held_back = self.proven.give(&self.scope);
        let mut last_good: Vec<(Key, Bytes)> = match kept {
            Some(kept) => {
                // Those that came and went before they were seen here: other responders use them.
                let told = replica.last_good_told_after(kept.seen);
                owned(told.filter(|(key, value)| kept.index.in_force(key) != Some(*value)))
            }
            None => owned(replica.last_good()),
        };
        last_good.retain(|(key, _)| !held_back.poisoned.contains_key(key));
        last_good.extend(held_back.proven.iter().map(|(key, value)| (key.clone(), value.clone())));
        let is_same = kept.is_some_and(|kept| {
            replica.changes_after(kept.seen).is_some_and(|changes| changes.is_empty()) && last_good.is_empty()
        });
        let content = (!is_same).then(|| Content { all: replica.content(), last_good, held_back });
        Some(News { seen, position, content })
    }
}

fn owned<'a>(versions: impl Iterator<Item = (&'a Arc<str>, &'a Bytes)>) -> Vec<(Key, Bytes)> {
    versions.map(|(key, value)| (key.clone(), value.clone())).collect()
}

impl Published {
    fn publish(&self, scope: &ScopeId, kept: &KeptScope) {
        let quarantine = Quarantine::of(kept.index.quarantined());
        if quarantine.total() > 0 {
            let before = self.summary.load().as_ref().as_ref().map(|summary| summary.unusable);
            if before != Some(quarantine.total()) {
                warn!(%scope, unusable = quarantine.total(), "some resources cannot be used; the others are");
            }
        }
        let zones = self.zones.load_full();
        let missing = zones.as_deref().map(|zones| self.keys.missing(zones)).unwrap_or_default();
        let before = self.metrics.missing_keys.swap(missing.len() as i64, Ordering::Relaxed);
        if let Some(key) = missing.first().filter(|_| before != missing.len() as i64) {
            warn!(
                key,
                missing = missing.len(),
                "DnsZones name TSIG keys that [[tsig]] lacks; /config lists them"
            );
        }
        self.summary.store(Arc::new(Some(summary(scope, kept, &quarantine, zones.as_deref(), missing))));
        self.tell_ready(ready(scope, kept, &quarantine));
        // Last: a task that hears of a position may count on its being answered from.
        let in_use = InUse { position: kept.position, quarantine };
        self.effective.send_replace([(scope.clone(), in_use)].into());
    }

    /// Answers for no zone any more, if there was one.
    fn forget(&self) {
        if self.effective.borrow().is_empty() {
            return;
        }
        self.zones.store(Some(Arc::default()));
        self.summary.store(Arc::default());
        self.metrics.missing_keys.store(0, Ordering::Relaxed);
        self.tell_ready(Err(self.nothing.clone()));
        self.effective.send_replace(BTreeMap::new());
    }

    fn tell_ready(&self, ready: Result<(), String>) {
        self.ready.send_if_modified(|now| {
            let differs = *now != ready;
            *now = ready;
            differs
        });
    }
}

/// Ready is a responder with a zone in force. Other resources may be in quarantine.
fn ready(scope: &ScopeId, kept: &KeptScope, quarantine: &Quarantine) -> Result<(), String> {
    if kept.index.counts().zones > 0 {
        return Ok(());
    }
    let is_zone = |key: &str| ResourceKind::of_key(key) == Some(ResourceKind::Zone);
    Err(match quarantine.named().iter().find(|unusable| is_zone(&unusable.key)) {
        Some(zone) => {
            format!(
                "no zone of {scope} is in force: {} cannot be used: {} {}",
                zone.key, zone.field, zone.reason
            )
        }
        None => format!("no zone of {scope} is in force; /config names what cannot be used"),
    })
}

fn summary(
    scope: &ScopeId,
    kept: &KeptScope,
    quarantine: &Quarantine,
    zones: Option<&Zones>,
    missing_keys: BTreeSet<String>,
) -> ScopeSummary {
    let served = zones.into_iter().flat_map(Zones::iter).map(|served| ZoneSummary {
        zone: served.zone.name.to_string(),
        origin: served.zone.origin.to_string(),
        serial: served.zone.serial,
    });
    let mut served: Vec<_> = served.collect();
    served.sort_by(|one, other| one.zone.cmp(&other.zone));
    let named = quarantine.named().iter().map(|quarantined| UnusableSummary {
        key: quarantined.key.clone(),
        field: quarantined.field.clone(),
        why: quarantined.reason.clone(),
    });
    ScopeSummary {
        scope: scope.to_string(),
        lineage: kept.position.lineage.to_string(),
        revision: kept.position.revision,
        counts: kept.index.counts(),
        served,
        missing_keys,
        unusable: quarantine.total(),
        named: named.collect(),
    }
}

/// The zones of a responder and their serials, as its facts have them.
pub(crate) fn zones_served(summary: Option<&ScopeSummary>) -> Vec<ZoneServed> {
    let served = summary.into_iter().flat_map(|summary| &summary.served);
    served.map(|zone| ZoneServed { zone: zone.zone.clone(), serial: zone.serial }).collect()
}
