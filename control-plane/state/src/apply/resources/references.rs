//! Every reference of what was put must lead somewhere.

use hanse_management::{Kind, Problem, ProblemName, ResourceKey};

use super::Draft;
use crate::Resource;

/// Checks the references of every resource put, by the state after all changes.
pub(super) fn check(draft: &Draft<'_>) -> Result<(), Problem> {
    draft
        .asked
        .iter()
        .filter_map(|key| draft.next.get(key))
        .try_for_each(|resource| check_one(draft, resource))
}

fn check_one(draft: &Draft<'_>, resource: &Resource) -> Result<(), Problem> {
    let key = &resource.key;
    if let Some(organization) = &key.organization {
        let owner = ResourceKey::global(Kind::Organization, organization.clone());
        if draft.next.get(&owner).is_none() {
            return Err(missing(draft, &owner, format!("{key}: organization")));
        }
    }
    let mut first = None;
    resource.each_reference(|reference| {
        // A Binding's revision may be made by this very command: it is checked with the Binding.
        let judged = reference.target.kind != Kind::ApiRevision;
        if judged && first.is_none() && draft.next.get(&reference.target).is_none() {
            first = Some(missing(draft, &reference.target, format!("{key}: {}", reference.field)));
        }
    });
    first.map_or(Ok(()), Err)
}

fn missing(draft: &Draft<'_>, target: &ResourceKey, field: String) -> Problem {
    let (detail, remedy) = if draft.deleted.contains_key(target) {
        (
            format!("{target} is deleted by the same command"),
            "name another one, or do not delete it".to_owned(),
        )
    } else {
        let create = format!("create {target} first, or in the same command");
        (format!("{target} does not exist"), create)
    };
    Problem::new(ProblemName::MissingReference, detail).at(field).remedy(remedy)
}
