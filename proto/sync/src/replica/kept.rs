//! A replica taken apart, to be kept somewhere, and put together again with its history.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;

use super::{ContentRoot, Entry, LastGood, MAX_TOMBSTONES, Replica, Seen, Tombstones, hash_value};
use crate::content_root::ContentTree;
use hanse_proto::sync::HeadSignature;
use hanse_topology::Position;

/// Where a replica stands, and from where it can lead others there: all of it but the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Where the content stands.
    pub position: Position,
    /// The root of the content.
    pub root: ContentRoot,
    /// Positions below it are out of reach.
    pub floor: u64,
    /// Open intervals of positions out of reach.
    pub gaps: Vec<(u64, u64)>,
    /// What changed later has been acknowledged by no consumer.
    pub acknowledged: u64,
    /// What a holder says of position and root, of a local scope.
    pub signature: Option<HeadSignature>,
}

/// The last change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: Arc<str>,
    /// The revision of the change.
    pub revision: u64,
    /// The value since then; `None`: the key was removed.
    pub value: Option<Bytes>,
}

/// Why what was kept is no replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The content is not the one whose root was kept: something is missing or too much.
    #[error("the content has root {found}, not {kept}")]
    RootDiffers {
        /// The root of what is there.
        found: ContentRoot,
        /// The root that was kept.
        kept: ContentRoot,
    },
    /// A record, the floor, a gap or an acknowledgement lies beyond the position.
    #[error("something of revision {revision} is kept with position {position}")]
    Beyond {
        /// Where it lies.
        revision: u64,
        /// Where the replica is said to stand.
        position: Position,
    },
}

impl Replica {
    /// What to keep beside the records; `None` before the first content.
    pub fn head(&self) -> Option<Head> {
        let position = self.position?;
        let gaps = self.gaps.iter().copied().collect();
        let acknowledged = self.last_good.acknowledged();
        let signature = self.signature.clone();
        Some(Head { position, root: self.root(), floor: self.floor, gaps, acknowledged, signature })
    }

    /// Every record, removals included.
    pub fn records(&self) -> Vec<Record> {
        let present = self.entries.iter().map(|(key, entry)| Record {
            key: Arc::clone(key),
            revision: entry.revision,
            value: Some(entry.value.clone()),
        });
        let removed = self.tombstones.iter().map(removal);
        present.chain(removed).collect()
    }

    /// The records that changed since `seen`, for a store that kept all there were then. `None`: all must be kept anew.
    pub fn records_after(&self, seen: Seen) -> Option<Vec<Record>> {
        if seen.epoch != self.epoch || !self.reaches(seen.revision) {
            return None;
        }
        let Some(first) = seen.revision.checked_add(1) else { return Some(Vec::new()) };
        let changed = self.changed.range((first, Arc::from(""))..).map(|(revision, key)| {
            let value = self.get(key).cloned();
            debug_assert!(value.is_some(), "the index names keys that are held");
            Record { key: Arc::clone(key), revision: *revision, value }
        });
        let removed = self.tombstones.since(first).map(removal);
        Some(changed.chain(removed).collect())
    }

    /// The replica that [`Self::head`] and [`Self::records`] were taken from: same content, and the same answers to
    /// [`Self::changes_since`]. Of two records of one key the later holds. Refused unless the content has the root that was
    /// kept.
    pub fn restore(head: Head, records: impl IntoIterator<Item = Record>) -> Result<Self, RestoreError> {
        let Head { position, root, floor, gaps, acknowledged, signature } = head;
        let beyond = |revision: u64| revision > position.revision;
        let ends = gaps.iter().map(|(_, end)| *end).chain([floor, acknowledged]);
        if let Some(revision) = ends.into_iter().find(|end| beyond(*end)) {
            return Err(RestoreError::Beyond { revision, position });
        }
        let (entries, removed) = sorted(records, position)?;
        let mut tree = ContentTree::new();
        let hashes: BTreeMap<_, _> =
            entries.iter().map(|(key, entry)| (key, hash_value(&entry.value))).collect();
        let staged = tree.stage(hashes.into_iter().map(|(key, hash)| (key, Some(hash))));
        tree.commit(staged);
        if tree.root() != root {
            return Err(RestoreError::RootDiffers { found: tree.root(), kept: root });
        }
        let mut tombstones = Tombstones::new(MAX_TOMBSTONES);
        // Removals at or below the floor are of no use to any subscriber.
        let needed = removed.into_iter().filter(|(_, revision)| *revision > floor);
        needed.for_each(|(key, revision)| tombstones.add(key, revision));
        let bytes = entries.iter().map(|(key, entry)| key.len() + entry.value.len()).sum();
        let changed: BTreeSet<_> =
            entries.iter().map(|(key, entry)| (entry.revision, Arc::clone(key))).collect();
        Ok(Self {
            position: Some(position),
            epoch: 0,
            entries,
            changed,
            tombstones,
            floor,
            gaps: gaps.into(),
            marks: VecDeque::new(),
            tree,
            last_good: LastGood::acknowledged_to(acknowledged),
            bytes,
            signature,
        })
    }
}

fn removal((key, revision): (Arc<str>, u64)) -> Record {
    Record { key, revision, value: None }
}

type Sorted = (BTreeMap<Arc<str>, Entry>, BTreeMap<Arc<str>, u64>);

/// Entries and removals, by key.
fn sorted(records: impl IntoIterator<Item = Record>, position: Position) -> Result<Sorted, RestoreError> {
    let (mut entries, mut removed) = (BTreeMap::<Arc<str>, Entry>::new(), BTreeMap::<Arc<str>, u64>::new());
    for Record { key, revision, value } in records {
        if revision > position.revision {
            return Err(RestoreError::Beyond { revision, position });
        }
        let held = entries.get(&key).map(|entry| entry.revision).or(removed.get(&key).copied());
        if held.is_some_and(|held| held > revision) {
            continue;
        }
        match value {
            Some(value) => {
                removed.remove(&key);
                entries.insert(key, Entry { value, revision });
            }
            None => {
                entries.remove(&key);
                removed.insert(key, revision);
            }
        }
    }
    Ok((entries, removed))
}

#[cfg(test)]
mod tests;
