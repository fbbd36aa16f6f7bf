//! Reads Origins from a node's own `runtime` scopes, and lets local scopes end with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use hanse_identity::LiveTrust;
use hanse_link::Replicas;
use hanse_process::{Shutdown, seeded};
use hanse_runtime::{Origin, Resource, ResourceKind, check, origin_key};
use hanse_sync::{Changes, Heads as _, Replica, ReplicaMap, Seen};
use hanse_topology::{Name, ScopeId};
use tracing::{error, info};

use crate::Origins;

/// What the keys of Origins begin with.
const PREFIX: &str = "origin/";

/// Keeps [`Origins`] in step with a hub, and nothing else removes a local scope from that: one is held only while the node's own
/// `runtime` scope has its Origin. A clone goes on where one that ended stopped.
#[derive(Debug, Clone)]
pub struct OriginKeeper {
    replicas: Replicas,
    origins: Origins,
    /// What was read of each `runtime` scope.
    seen: BTreeMap<ScopeId, Seen>,
    /// The keys of Origins that cannot be used, by `runtime` scope: each is said once.
    unusable: BTreeMap<ScopeId, BTreeSet<String>>,
}

/// What one look at a hub found.
#[derive(Default)]
struct Look {
    /// The Origins of each `runtime` scope that changed.
    changed: BTreeMap<ScopeId, Found>,
    /// The `runtime` scopes that are gone.
    gone: BTreeSet<ScopeId>,
}

/// The Origins of a `runtime` scope.
#[derive(Default)]
struct Found {
    /// By the local scope of each. `None`: this node cannot use it.
    origins: BTreeMap<ScopeId, Option<Arc<Origin>>>,
    /// The last good version of those that cannot be used.
    last_good: BTreeMap<ScopeId, Arc<Origin>>,
    /// The keys of those that cannot be used, and why not.
    unusable: BTreeMap<String, String>,
}

impl OriginKeeper {
    /// A keeper for the hub of a node that refuses whom `trust` refuses. What the hub holds already is read.
    pub fn new(replicas: Replicas, trust: LiveTrust) -> (Self, Origins) {
        let origins = Origins::new(trust);
        let (seen, unusable) = Default::default();
        let mut keeper = Self { replicas, origins: origins.clone(), seen, unusable };
        keeper.step();
        (keeper, origins)
    }

    /// Follows the hub, and who is revoked, until the shutdown.
    pub async fn run(mut self, shutdown: Shutdown) {
        let (mut changed, mut refused) = (self.replicas.subscribe(), self.origins.refused());
        changed.mark_changed();
        loop {
            tokio::select! {
                () = shutdown.wait() => return,
                ended = changed.changed() => if ended.is_err() { return },
                ended = refused.changed() => if ended.is_err() { return },
            }
            self.step();
        }
    }

    pub(crate) fn step(&mut self) {
        let replicas = self.replicas.clone();
        let look = replicas.read(|map| self.look(map));
        self.put_in_force(look);
        self.end_local_scopes();
        let is_believed = |(scope, replica): &(&ScopeId, &Replica)| {
            scope.is_local() && self.origins.believed(scope, Some(replica)).is_some()
        };
        let held =
            |map: &ReplicaMap| map.iter().filter(is_believed).map(|(scope, _)| scope.clone()).collect();
        self.origins.set_held(self.replicas.read(held));
    }

    fn look(&mut self, map: &ReplicaMap) -> Look {
        let mut look = Look::default();
        for (scope, replica) in map {
            let (ScopeId::Runtime { region, environment }, Some(seen)) = (scope, replica.seen()) else {
                continue;
            };
            let before = self.seen.insert(scope.clone(), seen);
            // The position moves with each revision of the control plane, and Origins seldom.
            let changes = before.and_then(|before| replica.changes_after(before));
            if before != Some(seen) && changes.is_none_or(|changes| names_an_origin(&changes)) {
                let found = origins_of(region, environment, replica);
                self.tell_unusable(scope, &found);
                look.changed.insert(scope.clone(), found);
            }
        }
        let holds = |scope: &ScopeId| map.get(scope).is_some_and(|replica| replica.position().is_some());
        look.gone = self.seen.extract_if(.., |scope, _| !holds(scope)).map(|(scope, _)| scope).collect();
        look
    }

    /// Says once of each Origin that it cannot be used, until it can or goes.
    fn tell_unusable(&mut self, scope: &ScopeId, found: &Found) {
        let said = self.unusable.entry(scope.clone()).or_default();
        said.retain(|key| found.unusable.contains_key(key));
        for (key, why) in &found.unusable {
            if said.insert(key.clone()) {
                error!(%scope, key, why, "an Origin cannot be used; what was known of it stays in force");
            }
        }
    }

    /// An Origin that cannot be used stays as it was: as this process knows it, else, after a restart, its last good version.
    fn put_in_force(&mut self, Look { mut changed, gone }: Look) {
        if changed.is_empty() && gone.is_empty() {
            return;
        }
        self.unusable.retain(|scope, _| !gone.contains(scope));
        changed.extend(gone.into_iter().map(|scope| (scope, Found::default())));
        let stays = |local: &ScopeId| {
            let placed_by = local.adds_to().and_then(|scope| changed.get(&scope));
            placed_by.is_none_or(|found| found.origins.contains_key(local))
        };
        self.origins.update(|known| {
            let before = known.clone();
            known.retain(|scope, _| stays(scope));
            for (scope, origin) in changed.values().flat_map(|found| &found.origins) {
                let Some(origin) = origin else { continue };
                let names_fewer = |before: &Arc<Origin>| before.holders.len() > origin.holders.len();
                if !(seeded("keep-holders") && known.get(scope).is_some_and(names_fewer)) {
                    known.insert(scope.clone(), origin.clone());
                }
            }
            for (scope, origin) in changed.values().flat_map(|found| &found.last_good) {
                known.entry(scope.clone()).or_insert_with(|| origin.clone());
            }
            *known != before
        });
        if seeded("drop-origin") {
            // A change of an Origin is taken for its end.
            for scope in changed.values().flat_map(|found| found.origins.keys()) {
                self.replicas.remove(scope);
            }
        }
    }

    /// Drops what is held of local scopes without an Origin. It looks at what is there, and not at what changed: a subscriber may have
    /// put a scope in force after its Origin went, and a disk may have brought it back.
    fn end_local_scopes(&self) {
        if self.replicas.read(without_origin).is_empty() || seeded("keep-deleted") {
            return;
        }
        self.replicas.update_all(|replicas| {
            for scope in without_origin(replicas.read()) {
                info!(%scope, "a local scope has no Origin here, and ends");
                replicas.remove(&scope);
            }
        });
    }
}

/// The local scopes whose `runtime` scope does not have their Origin.
fn without_origin(map: &ReplicaMap) -> Vec<ScopeId> {
    let is_placed = |local: &ScopeId| {
        let (Some(runtime), Some(origin)) = (local.adds_to(), local.origin()) else { return true };
        map.get(&runtime).is_some_and(|replica| replica.get(&origin_key(origin)).is_some())
    };
    map.keys().filter(|scope| scope.is_local() && !is_placed(scope)).cloned().collect()
}

/// Whether an Origin is among what changed.
fn names_an_origin(changes: &Changes) -> bool {
    let upserted = changes.upserts.iter().map(|(key, _)| key);
    upserted.chain(&changes.removals).any(|key| key.starts_with(PREFIX))
}

/// The Origins of a `runtime` scope.
fn origins_of(region: &Name, environment: &Name, replica: &Replica) -> Found {
    let mut found = Found::default();
    for (key, value) in replica.under(PREFIX) {
        let Ok(name) = Name::new(&key[PREFIX.len()..]) else {
            found.unusable.insert(key.to_owned(), "its key names no local scope".to_owned());
            continue;
        };
        let scope = ScopeId::local(region.clone(), environment.clone(), name);
        let origin = match read(value) {
            Ok(origin) => Some(origin),
            Err(why) => {
                found.unusable.insert(key.to_owned(), why);
                if let Some(Ok(origin)) = replica.last_good_of(key).map(read) {
                    found.last_good.insert(scope.clone(), origin);
                }
                None
            }
        };
        found.origins.insert(scope, origin);
    }
    found
}

/// An Origin, or why it cannot be used.
fn read(value: &Bytes) -> Result<Arc<Origin>, String> {
    match check(ResourceKind::Origin, value) {
        Ok(Resource::Origin(origin)) => Ok(Arc::new(origin)),
        Ok(_) => Err("is no Origin".to_owned()),
        Err(unusable) => Err(unusable.to_string()),
    }
}

#[cfg(test)]
mod tests;
