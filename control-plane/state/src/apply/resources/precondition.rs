//! What must hold before anything is changed.

use std::collections::BTreeSet;

use hanse_management::{Problem, ProblemName, ResourceKey, Spec};

use crate::{Action, Change, State};

/// One command makes one change of each resource, and expects one thing of it. It may expect an ApiRevision of a resource that it
/// changes: the resource's own revision does not tell it.
pub(super) fn check_distinct(changes: &[Change]) -> Result<(), Problem> {
    let expects = |change: &Change| matches!(change.action, Action::Expect { .. });
    let mut seen = BTreeSet::new();
    match changes.iter().find(|change| !seen.insert((&change.key, expects(change)))) {
        None => Ok(()),
        Some(twice) => {
            let places: Vec<String> = changes
                .iter()
                .enumerate()
                .filter(|(_, change)| change.key == twice.key && expects(change) == expects(twice))
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
    let puts = matches!(change.action, Action::Put { .. } | Action::Restore { .. });
    let present = before.get(key).map(|resource| resource.metadata.revision);
    match (change.if_revision, present) {
        (Some(0), Some(revision)) if puts => {
            Err(Problem::new(ProblemName::Conflict, format!("{key} exists already"))
                .at(key.to_string())
                .remedy(format!("to replace it, name its revision, {revision}; or choose another name")))
        }
        (Some(0), Some(revision)) => {
            Err(stale(key, format!("is at revision {revision}, and should not exist")))
        }
        (Some(expected), Some(revision)) if expected != revision => {
            Err(stale(key, format!("is at revision {revision}, not {expected}: it was changed since")))
        }
        (Some(expected), None) if expected != 0 => {
            let gone = format!("does not exist: it was deleted since revision {expected}");
            Err(if puts {
                stale(key, gone).remedy("leave the revision out to create it anew")
            } else {
                stale(key, gone)
            })
        }
        (_, None) if matches!(change.action, Action::Delete { .. }) => {
            Err(Problem::new(ProblemName::NotFound, format!("{key} does not exist"))
                .at(key.to_string())
                .remedy("look for it with `hanse get`"))
        }
        (None | Some(_), Some(_) | None) => check_api_revision(before, change),
    }
}

fn stale(key: &ResourceKey, why: String) -> Problem {
    Problem::new(ProblemName::Stale, format!("{key} {why}"))
        .at(format!("{key}: revision"))
        .remedy("read it again and repeat the change on what is there now")
}

/// Whether the ApiRevision that a change expects is the one that an Api made last, or that a Binding serves.
fn check_api_revision(before: &State, change: &Change) -> Result<(), Problem> {
    let Action::Expect { api_revision: Some(expected) } = change.action else { return Ok(()) };
    let key = &change.key;
    let present = before.get(key).and_then(|resource| match &resource.spec {
        Spec::Api(_) => Some(resource.metadata.api_revision),
        Spec::Binding(_) => before.served_number(resource),
        _without_revisions => None,
    });
    let now = match present {
        Some(present) if present == expected => return Ok(()),
        Some(present) => format!("is at r{present}, not r{expected}: it was changed since"),
        None => format!("has no r{expected}"),
    };
    Err(Problem::new(ProblemName::Stale, format!("{key} {now}"))
        .at(format!("{key}: apiRevision"))
        .remedy("read it again and repeat the change on what is there now"))
}
