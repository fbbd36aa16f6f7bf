//! Changes of resources: puts and deletes, all or none.

mod bindings;
mod delete;
mod draft;
mod precondition;
mod references;
mod revisions;

use draft::Draft;
use hanse_management::Problem;

use super::Effects;
use crate::{Action, Change, State, validate::consistency};

/// Makes `changes` in `next`. [Admission](crate::admission) has judged each of them by itself. Their order does not matter:
/// references are judged by the state after all of them.
pub(super) fn apply(before: &State, next: &mut State, changes: &[Change]) -> Result<Effects, Problem> {
    precondition::check_distinct(changes)?;
    for change in changes {
        precondition::check(before, change)?;
    }
    let mut draft = Draft::new(before, next);
    for (order, change) in changes.iter().enumerate() {
        if let Action::Put { labels, spec, protected } = &change.action {
            draft.put(order, &change.key, labels, spec, *protected)?;
        }
    }
    delete::run(&mut draft, changes)?;
    references::check(&draft)?;
    delete::check_unused(&draft)?;
    revisions::make(&mut draft)?;
    bindings::settle(&mut draft);
    consistency::check(draft.before, draft.next, &draft.touched)?;
    revisions::drop_oldest(&mut draft);
    Ok(draft.into_effects())
}
