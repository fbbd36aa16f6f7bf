//! Changes of resources: puts and deletes, all or none.

mod bindings;
mod delete;
mod draft;
mod precondition;
mod references;
mod restored;
mod revisions;
mod sealed;

use draft::Draft;
use hanse_management::Problem;
use hanse_topology::Name;
pub(super) use sealed::{check_active, drop_same_as, key_version, says_same};

use super::Effects;
use crate::{
    Action, Change, State,
    validate::{
        consistency, egress, endpoints_from,
        guarded::{self, Author},
        neighbours::Consent,
        origins, steering,
    },
};

/// Makes `changes` in `next`. [Admission](crate::admission) has judged each of them by itself. Their order does not matter:
/// references are judged by the state after all of them. `force_grants`: see [`Command::force_grants`](crate::Command::force_grants).
/// `sight`: the only organization whose resources a refusal may name; `None`: all of them. `author`: who decided about the changes.
pub(super) fn apply(
    before: &State,
    next: &mut State,
    changes: &[Change],
    force_grants: bool,
    sight: Option<&Name>,
    author: Author,
) -> Result<Effects, Problem> {
    precondition::check_distinct(changes)?;
    for change in changes {
        precondition::check(before, change)?;
    }
    sealed::check_dump(before, changes)?;
    restored::check_free(before, changes)?;
    let mut draft = Draft::new(before, next);
    for (order, change) in changes.iter().enumerate() {
        match &change.action {
            Action::Put { labels, spec, protected } => {
                draft.put(order, &change.key, labels, spec, *protected, None)?;
            }
            Action::Restore { labels, spec, protected, restored } => {
                draft.put(order, &change.key, labels, spec, Some(*protected), Some(restored))?;
            }
            Action::Delete { .. } | Action::Expect { .. } => {}
        }
    }
    delete::run(&mut draft, changes)?;
    references::check(&draft)?;
    delete::check_unused(&draft)?;
    let numbered = restored::number(&mut draft, changes);
    revisions::make(&mut draft)?;
    restored::settle(&mut draft, changes, numbered)?;
    bindings::settle(&mut draft);
    let consent = Consent { forced: force_grants, sight: sight.cloned() };
    let affected = consistency::check(draft.before, draft.next, &draft.touched, &consent)?;
    origins::check(draft.next, &draft.touched)?;
    steering::check(draft.before, draft.next, &draft.touched, restored::any(changes))?;
    // A dump is taken back with the Bindings that are cut off. The Bindings that need its ApiRevisions may come in a later part of it.
    if !restored::any(changes) {
        egress::check(draft.before, draft.next, &draft.touched)?;
        endpoints_from::check(draft.before, draft.next, &draft.touched, &affected)?;
        revisions::drop_oldest(&mut draft);
    }
    // What is dropped as the oldest was used by no Binding, so it concerns no Environment.
    let guarded = guarded::concerned(draft.before, draft.next, &affected, author);
    Ok(Effects { guarded, ..draft.into_effects() })
}
