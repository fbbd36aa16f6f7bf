//! The hub: all replicas of a node, and a signal that they changed.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Instant};

use hanse_sync::{Exceptions, Replica, ReplicaMap};
use hanse_topology::{Position, ScopeId};
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::LinkMetrics;

/// The replicas of a node. Cloning shares them.
///
/// Locks are held for the time of a closure, never across an await.
#[derive(Clone)]
pub struct Replicas(Arc<Hub>);

struct Hub {
    held: RwLock<ReplicaMap>,
    /// Whether replicas keep the last good versions of their keys.
    remembers: bool,
    version: watch::Sender<u64>,
    metrics: LinkMetrics,
}

/// The replicas while they are changed in one step; see [`Replicas::update_all`].
pub struct ReplicasMut<'a> {
    map: &'a mut ReplicaMap,
    epoch: u64,
    remembers: bool,
}

impl ReplicasMut<'_> {
    /// The replica of `scope`, made empty if there is none.
    pub fn replica(&mut self, scope: &ScopeId) -> &mut Replica {
        self.map.entry(scope.clone()).or_insert_with(|| {
            let mut replica = Replica::starting_at_epoch(self.epoch);
            if self.remembers {
                replica.remember_last_good(BTreeMap::new());
            }
            replica
        })
    }

    /// Drops the replica of `scope`. Whether there was one.
    pub fn remove(&mut self, scope: &ScopeId) -> bool {
        self.map.remove(scope).is_some()
    }

    /// All replicas.
    pub fn read(&self) -> &ReplicaMap {
        self.map
    }
}

impl Default for Replicas {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.0.held.read();
        f.debug_map()
            .entries(held.iter().map(|(scope, replica)| (scope.to_string(), replica.position())))
            .finish()
    }
}

impl fmt::Debug for ReplicasMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.map.keys().map(ScopeId::to_string)).finish()
    }
}

impl Replicas {
    /// An empty hub.
    pub fn new() -> Self {
        Self::holding(ReplicaMap::new(), false)
    }

    /// A hub of what was held before.
    pub(crate) fn restored(map: ReplicaMap) -> Self {
        Self::holding(map, false)
    }

    /// A hub that keeps the last good version of each key until a consumer confirms a later one.
    pub fn remembering(map: ReplicaMap) -> Self {
        Self::holding(map, true)
    }

    fn holding(map: ReplicaMap, remembers: bool) -> Self {
        Self::counting(map, remembers, LinkMetrics::default())
    }

    fn counting(map: ReplicaMap, remembers: bool, metrics: LinkMetrics) -> Self {
        // Restored replicas have epoch 0: see `next_epoch`.
        let version = watch::Sender::new(1);
        Self(Arc::new(Hub { held: RwLock::new(map), remembers, version, metrics }))
    }

    /// A consumer uses `scope` at `position`, but for some keys; see [`Replica::confirm`]. Tells all who watch if that is news:
    /// an acknowledgement is to be kept, also when it releases no version.
    pub fn confirm(&self, scope: &ScopeId, position: &Position, but: &Exceptions) {
        // Consumers repeat themselves every second. That takes the lock for reading only.
        if !self.read(|map| map.get(scope).is_some_and(|replica| replica.awaits(position, but))) {
            return;
        }
        let mut map = self.0.held.write();
        let is_news = map.get_mut(scope).is_some_and(|replica| replica.confirm(position, but));
        drop(map);
        if is_news {
            self.tell();
        }
    }

    /// A hub of its own that begins with copies of some of these replicas. Keys and values are shared, and so is what is counted.
    pub fn copy_of(&self, which: impl Fn(&ScopeId) -> bool) -> Self {
        let copied = |map: &ReplicaMap| {
            let some = map.iter().filter(|(scope, _)| which(scope));
            some.map(|(scope, replica)| (scope.clone(), replica.clone())).collect()
        };
        Self::counting(self.read(copied), false, self.metrics().clone())
    }

    /// Reads the replicas.
    pub fn read<T>(&self, read: impl FnOnce(&ReplicaMap) -> T) -> T {
        read(&self.0.held.read())
    }

    /// Changes the replica of `scope`, which is made empty if there is none, and tells all who watch.
    pub fn update<T>(&self, scope: &ScopeId, update: impl FnOnce(&mut Replica) -> T) -> T {
        self.update_all(|replicas| update(replicas.replica(scope)))
    }

    /// Changes any number of replicas in one step: no reader sees a part of it, and watchers are told once. A panic in `update` leaves
    /// the replicas as far as it came. A position rises after the content, so the next transfer brings the same changes again.
    pub fn update_all<T>(&self, update: impl FnOnce(&mut ReplicasMut<'_>) -> T) -> T {
        let updated = {
            let mut map = self.0.held.write();
            let updated = update(&mut ReplicasMut {
                map: &mut map,
                epoch: self.next_epoch(),
                remembers: self.0.remembers,
            });
            let now = Instant::now();
            map.values_mut().for_each(|replica| replica.forget(now));
            updated
        };
        self.tell();
        updated
    }

    /// Drops the replica of `scope`. Whether there was one.
    pub fn remove(&self, scope: &ScopeId) -> bool {
        let removed = self.0.held.write().remove(scope).is_some();
        if removed {
            self.tell();
        }
        removed
    }

    /// A number that rises with every change, positions included.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    /// What publishing and subscribing with this hub counts.
    pub fn metrics(&self) -> &LinkMetrics {
        &self.0.metrics
    }

    fn tell(&self) {
        self.0.version.send_modify(|version| *version += 1);
    }

    /// Above every epoch that any replica of this hub has had: an epoch rises at most once per update, and the version
    /// rises with each.
    fn next_epoch(&self) -> u64 {
        *self.0.version.borrow() << 8
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hanse_topology::{Lineage, Name};

    use super::*;

    #[test]
    fn a_scope_that_returns_is_read_afresh() {
        let name = |text| Name::new(text).unwrap();
        let scope = ScopeId::runtime(name("eu-west"), name("production"));
        let lineage = Lineage { generation: 1, id: [1; 16], parent: None };
        let position = Position { lineage, revision: 5 };
        let replicas = Replicas::new();
        let mut watch = replicas.subscribe();
        let fill = |value: &'static str| {
            replicas.update(&scope, |replica| {
                replica.advance(position, vec![("a".into(), Bytes::from(value))], vec![]).unwrap();
                replica.seen().unwrap()
            })
        };
        let seen = fill("1");
        assert!(watch.has_changed().unwrap());
        watch.mark_unchanged();
        assert!(replicas.remove(&scope));
        assert!(watch.has_changed().unwrap());
        assert!(!replicas.remove(&scope));
        assert_ne!(fill("2"), seen);
        assert!(replicas.read(|map| map[&scope].changes_after(seen)).is_none());
    }

    #[test]
    fn an_acknowledgement_is_told_once() {
        let scope: ScopeId = "runtime/eu-west/production".parse().unwrap();
        let lineage = Lineage { generation: 1, id: [1; 16], parent: None };
        let at = |revision| Position { lineage, revision };
        let replicas = Replicas::remembering(ReplicaMap::new());
        let mut watch = replicas.subscribe();
        for revision in [5, 6] {
            replicas.update(&scope, |replica| replica.advance(at(revision), vec![], vec![]).unwrap());
            for is_news in [true, false] {
                watch.mark_unchanged();
                replicas.confirm(&scope, &at(revision), &Exceptions::new());
                assert_eq!(watch.has_changed().unwrap(), is_news, "{revision}");
            }
        }
    }

    /// What is on disk is that of the replica that was restored.
    #[test]
    fn a_scope_that_is_made_anew_by_the_first_change_is_read_afresh() {
        let scope: ScopeId = "runtime/eu-west/production".parse().unwrap();
        let lineage = |generation| Lineage { generation, id: [1; 16], parent: None };
        let at = |generation| Position { lineage: lineage(generation), revision: 5 };
        let mut kept = Replica::new();
        kept.advance(at(1), vec![("a".into(), "1".into())], vec![]).unwrap();
        let restored = Replica::restore(kept.head().unwrap(), kept.records()).unwrap();
        let seen = restored.seen().unwrap();
        let replicas = Replicas::restored([(scope.clone(), restored)].into());
        replicas.update_all(|replicas| {
            replicas.remove(&scope);
            replicas.replica(&scope).advance(at(2), vec![("b".into(), "1".into())], vec![]).unwrap();
        });
        assert!(replicas.read(|map| map[&scope].records_after(seen)).is_none());
    }
}
