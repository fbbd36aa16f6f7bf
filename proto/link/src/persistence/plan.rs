//! What is to be written: pure.

use hanse_proto::{InvalidMessage, store};
use hanse_store::{Records, ScopeWrite, StoredRecord, Transaction, UnkeptNotes};
use hanse_sync::{ContentRoot, Head, Record, ReplicaMap};
use hanse_topology::Position;

use super::{Kept, KeptScope};

/// How soon something is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Nothing is to be.
    Nothing,
    /// Only positions moved.
    Positions,
    /// Content changed.
    Content,
}

/// What brings the disk to what a hub holds.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) transaction: Transaction,
    pub(super) notes: UnkeptNotes,
    pub(super) urgency: Urgency,
    /// What is on disk then.
    pub(super) then: Kept,
}

impl Plan {
    pub(super) fn new(map: &ReplicaMap, kept: &Kept, notes: UnkeptNotes) -> Self {
        let mut transaction = Transaction::default();
        let mut then = Kept::new();
        for (scope, replica) in map {
            let Some(now) = KeptScope::of(replica) else { continue };
            let before = kept.get(scope).and_then(Option::as_ref);
            if before != Some(&now) {
                let records = match before.and_then(|before| replica.records_after(before.seen)) {
                    Some(records) => Records::Changed(stored(records)),
                    None => Records::All(stored(replica.records())),
                };
                let head = kept_head(&now.head);
                transaction.writes.push(ScopeWrite { scope: scope.clone(), head, records });
            }
            then.insert(scope.clone(), Some(now));
        }
        transaction.drops.extend(kept.keys().filter(|scope| !then.contains_key(*scope)).cloned());
        let urgency = urgency(&transaction, &notes);
        Self { transaction, notes, urgency, then }
    }
}

fn urgency(transaction: &Transaction, notes: &UnkeptNotes) -> Urgency {
    let is_position = |write: &ScopeWrite| match &write.records {
        Records::Changed(records) => records.is_empty(),
        Records::All(_) => false,
    };
    if transaction.is_empty() && notes.is_empty() {
        Urgency::Nothing
    } else if notes.is_empty() && transaction.drops.is_empty() && transaction.writes.iter().all(is_position) {
        Urgency::Positions
    } else {
        Urgency::Content
    }
}

fn stored(records: Vec<Record>) -> Vec<StoredRecord> {
    let stored = |Record { key, revision, value }| StoredRecord { key, revision, value };
    records.into_iter().map(stored).collect()
}

fn kept_head(head: &Head) -> store::ScopeHead {
    store::ScopeHead {
        position: Some(head.position.into()),
        root: head.root.0.to_vec().into(),
        floor: head.floor,
        gaps: head.gaps.iter().map(|(after, before)| store::Gap { after: *after, before: *before }).collect(),
        acknowledged: head.acknowledged,
        signature: head.signature.clone(),
    }
}

/// The head that was kept.
pub(super) fn head_of(head: &store::ScopeHead) -> Result<Head, InvalidMessage> {
    let position = head.position.as_ref().ok_or_else(|| InvalidMessage::new("position", "there is none"))?;
    Ok(Head {
        position: Position::try_from(position)?,
        root: ContentRoot::try_from(&*head.root)?,
        floor: head.floor,
        gaps: head.gaps.iter().map(|gap| (gap.after, gap.before)).collect(),
        acknowledged: head.acknowledged,
        signature: head.signature.clone(),
    })
}
