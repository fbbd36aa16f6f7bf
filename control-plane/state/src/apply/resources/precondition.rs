//! What must hold before anything is changed.

use std::collections::BTreeSet;

use hanse_management::{Problem, ProblemName};

use crate::{Action, Change, State};

/// One command says one thing about each resource.
pub(super) fn check_distinct(changes: &[Change]) -> Result<(), Problem> {
    let mut seen = BTreeSet::new();
    match changes.iter().find(|change| !seen.insert(&change.key)) {
        None => Ok(()),
        Some(twice) => {
            let places: Vec<String> = changes
                .iter()
                .enumerate()
                .filter(|(_, change)| change.key == twice.key)
                .map(|(at, _)| (at + 1).to_string())
                .collect();
            let detail =
                format!("{} is given more than once, as changes {}", twice.key, places.join(" and "));
            Err(Problem::new(ProblemName::Invalid, detail)
                .at(twice.key.to_string())
                .remedy("keep one of them: a command makes all of its changes at once"))
        }
    }
}

/// Whether the resource is in the state that the change was made for.
pub(super) fn check(before: &State, change: &Change) -> Result<(), Problem> {
    let key = &change.key;
    let present = before.get(key).map(|resource| resource.metadata.revision);
    match (change.if_revision, present) {
        (Some(0), Some(revision)) => {
            Err(Problem::new(ProblemName::Conflict, format!("{key} exists already"))
                .at(key.to_string())
                .remedy(format!("to replace it, name its revision, {revision}; or choose another name")))
        }
        (Some(expected), Some(revision)) if expected != revision => Err(Problem::new(
            ProblemName::Stale,
            format!("{key} is at revision {revision}, not {expected}: it was changed since"),
        )
        .at(format!("{key}: revision"))
        .remedy("read it again and repeat the change on what is there now")),
        (Some(expected), None) if expected != 0 => Err(Problem::new(
            ProblemName::Stale,
            format!("{key} does not exist: it was deleted since revision {expected}"),
        )
        .at(format!("{key}: revision"))
        .remedy("leave the revision out to create it anew")),
        (_, None) if matches!(change.action, Action::Delete { .. }) => {
            Err(Problem::new(ProblemName::NotFound, format!("{key} does not exist"))
                .at(key.to_string())
                .remedy("look for it with `hanse get`"))
        }
        (None | Some(_), Some(_) | None) => Ok(()),
    }
}
