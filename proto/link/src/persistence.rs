//! Keeping what a hub holds on disk, and filling a hub from there.
//!
//! Level, not edge: what is not on disk yet is worked out from the hub when there is time to write it. So nothing queues
//! up while the disk is slow or full, and what a failed attempt left undone is in the next one.

mod offer;
mod plan;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hanse_process::{Shutdown, backoff::Backoff};
use hanse_proto::store::ScopeHead;
use hanse_store::{
    CommitError, KeyNote, Loaded, Noted, Store, StoreInUse, StoreOptions, StoredRecord, StoredScope,
};
use hanse_sync::{Head, LastGoodRecord, Record, Replica, ReplicaMap, Seen, Wanted};
use hanse_topology::{Position, ScopeId};
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};
use tracing::{error, info, warn};

use crate::{ProvenVersions, Replicas, publisher::fires};
pub use offer::{keep_offer, kept_offer};
use plan::{Plan, Urgency, head_of};

/// From one transaction's beginning to the next, for changes to be gathered: well below the 50 ms within which they are to be durable.
/// A change after a longer pause is written at once. So is the count of a start, which traffic waits for.
const GROUP: Duration = Duration::from_millis(20);
/// The same at a node that makes its content itself. It has the truth elsewhere, and no node waits for this: so little that a
/// subscriber rarely stands where a killed node cannot tell the changes from, and seldom enough that its log has the disk.
const GROUP_OF_ORIGIN: Duration = Duration::from_secs(1);
/// How often positions alone are written, when nothing else changes: a restart that comes back a second behind in position
/// costs one empty answer.
const POSITION_SPACING: Duration = Duration::from_secs(1);
/// First ceiling of the wait after a failed attempt.
const MIN_BACKOFF: Duration = Duration::from_millis(200);
/// Last ceiling: how late it is noticed that a disk has room again.
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// For a write that is under way at a stop, and for the last changes after it, to reach the disk: a busy one takes seconds,
/// and the start after it does without what is missing. Half of what service managers and `hanse dev` allow a stop.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// A node's store, and the hub filled from it.
#[derive(Debug)]
pub struct Persistence {
    /// Holds what was on disk.
    pub replicas: Replicas,
    /// For what is not a replica.
    pub store: Store,
    /// To be run.
    pub persister: Persister,
    /// Where what is on disk stands.
    pub durable: watch::Receiver<BTreeMap<ScopeId, Position>>,
    /// Whether some of what was on disk, and is wanted, could not be used. What is held is not all that was.
    pub is_partial: bool,
}

/// Keeps what a hub holds. A clone goes on where one that ended stopped; one runs at a time.
#[derive(Debug, Clone)]
pub struct Persister {
    replicas: Replicas,
    store: Store,
    /// From one transaction's beginning to the next.
    group: Duration,
    kept: Arc<Mutex<Kept>>,
    /// Which last good versions the store was told of: epoch and version of each replica's.
    noted: BTreeMap<ScopeId, (u64, u64)>,
    durable: watch::Sender<BTreeMap<ScopeId, Position>>,
    /// Which versions are proven, where a consumer proves them.
    proven: Option<ProvenVersions>,
}

/// What is on disk, by scope. `None`: something that is to go.
type Kept = BTreeMap<ScopeId, Option<KeptScope>>;

/// How much of a scope is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
struct KeptScope {
    seen: Seen,
    head: Head,
}

impl Persistence {
    /// Opens the store and fills a hub with what it holds of what is `wanted`. Content that does not have the root it was
    /// kept with is not used.
    pub async fn open(options: StoreOptions, wanted: &Wanted) -> Result<Self, StoreInUse> {
        Self::open_at(Place::Subscriber(wanted), options).await
    }

    /// The same for a node that makes its content itself, as the control plane does: it keeps no last good versions, and its
    /// store is only for what it published, so that it can tell the changes since.
    pub async fn open_origin(options: StoreOptions) -> Result<Self, StoreInUse> {
        Self::open_at(Place::Origin, options).await
    }

    async fn open_at(place: Place<'_>, options: StoreOptions) -> Result<Self, StoreInUse> {
        let (store, loaded) = Store::open(options).await?;
        let Loaded { scopes, lost } = loaded;
        // A name that says nothing may be that of anything.
        let mut is_partial = lost.iter().any(|name| name.parse().map_or(true, |scope| place.needs(&scope)));
        let mut map = ReplicaMap::new();
        let mut kept = Kept::new();
        for StoredScope { scope, head, records } in scopes {
            if !place.wants(&scope) {
                kept.insert(scope, None);
                continue;
            }
            match restored(&head, records) {
                Ok(mut replica) => {
                    if place.remembers() {
                        let usable = store.key_notes(KeyNote::Usable, &scope).into_iter();
                        replica.remember_last_good(
                            usable.map(|(key, noted)| (key, kept_version(noted))).collect(),
                        );
                    }
                    info!(%scope, position = replica.position().map(tracing::field::display), "restored from disk");
                    kept.insert(scope.clone(), KeptScope::of(&replica));
                    map.insert(scope, replica);
                }
                Err(why) => {
                    error!(%scope, why, "a stored scope is not what was stored; it is fetched again");
                    store.metrics().lost("scope");
                    is_partial |= place.needs(&scope);
                    kept.insert(scope, None);
                }
            }
        }
        let replicas = if place.remembers() { Replicas::remembering(map) } else { Replicas::restored(map) };
        let (durable, seen) = watch::channel(positions(&kept));
        let (group, noted) = (place.group(), BTreeMap::new());
        let kept = Arc::new(Mutex::new(kept));
        let persister = Persister {
            replicas: replicas.clone(),
            store: store.clone(),
            group,
            kept,
            noted,
            durable,
            proven: None,
        };
        Ok(Self { replicas, store, persister, durable: seen, is_partial })
    }
}

/// Where on the way of a change a node stands.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// It makes the content.
    Origin,
    /// It gets what it wants of it.
    Subscriber(&'a Wanted),
}

impl Place<'_> {
    fn wants(self, scope: &ScopeId) -> bool {
        match self {
            Self::Origin => true,
            Self::Subscriber(wanted) => wanted.covers(scope),
        }
    }

    /// Whether what is held is less than it was without this scope. A local one only adds to what the control plane makes, and no
    /// node waits for it.
    fn needs(self, scope: &ScopeId) -> bool {
        !scope.is_local() && self.wants(scope)
    }

    fn remembers(self) -> bool {
        match self {
            Self::Origin => false,
            Self::Subscriber(_) => true,
        }
    }

    fn group(self) -> Duration {
        match self {
            Self::Origin => GROUP_OF_ORIGIN,
            Self::Subscriber(_) => GROUP,
        }
    }
}

/// The replica that was kept, if this is it.
fn restored(head: &ScopeHead, records: Vec<StoredRecord>) -> Result<Replica, String> {
    let head = head_of(head).map_err(|error| error.to_string())?;
    let records =
        records.into_iter().map(|StoredRecord { key, revision, value }| Record { key, revision, value });
    Replica::restore(head, records).map_err(|error| error.to_string())
}

/// What was kept of a key's last good version.
fn kept_version(Noted { revision, value }: Noted) -> LastGoodRecord {
    LastGoodRecord { value, since: revision }
}

impl Persister {
    /// Keeps with the content which versions of it are proven.
    pub fn proving(self, proven: ProvenVersions) -> Self {
        Self { proven: Some(proven), ..self }
    }

    /// Keeps what changes until `shutdown`, and then once more.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut changed = self.replicas.subscribe();
        let mut noted = self.store.notes_changed();
        changed.mark_changed();
        let mut backoff = Backoff::new(MIN_BACKOFF, MAX_BACKOFF);
        let (mut waiting, mut positions_due) = (false, Instant::now());
        let mut gathered = Instant::now();
        loop {
            tokio::select! {
                () = shutdown.wait() => break,
                () = fires(&mut changed) => {}
                () = fires(&mut noted) => {}
                () = tokio::time::sleep_until(positions_due), if waiting => {}
            }
            tokio::select! { () = shutdown.wait() => break, () = tokio::time::sleep_until(gathered) => {} }
            changed.mark_unchanged(); // the plan is made of what is there now
            noted.mark_unchanged();
            gathered = Instant::now() + self.group;
            let plan = self.plan();
            match plan.urgency {
                Urgency::Nothing if self.store.is_writable() => continue,
                Urgency::Positions if Instant::now() < positions_due => {
                    waiting = true;
                    continue;
                }
                // Nothing is written as well, to find out when the disk is there again.
                Urgency::Nothing | Urgency::Positions | Urgency::Content => waiting = false,
            }
            let is_kept = tokio::select! {
                is_kept = self.keep(plan) => is_kept,
                () = last_chance(&shutdown) => {
                    warn!("the disk does not answer; what was being written may be missing at the next start");
                    return;
                }
            };
            if is_kept {
                backoff.reset();
                positions_due = Instant::now() + POSITION_SPACING;
            } else {
                tokio::select! { () = shutdown.wait() => break, () = tokio::time::sleep(backoff.next()) => {} }
                changed.mark_changed();
            }
        }
        if let Some(proven) = &self.proven {
            proven.ends_in_order();
        }
        let plan = self.plan();
        if plan.urgency != Urgency::Nothing
            && tokio::time::timeout(LAST_WRITE, self.keep(plan)).await != Ok(true)
        {
            warn!("the last changes are not on disk; the next start comes back with a little less");
        }
    }

    /// What is to be written: the replicas as they are at one moment, the last good versions of that moment, and facts that
    /// speak of no later one.
    fn plan(&mut self) -> Plan {
        let replicas = self.replicas.clone();
        replicas.read(|map| {
            self.note_last_good(map);
            if let Some(proven) = &self.proven {
                proven.note(map);
            }
            Plan::new(map, &self.kept.lock(), self.store.unkept_notes())
        })
    }

    fn note_last_good(&mut self, map: &ReplicaMap) {
        for (scope, replica) in map {
            let now = (replica.epoch(), replica.last_good_version());
            if self.noted.insert(scope.clone(), now) == Some(now) {
                continue;
            }
            let noted = |(key, record): (&Arc<str>, LastGoodRecord)| {
                (Arc::clone(key), Noted { revision: record.since, value: record.value })
            };
            self.store.set_key_notes(KeyNote::Usable, scope, replica.last_good_to_keep().map(noted));
        }
        self.noted.retain(|scope, _| map.contains_key(scope));
    }

    /// Writes; whether that worked. The store itself says what went wrong.
    async fn keep(&mut self, plan: Plan) -> bool {
        match self.store.commit(plan.transaction, plan.notes).await {
            Ok(()) => {
                self.durable.send_replace(positions(&plan.then));
                *self.kept.lock() = plan.then;
                true
            }
            Err(CommitError::Unavailable(_)) => false,
            Err(CommitError::Emptied) => {
                self.kept.lock().clear();
                self.durable.send_replace(BTreeMap::new());
                false
            }
        }
    }
}

/// What was under way at a shutdown has had its time.
async fn last_chance(shutdown: &Shutdown) {
    shutdown.wait().await;
    tokio::time::sleep(LAST_WRITE).await;
}

impl KeptScope {
    /// All that `replica` holds.
    fn of(replica: &Replica) -> Option<Self> {
        Some(Self { seen: replica.seen()?, head: replica.head()? })
    }
}

fn positions(kept: &Kept) -> BTreeMap<ScopeId, Position> {
    kept.iter().filter_map(|(scope, kept)| Some((scope.clone(), kept.as_ref()?.head.position))).collect()
}

#[cfg(test)]
mod tests;
