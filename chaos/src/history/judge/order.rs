//! Whether the order of revisions agrees with time.

use std::collections::HashMap;

use super::{Verdict, versions::Versions};
use crate::history::operation::{Operation, Outcome};

/// An operation that ended, and how far the state was then at least.
struct Ended<'a> {
    operation: &'a Operation,
    revision: u64,
}

pub(super) fn check(history: &[Operation], versions: &Versions, verdict: &mut Verdict) {
    let mut ended: Vec<_> = history.iter().filter_map(known).collect();
    ended.sort_by_key(|ended| ended.operation.end_ns);
    let mut begun: Vec<_> = history.iter().collect();
    begun.sort_by_key(|operation| operation.start_ns);

    let (mut everywhere, mut by_node) = (None, HashMap::<&str, &Ended<'_>>::new());
    let mut ended = ended.iter().peekable();
    for operation in begun {
        while let Some(earlier) = ended.next_if(|earlier| earlier.operation.end_ns < operation.start_ns) {
            further(&mut everywhere, earlier);
            let there = by_node.entry(&earlier.operation.node).or_insert(earlier);
            if earlier.revision > there.revision {
                *there = earlier;
            }
        }
        if operation.action.is_stale() {
            if let Some(earlier) = by_node.get(&*operation.node) {
                check_stale(operation, earlier, verdict);
            }
        } else if let Some(earlier) = everywhere {
            check_current(operation, versions, earlier, verdict);
        }
    }
}

/// What is known of an operation when it ends. That a write happened whose outcome is unknown is known from those who see it.
fn known(operation: &Operation) -> Option<Ended<'_>> {
    match operation.outcome {
        Outcome::Ok { revision, .. } => Some(Ended { operation, revision }),
        Outcome::Missing { .. } | Outcome::Refused { .. } | Outcome::Unknown { .. } => None,
    }
}

fn further<'a, 'b>(furthest: &mut Option<&'b Ended<'a>>, ended: &'b Ended<'a>) {
    if furthest.is_none_or(|furthest| ended.revision > furthest.revision) {
        *furthest = Some(ended);
    }
}

fn check_current(operation: &Operation, versions: &Versions, earlier: &Ended<'_>, verdict: &mut Verdict) {
    let seen_before = || {
        let ago = (operation.start_ns - earlier.operation.end_ns) / 1_000;
        format!(
            "operation {} through {} had shown revision {}, {}.{:03} ms before this one began through {}",
            earlier.operation.id,
            earlier.operation.node,
            earlier.revision,
            ago / 1_000,
            ago % 1_000,
            operation.node
        )
    };
    if operation.action.writes().is_empty() {
        if let Outcome::Ok { revision, .. } = operation.outcome
            && revision < earlier.revision
        {
            let detail = format!("it was answered from revision {revision}; {}", seen_before());
            verdict.found("a read is not from before what was seen", operation.id, detail);
        }
    } else if let Some(revision) = versions.effect(operation)
        && revision <= earlier.revision
    {
        let detail = format!("it made revision {revision}; {}", seen_before());
        verdict.found("a write comes after what was seen", operation.id, detail);
    }
}

fn check_stale(operation: &Operation, earlier: &Ended<'_>, verdict: &mut Verdict) {
    let Outcome::Ok { revision, restarted, .. } = operation.outcome else { return };
    if revision >= earlier.revision {
        return;
    }
    if restarted {
        verdict.said_restarted += 1;
        return;
    }
    let detail = format!(
        "{} answered from revision {revision}; to operation {} it had answered from {}",
        operation.node, earlier.operation.id, earlier.revision
    );
    verdict.found("a stale read does not go back unsaid", operation.id, detail);
}
