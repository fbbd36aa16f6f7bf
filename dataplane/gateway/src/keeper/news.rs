//! What a keeper has to compile: how the replicas differ from what it has compiled.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use hanse_link::{HeldBack, ProvenVersions};
use hanse_sync::{Changes, ContentRoot, Replica, ReplicaMap, Seen};
use hanse_topology::{Position, ScopeId};

use super::{Keeping, KeptScope, stand_in::stand_in};

/// How a scope's replica differs from what is compiled.
pub(super) struct News {
    pub(super) scope: ScopeId,
    pub(super) seen: Seen,
    pub(super) position: Position,
    /// The root of the content there, as received.
    pub(super) root: ContentRoot,
    pub(super) content: Content,
    pub(super) held_back: HeldBack,
}

/// Where what may be compiled stands, where not all may be.
pub(super) type Kept = Option<BTreeMap<ScopeId, Position>>;

pub(super) enum Content {
    /// With the last good versions that were told since, where those are not in force; of their keys always the present state.
    Changed {
        changes: Changes,
        last_good: Vec<(Arc<str>, Bytes)>,
    },
    Whole {
        content: Vec<(Arc<str>, Bytes)>,
        last_good: Vec<(Arc<str>, Bytes)>,
    },
}

impl Keeping {
    /// Everything that differs, as far as it is `kept`.
    pub(super) fn news(&self, map: &ReplicaMap, proven: &ProvenVersions, on_disk: &Kept) -> Vec<News> {
        let fresh = map.iter().filter_map(|(scope, replica)| {
            let (seen, position) = (replica.seen()?, *replica.position()?);
            let kept = self.scopes.get(scope);
            if kept.is_some_and(|kept| kept.seen == seen && kept.position.is(&position)) {
                return None;
            }
            // A scope of which nothing is in force would leave its requests to another.
            if kept.is_some()
                && on_disk.as_ref().is_some_and(|on_disk| !replica.is_whole_in(on_disk.get(scope)))
            {
                return None;
            }
            let held_back = proven.give(scope);
            let is_poisoned = |(key, _): &(Arc<str>, Bytes)| held_back.poisoned.contains_key(key);
            let changed = kept.and_then(|kept| Some((kept, replica.changes_after(kept.seen)?)));
            let content = match changed {
                Some((kept, mut changes)) => {
                    let mut last_good = not_in_force(replica.last_good_told_after(kept.seen), kept);
                    last_good.retain(|version| !is_poisoned(version));
                    touch(&mut changes, &last_good, replica);
                    Content::Changed { changes, last_good }
                }
                None => {
                    let mut last_good = match kept {
                        Some(kept) => not_in_force(replica.last_good_told_after(kept.seen), kept),
                        None => owned(replica.last_good()),
                    };
                    last_good.retain(|version| !is_poisoned(version));
                    last_good.extend(held_back.proven.iter().filter_map(|(key, proven)| {
                        Some((key.clone(), stand_in(key, replica.get(key), proven)?))
                    }));
                    Content::Whole { content: replica.content(), last_good }
                }
            };
            Some(News { scope: scope.clone(), seen, position, root: replica.root(), content, held_back })
        });
        // In the order of scopes: an environment before the local scopes that add to it.
        fresh.filter(|news| news.scope.environment().is_some()).collect()
    }
}

/// Those last good versions in whose place something else is in force, or nothing: they came and went before they were seen
/// here, and others use them.
fn not_in_force<'a>(
    last_good: impl Iterator<Item = (&'a Arc<str>, &'a Bytes)>,
    kept: &KeptScope,
) -> Vec<(Arc<str>, Bytes)> {
    let in_force = |key: &str| match kept.exceptions.get(key) {
        Some(instead) => instead.as_ref(),
        None => kept.index.received(key),
    };
    owned(last_good.filter(|(key, value)| in_force(key) != Some(*value)))
}

/// Adds to the changes the present state of keys that did not change, so that their last good versions go before it.
fn touch(changes: &mut Changes, last_good: &[(Arc<str>, Bytes)], replica: &Replica) {
    if last_good.is_empty() {
        return;
    }
    let changed = changes.upserts.iter().map(|(key, _)| key).chain(&changes.removals);
    let changed: BTreeSet<_> = changed.cloned().collect();
    for (key, _) in last_good.iter().filter(|(key, _)| !changed.contains(key)) {
        match replica.get(key) {
            Some(value) => changes.upserts.push((key.clone(), value.clone())),
            None => changes.removals.push(key.clone()),
        }
    }
}

fn owned<'a>(last_good: impl Iterator<Item = (&'a Arc<str>, &'a Bytes)>) -> Vec<(Arc<str>, Bytes)> {
    last_good.map(|(key, value)| (key.clone(), value.clone())).collect()
}
