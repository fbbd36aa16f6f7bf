//! Reads Origins from a node's own `runtime` scopes, and lets local scopes end with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hanse_identity::LiveTrust;
use hanse_link::Replicas;
use hanse_process::Shutdown;
use hanse_runtime::{Origin, Resource, ResourceKind, check};
use hanse_sync::{Replica, ReplicaMap, Seen};
use hanse_topology::{Name, ScopeId};
use tracing::{error, info};

use crate::Origins;

/// What the keys of Origins begin with.
const PREFIX: &str = "origin/";

/// Keeps [`Origins`] in step with a hub, and nothing else removes a local scope from that. A clone goes on where one that ended stopped.
#[derive(Debug, Clone)]
pub struct OriginKeeper {
    replicas: Replicas,
    origins: Origins,
    /// What was read of each `runtime` scope.
    seen: BTreeMap<ScopeId, Seen>,
}

/// What one look at a hub found.
#[derive(Default)]
struct Look {
    /// The Origins of each `runtime` scope that changed: `None` where one cannot be read.
    changed: BTreeMap<ScopeId, BTreeMap<ScopeId, Option<Arc<Origin>>>>,
    /// The `runtime` scopes that are gone.
    gone: BTreeSet<ScopeId>,
}

impl OriginKeeper {
    /// A keeper for the hub of a node that refuses whom `trust` refuses. What the hub holds already is read.
    pub fn new(replicas: Replicas, trust: LiveTrust) -> (Self, Origins) {
        let origins = Origins::new(trust);
        let mut keeper = Self { replicas, origins: origins.clone(), seen: BTreeMap::new() };
        keeper.step();
        (keeper, origins)
    }

    /// Follows the hub until the shutdown.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut changed = self.replicas.subscribe();
        changed.mark_changed();
        loop {
            tokio::select! {
                () = shutdown.wait() => return,
                ended = changed.changed() => if ended.is_err() { return },
            }
            self.step();
        }
    }

    pub(crate) fn step(&mut self) {
        let replicas = self.replicas.clone();
        let Look { changed, gone } = replicas.read(|map| self.look(map));
        let ended = self.put_in_force(changed, &gone);
        for scope in ended {
            info!(%scope, "the Origin of a local scope has gone");
            self.replicas.remove(&scope);
        }
        let known = |scope: &&ScopeId| self.origins.get(scope).is_some();
        let held = |map: &ReplicaMap| {
            let local =
                map.iter().filter(|(scope, replica)| scope.is_local() && replica.position().is_some());
            local.map(|(scope, _)| scope).filter(known).cloned().collect()
        };
        self.origins.set_held(self.replicas.read(held));
    }

    fn look(&mut self, map: &ReplicaMap) -> Look {
        let mut look = Look::default();
        for (scope, replica) in map {
            let (ScopeId::Runtime { region, environment }, Some(seen)) = (scope, replica.seen()) else {
                continue;
            };
            if self.seen.insert(scope.clone(), seen) != Some(seen) {
                look.changed.insert(scope.clone(), origins_of(region, environment, replica));
            }
        }
        let holds = |scope: &ScopeId| map.get(scope).is_some_and(|replica| replica.position().is_some());
        look.gone = self.seen.extract_if(.., |scope, _| !holds(scope)).map(|(scope, _)| scope).collect();
        look
    }

    /// The local scopes that end. Those of an Origin that cannot be read stay, with the Origin as it was.
    fn put_in_force(
        &self,
        mut changed: BTreeMap<ScopeId, BTreeMap<ScopeId, Option<Arc<Origin>>>>,
        gone: &BTreeSet<ScopeId>,
    ) -> Vec<ScopeId> {
        changed.extend(gone.iter().map(|scope| (scope.clone(), BTreeMap::new())));
        let stays = |local: &ScopeId| {
            let placed_by = runtime_of(local).and_then(|scope| changed.get(&scope));
            placed_by.is_none_or(|present| present.contains_key(local))
        };
        self.origins.update(|known| {
            let before = known.clone();
            known.retain(|scope, _| stays(scope));
            for (scope, origin) in changed.values().flatten() {
                if let Some(origin) = origin {
                    known.insert(scope.clone(), origin.clone());
                }
            }
            *known != before
        });
        self.replicas
            .read(|map| map.keys().filter(|scope| scope.is_local() && !stays(scope)).cloned().collect())
    }
}

/// The scope whose Origins place a local one.
fn runtime_of(local: &ScopeId) -> Option<ScopeId> {
    local.is_local().then_some(())?;
    Some(ScopeId::runtime(local.region().clone(), local.environment()?.clone()))
}

/// The Origins of a `runtime` scope, by the local scope of each. `None`: there is one, and this node cannot use it.
fn origins_of(
    region: &Name,
    environment: &Name,
    replica: &Replica,
) -> BTreeMap<ScopeId, Option<Arc<Origin>>> {
    let mut origins = BTreeMap::new();
    for (key, value) in replica.under(PREFIX) {
        let Ok(name) = Name::new(&key[PREFIX.len()..]) else {
            error!(key, "an Origin's key names no local scope; ask for a Hanse that knows it");
            continue;
        };
        let origin = match check(ResourceKind::Origin, value) {
            Ok(Resource::Origin(origin)) => Some(Arc::new(origin)),
            Ok(_) => None, // checked as an Origin
            Err(unusable) => {
                error!(key, %unusable, "an Origin cannot be used; what was known of it stays in force");
                None
            }
        };
        origins.insert(ScopeId::local(region.clone(), environment.clone(), name), origin);
    }
    origins
}

#[cfg(test)]
mod tests;
