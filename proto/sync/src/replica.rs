//! A replica: one scope's content at one position, and what is needed to bring others there.

mod kept;
mod last_good;
mod prepared;
mod tombstones;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    ContentRoot,
    content_root::{ContentTree, hash_value},
};
use hanse_proto::sync::HeadSignature;
use hanse_topology::{LineageOrder, Position};

pub use kept::{Head, Record, RestoreError};
use last_good::LastGood;
pub use last_good::LastGoodRecord;
pub use prepared::{Prepared, Size};
use tombstones::Tombstones;

/// How long a deletion is remembered, for subscribers that come back: longer than a night's outage.
const TOMBSTONE_RETENTION: Duration = Duration::from_secs(24 * 3600);
/// How many deletions are remembered: about 150 MB at the usual length of keys.
const MAX_TOMBSTONES: usize = 1_000_000;
/// How exactly [`TOMBSTONE_RETENTION`] is kept: 1,440 marks a day.
const MARK_SPACING: Duration = Duration::from_secs(60);
/// How many gaps are remembered before the floor rises over the oldest. Each is one snapshot taken since the floor.
const MAX_GAPS: usize = 64;

/// One scope's content at a position.
///
/// It remembers the revision of each key's last change and the deletions since its *floor*, so [`Self::changes_since`]
/// leads a subscriber that holds this scope at a position since the floor to the content held now. The control plane's
/// projector fills one by [`Self::advance`]; a subscriber fills one from what its publisher sends, and may publish it.
/// A clone shares keys and values.
#[derive(Debug, Clone)]
pub struct Replica {
    position: Option<Position>,
    epoch: u64,
    entries: BTreeMap<Arc<str>, Entry>,
    /// The entries by revision of their last change.
    changed: BTreeSet<(u64, Arc<str>)>,
    tombstones: Tombstones,
    /// Positions below it are out of reach.
    floor: u64,
    /// Open intervals of positions out of reach: a snapshot jumped over them.
    gaps: VecDeque<(u64, u64)>,
    /// When the position was where, to age tombstones.
    marks: VecDeque<(Instant, u64)>,
    tree: ContentTree,
    last_good: LastGood,
    /// Of the keys and values in `entries`.
    bytes: usize,
    /// What a holder says of position and root, of a local scope.
    signature: Option<HeadSignature>,
}

/// A value and the revision that last changed it.
#[derive(Debug, Clone)]
struct Entry {
    value: Bytes,
    revision: u64,
}

/// What leads from one position of a scope to a later one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Keys that changed, with their present values.
    pub upserts: Vec<(Arc<str>, Bytes)>,
    /// Keys that are gone. Some may never have been there.
    pub removals: Vec<Arc<str>>,
}

impl Changes {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.removals.is_empty()
    }
}

/// What a local reader of a replica has seen of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// [`Replica::epoch`] at that time.
    pub epoch: u64,
    /// The revision at that time.
    pub revision: u64,
}

/// Why a replica does not move.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdvanceError {
    /// Changes lead along one lineage only; another needs the whole content.
    #[error("the changes lead to {to}, of another lineage than {held}")]
    OtherLineage {
        /// Where the replica stands.
        held: Position,
        /// Where it was to go.
        to: Position,
    },
    /// Positions never go back, and content changes at new revisions only.
    #[error("the changes lead to {to}, not beyond {held}")]
    NotBeyond {
        /// Where the replica stands.
        held: Position,
        /// Where it was to go.
        to: Position,
    },
    /// The replica moved since the change was prepared.
    #[error("the replica moved since this change was prepared")]
    Moved,
}

impl Default for Replica {
    fn default() -> Self {
        Self::new()
    }
}

impl Replica {
    /// Holds nothing and stands nowhere.
    pub fn new() -> Self {
        Self::starting_at_epoch(0)
    }

    /// As [`Self::new`], with another first epoch: for a scope that was held before, gone, and is held again.
    pub fn starting_at_epoch(epoch: u64) -> Self {
        Self::bounded(epoch, MAX_TOMBSTONES)
    }

    pub(crate) fn bounded(epoch: u64, max_tombstones: usize) -> Self {
        Self {
            position: None,
            epoch,
            entries: BTreeMap::new(),
            changed: BTreeSet::new(),
            tombstones: Tombstones::new(max_tombstones),
            floor: 0,
            gaps: VecDeque::new(),
            marks: VecDeque::new(),
            tree: ContentTree::new(),
            last_good: LastGood::default(),
            bytes: 0,
            signature: None,
        }
    }

    /// Where the content stands; `None` before the first.
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Whether a copy that stands at `copy` has all of the content. The position of this replica may have moved on since. One without a
    /// position has no content.
    pub fn is_whole_in(&self, copy: Option<&Position>) -> bool {
        let Some(position) = self.position() else { return true };
        copy.is_some_and(|copy| {
            copy.lineage.order(&position.lineage) == LineageOrder::Same && copy.revision >= self.last_change()
        })
    }

    /// The revision of the last change that is remembered: the content has been as it is since then, or longer.
    pub fn last_change(&self) -> u64 {
        let changed = self.changed.last().map_or(0, |(revision, _)| *revision);
        changed.max(self.tombstones.last().unwrap_or(0))
    }

    /// The root of the content.
    pub fn root(&self) -> ContentRoot {
        self.tree.root()
    }

    /// What a holder says of the position and the root; of a local scope only.
    pub fn signature(&self) -> Option<&HeadSignature> {
        self.signature.as_ref()
    }

    /// The value at `key`.
    pub fn get(&self, key: &str) -> Option<&Bytes> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// SHA-256 of the value at `key`.
    pub fn value_hash(&self, key: &str) -> Option<&[u8; 32]> {
        self.tree.value_hash(key)
    }

    /// Keys and values in byte order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.entries.iter().map(|(key, entry)| (&**key, &entry.value))
    }

    /// Keys that begin with `prefix`, and their values.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Bytes)> {
        let from = self.entries.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        let under = from.take_while(move |(key, _)| key.starts_with(prefix));
        under.map(|(key, entry)| (&**key, &entry.value))
    }

    /// The whole content, to be kept: keys and values are shared, not copied.
    pub fn content(&self) -> Vec<(Arc<str>, Bytes)> {
        self.entries.iter().map(|(key, entry)| (Arc::clone(key), entry.value.clone())).collect()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Rises whenever no changes lead from the content seen before to the content held now: after a snapshot of another
    /// lineage, and after a repair that left the position where it was. A local reader that sees another epoch than it
    /// saw before reads everything; [`Self::changes_after`] does the comparison.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What a reader that has read everything by now has seen, for [`Self::changes_after`].
    pub fn seen(&self) -> Option<Seen> {
        self.position.map(|position| Seen { epoch: self.epoch, revision: position.revision })
    }

    /// Applies changes that lead from the present position to `to` and says the root after them. Without changes it moves
    /// the position over revisions that do not touch the scope. The first call may name any position.
    pub fn advance(
        &mut self,
        to: Position,
        upserts: Vec<(Arc<str>, Bytes)>,
        removals: Vec<Arc<str>>,
    ) -> Result<ContentRoot, AdvanceError> {
        let prepared = self.prepare_delta(to, upserts, removals)?;
        self.commit(prepared)?;
        Ok(self.root())
    }

    /// As [`Self::advance`], though what came and went on the way is unknown: positions between the two are out of reach then.
    pub fn jump(
        &mut self,
        to: Position,
        upserts: Vec<(Arc<str>, Bytes)>,
        removals: Vec<Arc<str>>,
    ) -> Result<ContentRoot, AdvanceError> {
        let prepared = self.prepare_jump(to, upserts, removals)?;
        self.commit(prepared)?;
        Ok(self.root())
    }

    /// Makes `content` the whole content, at `to`. Refused if `to` may not follow the present position. Positions between
    /// the two are out of reach then, because what came and went between them is unknown; earlier ones still are within
    /// it. Of another lineage, the floor is `to`.
    pub fn replace(
        &mut self,
        to: Position,
        content: Vec<(Arc<str>, Bytes)>,
    ) -> Result<ContentRoot, AdvanceError> {
        let prepared = self.prepare_snapshot(to, content)?;
        self.commit(prepared)?;
        Ok(self.root())
    }

    /// The changes from `revision` (of this lineage) to the content held now. `None`: that position is out of reach, or
    /// ahead.
    pub fn changes_since(&self, revision: u64) -> Option<Changes> {
        if !self.reaches(revision) {
            return None;
        }
        let Some(first) = revision.checked_add(1) else { return Some(Changes::default()) };
        let upserts = self.changed.range((first, Arc::from(""))..).map(|(_, key)| {
            let entry = self.entries.get(key).expect("the index names keys that are held");
            (Arc::clone(key), entry.value.clone())
        });
        Some(Changes {
            upserts: upserts.collect(),
            removals: self.tombstones.since(first).map(|(key, _)| key).collect(),
        })
    }

    /// Whether it is known what changed since `revision`.
    fn reaches(&self, revision: u64) -> bool {
        self.position.is_some_and(|position| (self.floor..=position.revision).contains(&revision))
            && !self.is_in_gap(revision)
    }

    fn is_in_gap(&self, revision: u64) -> bool {
        self.gaps.iter().any(|(after, before)| *after < revision && revision < *before)
    }

    /// What leads a local reader from what it has seen to the content held now. `None`: it must read everything.
    pub fn changes_after(&self, seen: Seen) -> Option<Changes> {
        if seen.epoch == self.epoch { self.changes_since(seen.revision) } else { None }
    }

    /// Forgets deletions older than a day; the floor rises over those forgotten. To be called now and then.
    pub fn forget(&mut self, now: Instant) {
        let Some(position) = self.position else { return };
        if self.marks.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= MARK_SPACING) {
            self.marks.push_back((now, position.revision));
        }
        let mut expired = None;
        while let Some((at, revision)) = self.marks.front().copied()
            && now.saturating_duration_since(at) > TOMBSTONE_RETENTION
        {
            self.marks.pop_front();
            expired = Some(revision);
        }
        if let Some(revision) = expired {
            let forgotten = self.tombstones.forget_until(revision);
            self.raise_floor(forgotten);
        }
    }

    /// Notes that nothing leads from positions below `floor` any more.
    fn raise_floor(&mut self, floor: Option<u64>) {
        self.floor = self.floor.max(floor.unwrap_or_default());
        self.gaps.retain(|(_, before)| *before > self.floor);
    }

    fn set(&mut self, key: Arc<str>, value: Bytes, revision: u64) {
        self.tombstones.remove(&key);
        self.bytes += key.len() + value.len();
        let old = self.entries.insert(Arc::clone(&key), Entry { value, revision });
        if let Some(old) = &old {
            self.bytes -= key.len() + old.value.len();
            self.changed.remove(&(old.revision, Arc::clone(&key)));
        }
        self.last_good.replaced(&key, old, revision);
        self.changed.insert((revision, key));
    }

    /// Absent keys leave a tombstone too: others may hold what came and went without being seen here.
    fn unset(&mut self, key: Arc<str>, revision: u64) {
        if let Some(old) = self.entries.remove(&key) {
            self.bytes -= key.len() + old.value.len();
            self.changed.remove(&(old.revision, Arc::clone(&key)));
            self.last_good.replaced(&key, Some(old), revision);
        }
        self.tombstones.add(key, revision);
    }
}

#[cfg(test)]
mod tests;
