//! Changes computed beside a replica, so that their root is known before anything happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;

use super::{AdvanceError, Changes, ContentRoot, MAX_GAPS, Replica, hash_value};
use crate::content_root::StagedTree;
use hanse_proto::sync::HeadSignature;
use hanse_topology::{LineageOrder, Position};

/// A change of one replica, not yet in force. [`Replica::commit`] puts it in force; dropping it undoes nothing.
#[derive(Debug)]
pub struct Prepared {
    /// Where the replica stood, and in which epoch.
    base: Option<(Position, u64)>,
    to: Position,
    kind: Kind,
    changes: BTreeMap<Arc<str>, Option<Bytes>>,
    staged: StagedTree,
    /// Last good versions that the publisher knows of.
    last_good: Vec<(Arc<str>, Bytes)>,
    size: Size,
    signature: Option<HeadSignature>,
}

/// How much content there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// How many keys.
    pub keys: usize,
    /// The bytes of all keys and values.
    pub bytes: usize,
}

/// What a change does to the history of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// All changes between the two positions are among it.
    Delta,
    /// It leads from the old content to the new; what came and went between is unknown.
    Jump,
    /// The content at this very position was wrong.
    Repair,
    /// Another history, or the first content at all.
    Fresh,
}

impl Prepared {
    /// The root once in force.
    pub fn root(&self) -> ContentRoot {
        self.staged.root()
    }

    /// Takes over, once in force, what the publisher holds as last good versions.
    pub(crate) fn with_last_good(self, last_good: Vec<(Arc<str>, Bytes)>) -> Self {
        Self { last_good, ..self }
    }

    /// Keeps, once in force, what a holder of a local scope says of [`Self::to`] and [`Self::root`]. Without it there is no
    /// signature then.
    pub fn signed(self, signature: HeadSignature) -> Self {
        Self { signature: Some(signature), ..self }
    }

    /// How much content there is once in force.
    pub fn size(&self) -> Size {
        self.size
    }

    /// The position once in force.
    pub fn to(&self) -> &Position {
        &self.to
    }

    /// Whether it only moves the position.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether it leads along one lineage from the replica's position; else a reader that follows the replica starts afresh.
    pub fn is_delta(&self) -> bool {
        self.kind == Kind::Delta
    }

    /// What changes against the content in force.
    pub fn changes(&self) -> Changes {
        let mut changes = Changes::default();
        for (key, value) in &self.changes {
            match value {
                Some(value) => changes.upserts.push((Arc::clone(key), value.clone())),
                None => changes.removals.push(Arc::clone(key)),
            }
        }
        changes
    }
}

impl Replica {
    /// Prepares changes that lead from the present position to `to`; see [`Replica::advance`].
    pub fn prepare_delta(
        &self,
        to: Position,
        upserts: Vec<(Arc<str>, Bytes)>,
        removals: Vec<Arc<str>>,
    ) -> Result<Prepared, AdvanceError> {
        let mut changes: BTreeMap<_, _> =
            upserts.into_iter().map(|(key, value)| (key, Some(value))).collect();
        changes.extend(removals.into_iter().map(|key| (key, None)));
        let kind = match self.position {
            None => Kind::Fresh,
            Some(held) => match to.lineage.order(&held.lineage) {
                LineageOrder::Same if to.revision > held.revision => Kind::Delta,
                LineageOrder::Same if to.revision == held.revision && changes.is_empty() => Kind::Delta,
                LineageOrder::Same => return Err(AdvanceError::NotBeyond { held, to }),
                LineageOrder::Greater | LineageOrder::Lesser | LineageOrder::Conflict => {
                    return Err(AdvanceError::OtherLineage { held, to });
                }
            },
        };
        Ok(self.prepare(to, kind, changes))
    }

    /// Prepares `content` to be the whole content at `to`; see [`Replica::replace`].
    pub fn prepare_snapshot(
        &self,
        to: Position,
        content: Vec<(Arc<str>, Bytes)>,
    ) -> Result<Prepared, AdvanceError> {
        let kind = match self.position {
            None => Kind::Fresh,
            Some(held) if !to.may_follow(&held) => return Err(AdvanceError::NotBeyond { held, to }),
            Some(held) if to.lineage.order(&held.lineage) == LineageOrder::Greater => Kind::Fresh,
            Some(held) if to.revision == held.revision => Kind::Repair,
            Some(_) => Kind::Jump,
        };
        let mut changes: BTreeMap<_, _> =
            content.into_iter().map(|(key, value)| (key, Some(value))).collect();
        let vanished =
            self.entries.keys().filter(|key| !changes.contains_key(*key)).cloned().collect::<Vec<_>>();
        changes.retain(|key, value| match (self.tree.value_hash(key), value) {
            (Some(held), Some(value)) => *held != hash_value(value),
            (None, _) | (_, None) => true,
        });
        changes.extend(vanished.into_iter().map(|key| (key, None)));
        Ok(self.prepare(to, kind, changes))
    }

    /// As [`Self::prepare_delta`], though what came and went on the way is unknown.
    pub(crate) fn prepare_jump(
        &self,
        to: Position,
        upserts: Vec<(Arc<str>, Bytes)>,
        removals: Vec<Arc<str>>,
    ) -> Result<Prepared, AdvanceError> {
        let prepared = self.prepare_delta(to, upserts, removals)?;
        let kind = if prepared.kind == Kind::Delta { Kind::Jump } else { prepared.kind };
        Ok(Prepared { kind, ..prepared })
    }

    fn prepare(&self, to: Position, kind: Kind, changes: BTreeMap<Arc<str>, Option<Bytes>>) -> Prepared {
        let hashes = changes.iter().map(|(key, value)| (key, value.as_deref().map(hash_value)));
        let staged = self.tree.stage(hashes);
        let (size, base) = (self.size_after(&changes), self.base());
        Prepared { base, to, kind, changes, staged, last_good: Vec::new(), size, signature: None }
    }

    fn size_after(&self, changes: &BTreeMap<Arc<str>, Option<Bytes>>) -> Size {
        let mut size = Size { keys: self.entries.len(), bytes: self.bytes };
        for (key, value) in changes {
            if let Some(held) = self.entries.get(key) {
                size.keys -= 1;
                size.bytes -= key.len() + held.value.len();
            }
            if let Some(value) = value {
                size.keys += 1;
                size.bytes += key.len() + value.len();
            }
        }
        size
    }

    /// Puts a prepared change in force.
    pub fn commit(&mut self, prepared: Prepared) -> Result<(), AdvanceError> {
        let Prepared { base, to, kind, changes, staged, last_good, signature, size: _ } = prepared;
        if base != self.base() {
            return Err(AdvanceError::Moved);
        }
        self.tree.commit(staged);
        match kind {
            Kind::Delta => {}
            Kind::Jump => self.note_gap(base.map_or(0, |(held, _)| held.revision), to.revision),
            Kind::Repair | Kind::Fresh => self.start_history(to, base.is_some()),
        }
        // What a delta says of a key that it changes is later than anything that is known here.
        let superseded: BTreeSet<_> = last_good
            .iter()
            .filter(|(key, _)| kind == Kind::Delta && changes.contains_key(key))
            .map(|(key, _)| Arc::clone(key))
            .collect();
        for (key, value) in changes {
            match value {
                Some(value) => self.set(key, value, to.revision),
                None => self.unset(key, to.revision),
            }
        }
        self.position = Some(to);
        self.signature = signature;
        self.offer_last_good(last_good, to.revision, |key| superseded.contains(key));
        let forgotten = self.tombstones.bound();
        self.raise_floor(forgotten);
        Ok(())
    }

    /// One empty replica is as good as another.
    fn base(&self) -> Option<(Position, u64)> {
        self.position.map(|position| (position, self.epoch))
    }

    /// Notes that positions strictly between `after` and `before` are out of reach.
    fn note_gap(&mut self, after: u64, before: u64) {
        if before.saturating_sub(after) > 1 {
            self.gaps.push_back((after, before));
        }
        if self.gaps.len() > MAX_GAPS {
            let oldest = self.gaps.pop_front().map(|(_, before)| before);
            self.raise_floor(oldest);
        }
    }

    /// Starts the history afresh at `to`: nothing leads there from an earlier position. What is acknowledged counts as older
    /// than that, everything else as new.
    fn start_history(&mut self, to: Position, seen_before: bool) {
        self.changed.clear();
        for (key, entry) in &mut self.entries {
            let is_acknowledged = self.last_good.acknowledges(key, entry.revision);
            entry.revision = to.revision.saturating_sub(u64::from(is_acknowledged));
            self.changed.insert((entry.revision, Arc::clone(key)));
        }
        self.tombstones.clear();
        self.gaps.clear();
        self.marks.clear();
        self.last_good.start_history(to.revision);
        self.floor = to.revision;
        self.epoch += u64::from(seen_before);
    }
}
