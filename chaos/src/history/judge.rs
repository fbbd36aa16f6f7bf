//! Whether a history is one that a single copy of the state could have given. Pure.
//!
//! Every accepted write makes the next revision of the whole state, and every answer names the revision it speaks of. So the
//! order in which operations happened is known: a write at its revision, a read between its revision and the next. What is
//! left to check is that this order explains every answer and agrees with time:
//!
//! 1. Every value seen was written, at one revision, by an operation that was not refused; no two operations made one
//!    revision. An operation of unknown outcome happened at most once: where its value was seen.
//! 2. Every read, list and stale read shows each key as it was at the answer's revision. As an `apply` writes its keys at one
//!    revision, it is seen whole or not at all.
//! 3. A compare-and-set that was done found the revision it expected; one refused as `stale` had a reason.
//! 4. An operation that began after another one had ended comes after it in the order.
//! 5. A stale read is not behind what the same node had answered before, unless it says `restarted`.
//!
//! That is linearizability, decided in O(n log n) instead of by a search.

mod order;
#[cfg(test)]
mod tests;
mod versions;

use std::{collections::BTreeMap, fmt};

use super::operation::{Action, Operation, Outcome};
use versions::Versions;

/// Violations that a verdict names: enough to see a pattern, few enough to read.
const NAMED: usize = 10;

/// What is wrong with a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule that does not hold.
    pub rule: &'static str,
    /// The operation that shows it.
    pub operation: u64,
    /// What it shows.
    pub detail: String,
}

/// A judged history, in figures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Operations by kind and outcome, as `read ok`.
    pub counts: BTreeMap<String, usize>,
    /// Operations of unknown outcome whose value was seen: they happened.
    pub unknown_seen: usize,
    /// Stale answers that were behind what the same node had answered before, and said `restarted`.
    pub said_restarted: usize,
    /// What is wrong.
    pub violations: Vec<Violation>,
}

/// Judges a history. The order of its operations does not matter.
pub fn judge(history: &[Operation]) -> Verdict {
    let mut verdict = Verdict::default();
    if history.is_empty() {
        verdict.found("something happened", 0, "the history is empty: nothing was shown".to_owned());
    }
    for operation in history {
        *verdict.counts.entry(kind(operation)).or_default() += 1;
    }
    let versions = Versions::of(history, &mut verdict);
    verdict.unknown_seen = versions.unknown_seen(history);
    for operation in history {
        versions.check(operation, &mut verdict);
    }
    order::check(history, &versions, &mut verdict);
    verdict
}

impl Verdict {
    /// The nodes did not come to hold the same.
    pub(super) fn found_unequal(&mut self, difference: String) {
        self.found("all nodes are equal in the end", 0, difference);
    }

    fn found(&mut self, rule: &'static str, operation: u64, detail: String) {
        self.violations.push(Violation { rule, operation, detail });
    }

    /// How many operations had this outcome: `ok`, `refused`, `unknown`.
    pub fn with_outcome(&self, outcome: &str) -> usize {
        let of_outcome = |(kind, count): (&String, &usize)| kind.ends_with(outcome).then_some(*count);
        self.counts.iter().filter_map(of_outcome).sum()
    }

    /// An error that names what is wrong, if anything is.
    pub fn checked(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.violations.is_empty(), "the history is not linearizable:\n{self}");
        Ok(())
    }
}

fn kind(operation: &Operation) -> String {
    let action = match operation.action {
        Action::Read { .. } => "read",
        Action::StaleRead { .. } => "stale read",
        Action::List => "list",
        Action::StaleList => "stale list",
        Action::Write { .. } => "write",
        Action::Cas { .. } => "compare-and-set",
        Action::Apply { .. } => "apply",
    };
    let outcome = match operation.outcome {
        Outcome::Ok { .. } => "ok",
        Outcome::Missing { .. } => "missing",
        Outcome::Refused { .. } => "refused",
        Outcome::Unknown { .. } => "unknown",
    };
    format!("{action} {outcome}")
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: usize = self.counts.values().sum();
        write!(f, "{total} operations")?;
        for (kind, count) in &self.counts {
            write!(f, ", {count} {kind}")?;
        }
        write!(
            f,
            "; {} of unknown outcome happened; {} stale answers went back and said restarted; {} violations",
            self.unknown_seen,
            self.said_restarted,
            self.violations.len()
        )?;
        for violation in self.violations.iter().take(NAMED) {
            write!(f, "\n  operation {}: {}: {}", violation.operation, violation.rule, violation.detail)?;
        }
        Ok(())
    }
}
