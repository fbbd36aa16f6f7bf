//! What each key held at which revision, as far as answers tell, and whether each answer agrees.

use std::collections::{BTreeMap, HashMap};

use super::Verdict;
use crate::history::operation::{Action, Operation, Outcome, Seen};

/// What a key holds before its first write.
const NOTHING: Seen = Seen { value: 0, revision: 0 };

pub(super) struct Versions {
    /// By operation, the revision that it made.
    effects: HashMap<u64, u64>,
    /// By key and revision, the operation that wrote it.
    written: BTreeMap<String, BTreeMap<u64, u64>>,
    /// By key, when the first write began whose outcome is unknown and whose value was never seen.
    unseen_from: BTreeMap<String, u64>,
    /// When each write began that happened.
    begun: HashMap<u64, u64>,
}

impl Versions {
    pub(super) fn of(history: &[Operation], verdict: &mut Verdict) -> Self {
        let mut operations = HashMap::new();
        for operation in history {
            if operations.insert(operation.id, operation).is_some() || operation.id == 0 {
                verdict.found("numbers are unique", operation.id, "another one has this number".to_owned());
            }
        }
        let mut effects = HashMap::new();
        let mut makers: HashMap<u64, u64> = HashMap::new();
        let mut learn = |writer: &Operation, revision: u64, teller: u64, verdict: &mut Verdict| {
            let before = *effects.entry(writer.id).or_insert(revision);
            if before != revision {
                let detail = format!("{} happened at revision {before} and at {revision}", writer.id);
                verdict.found("an operation happens once", teller, detail);
            }
            let maker = *makers.entry(revision).or_insert(writer.id);
            if maker != writer.id {
                let detail = format!("both {maker} and {} made revision {revision}", writer.id);
                verdict.found("a revision has one maker", teller, detail);
            }
        };
        for operation in history {
            if let (Outcome::Ok { revision, .. }, false) =
                (&operation.outcome, operation.action.writes().is_empty())
            {
                learn(operation, *revision, operation.id, verdict);
            }
        }
        for operation in history {
            let Outcome::Ok { seen, .. } = &operation.outcome else { continue };
            for (key, seen) in seen {
                let writer = operations.get(&seen.value).copied();
                match writer.filter(|writer| writer.action.writes().contains(key)) {
                    None => verdict.found(
                        "what is seen was written",
                        operation.id,
                        format!("{key} shows {}, which no operation wrote there", seen.value),
                    ),
                    Some(writer) => {
                        if let Outcome::Refused { why } = &writer.outcome {
                            let detail = format!(
                                "{key} shows the write {}, whose answer was that nothing was changed ({why})",
                                writer.id
                            );
                            verdict.found("what is refused does not happen", operation.id, detail);
                        }
                        learn(writer, seen.revision, operation.id, verdict);
                    }
                }
            }
        }
        let (mut written, mut unseen_from) = (BTreeMap::<_, BTreeMap<_, _>>::new(), BTreeMap::new());
        let mut begun = HashMap::new();
        for operation in history {
            if effects.contains_key(&operation.id) {
                begun.insert(operation.id, operation.start_ns);
            }
            for key in operation.action.writes() {
                if let Some(&revision) = effects.get(&operation.id) {
                    written.entry(key.clone()).or_default().insert(revision, operation.id);
                } else if matches!(operation.outcome, Outcome::Unknown { .. }) {
                    let from = unseen_from.entry(key.clone()).or_insert(operation.start_ns);
                    *from = operation.start_ns.min(*from);
                }
            }
        }
        Self { effects, written, unseen_from, begun }
    }

    /// The revision that a write made, if it is known.
    pub(super) fn effect(&self, operation: &Operation) -> Option<u64> {
        self.effects.get(&operation.id).copied()
    }

    pub(super) fn unknown_seen(&self, history: &[Operation]) -> usize {
        let unknown = history.iter().filter(|operation| matches!(operation.outcome, Outcome::Unknown { .. }));
        unknown.filter(|operation| self.effects.contains_key(&operation.id)).count()
    }

    /// What a key held at a revision.
    fn at(&self, key: &str, revision: u64) -> Seen {
        let versions = self.written.get(key);
        let last = versions.and_then(|versions| versions.range(..=revision).next_back());
        last.map_or(NOTHING, |(&revision, &value)| Seen { value, revision })
    }

    /// Whether an operation's answer agrees.
    pub(super) fn check(&self, operation: &Operation, verdict: &mut Verdict) {
        match &operation.outcome {
            Outcome::Ok { revision, seen, .. } => {
                match &operation.action {
                    Action::Read { key } | Action::StaleRead { key } if !seen.contains_key(key) => {
                        let detail = format!("it does not show {key}");
                        verdict.found("a read shows its key", operation.id, detail);
                    }
                    Action::List | Action::StaleList => {
                        for key in self.written.keys().filter(|key| !seen.contains_key(*key)) {
                            if self.at(key, *revision) != NOTHING {
                                let detail = format!("{key} is missing at revision {revision}");
                                verdict.found("a list shows every key", operation.id, detail);
                            }
                        }
                    }
                    Action::Read { .. } | Action::StaleRead { .. } => {}
                    Action::Write { .. } | Action::Apply { .. } | Action::Cas { .. } => {}
                }
                for (key, seen) in seen {
                    let there = self.at(key, *revision);
                    if there != *seen {
                        let detail = format!(
                            "at revision {revision}, {key} shows the write {} of revision {}; it was the write {} of \
                             revision {}",
                            seen.value, seen.revision, there.value, there.revision
                        );
                        verdict.found("a read shows the state of its revision", operation.id, detail);
                    }
                }
            }
            Outcome::Missing { restarted } if !(*restarted && operation.action.is_stale()) => {
                let detail = "every key exists from the first operation on".to_owned();
                verdict.found("keys do not vanish", operation.id, detail);
            }
            Outcome::Missing { .. } | Outcome::Refused { .. } | Outcome::Unknown { .. } => {}
        }
        if let Action::Cas { key, expected_revision, .. } = &operation.action {
            self.check_swap(operation, key, *expected_revision, verdict);
        }
    }

    fn check_swap(&self, operation: &Operation, key: &str, expected: u64, verdict: &mut Verdict) {
        if let Some(revision) = self.effect(operation) {
            let before = self.at(key, revision.saturating_sub(1));
            if before.revision != expected {
                let detail = format!(
                    "it expected {key} at revision {expected} and was done at {revision}, where {key} was at {}",
                    before.revision
                );
                verdict.found("a swap finds what it expects", operation.id, detail);
            }
            return;
        }
        if !matches!(&operation.outcome, Outcome::Refused { why } if why == "stale") {
            return;
        }
        let maybe_changed = self.unseen_from.get(key).is_some_and(|from| *from < operation.end_ns);
        let next = self.written.get(key).and_then(|versions| versions.range(expected + 1..).next());
        let changed = next
            .is_some_and(|(_, writer)| self.begun.get(writer).is_some_and(|from| *from < operation.end_ns));
        if !changed && !maybe_changed {
            let detail = format!("{key} was and stayed at the revision expected, {expected}");
            verdict.found("a swap is refused for a reason", operation.id, detail);
        }
    }
}
