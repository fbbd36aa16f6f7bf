//! What import, publish, promote and rollback change, and what a delete takes from callers, worked out from what is there. Pure:
//! resources in, a request and a preview out.
//!
//! The rule of all: nothing changes that the operator did not name. What they write, they write at the revision that was
//! read, and what they rest on must be as it was read.

mod import;
mod loss;
mod observed;
mod preview;
mod promotion;
mod regions;
mod rollback;
mod upstream;

#[cfg(test)]
mod tests;

pub(crate) use import::{Import, MADE_FOR, Offered};
pub(crate) use loss::{Loss, Losses};
pub(crate) use observed::{Bound, Found, Observed, Part};
pub(crate) use preview::{Operations, Preview, Step};
pub(crate) use promotion::Promotion;
pub(crate) use regions::Regions;
pub(crate) use rollback::Rollback;
pub(crate) use upstream::UpstreamArg;

use std::collections::BTreeSet;

use hanse_api::answer::{Applied, ApplyRequest};
use hanse_management::{Kind, ProblemName};
use hanse_topology::Name;

use crate::exit::{Exit, Failure};

/// What is to be done: the request, and what it means for people.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// All changes, or none.
    pub(crate) request: ApplyRequest,
    /// What it means.
    pub(crate) preview: Preview,
}

/// Why nothing is done: it would change what the operator did not name.
fn blocked(message: impl Into<String>, remedy: impl Into<String>) -> Failure {
    Failure::new(Exit::Conflict, message).remedy(remedy)
}

/// What was read was changed meanwhile: the command begins anew.
fn changed(message: impl Into<String>) -> Failure {
    let failure = Failure::new(Exit::Conflict, message).remedy("do it again");
    Failure { problem: Some(ProblemName::Stale), ..failure }
}

/// The Bindings of an Api in an Environment that a command is about: all of them, or the one that `regions` pick.
fn picked<'a>(
    observed: &'a Observed,
    api: &Name,
    environment: &Name,
    regions: &[Name],
) -> Result<Vec<&'a Bound>, Failure> {
    let there = observed.bindings_in(api, environment);
    if regions.is_empty() {
        return Ok(there);
    }
    let fits = |bound: &&Bound| regions.iter().all(|region| bound.regions.contains(region));
    match there.iter().copied().find(fits) {
        Some(bound) => Ok(vec![bound]),
        None if there.is_empty() => Ok(Vec::new()),
        None => Err(ambiguous(api, environment, &there)),
    }
}

/// The Bindings that a command writes, and nothing that was not named: those that [`picked`] says, where all their regions are named.
fn picked_whole<'a>(
    observed: &'a Observed,
    api: &Name,
    environment: &Name,
    regions: &[Name],
) -> Result<Vec<&'a Bound>, Failure> {
    let found = picked(observed, api, environment, regions)?;
    if regions.is_empty() {
        return Ok(found);
    }
    for bound in &found {
        let unnamed: Vec<Name> =
            bound.regions.iter().filter(|region| !regions.contains(region)).cloned().collect();
        if !unnamed.is_empty() {
            let all = bound.regions.iter().map(Name::as_str).collect::<Vec<_>>().join(",");
            return Err(blocked(
                format!(
                    "Binding {} ({environment}) also serves {}, and a Binding moves as a whole",
                    bound.name,
                    listed(&unnamed)
                ),
                format!(
                    "name all of its regions: --regions {all}; or give the others a Binding of their own first"
                ),
            ));
        }
    }
    Ok(found)
}

/// Refuses an Api and Environments that do not exist.
fn check_there(observed: &Observed, api: &Name, environments: &[&Name]) -> Result<(), Failure> {
    if observed.api.is_none() {
        return Err(Failure::new(Exit::NotFound, format!("Api {api} does not exist"))
            .remedy("see which there are: hanse get apis"));
    }
    match environments.iter().find(|name| !observed.environments.contains_key(**name)) {
        None => Ok(()),
        Some(name) => {
            let there = observed.environments.keys().map(Name::as_str).collect::<Vec<_>>().join(", ");
            Err(Failure::new(Exit::NotFound, format!("Environment {name} does not exist"))
                .remedy(format!("there are: {there}")))
        }
    }
}

/// Several Bindings, and none that is meant.
fn ambiguous(api: &Name, environment: &Name, there: &[&Bound]) -> Failure {
    let named: Vec<String> =
        there.iter().map(|bound| format!("{} ({})", bound.name, listed(&bound.regions))).collect();
    let count = if named.len() == 1 { "1 Binding".to_owned() } else { format!("{} Bindings", named.len()) };
    blocked(
        format!("Api {api} has {count} in {environment}: {}", named.join(", ")),
        "pick one by regions of its own: --regions",
    )
}

/// Refuses Bindings that an operator rolled back, unless the command says `--over-rollback`.
fn check_rollbacks<'a>(
    bindings: impl Iterator<Item = &'a Bound>,
    over_rollback: bool,
) -> Result<(), Failure> {
    let rolled_back = bindings.filter_map(|bound| Some((bound, bound.serving?, bound.rolled_back_from()?)));
    let said: Vec<String> = rolled_back
        .map(|(bound, now, highest)| {
            format!("{} was rolled back to r{now} ({} served r{highest})", bound.spec.environment, bound.name)
        })
        .collect();
    if said.is_empty() || over_rollback {
        return Ok(());
    }
    Err(blocked(said.join("; "), "if the new revision is meant to replace it: --over-rollback"))
}

/// Refuses a request that would have Bindings move that the operator named neither as a target nor with `--also`.
pub(crate) fn check_moves(
    observed: &Observed,
    api: &Name,
    tried: &Applied,
    also: &[Name],
) -> Result<(), Failure> {
    check_other_apis(api, tried)?;
    let moved = tried.changes.iter().filter(|change| change.action == hanse_api::answer::Action::Moved);
    let moved: Option<Vec<&Bound>> = moved
        .map(|change| observed.bindings.iter().find(|bound| bound.name.as_str() == change.name))
        .collect();
    let Some(moved) = moved else {
        return Err(changed("a Binding of the Api was made while the others were read"));
    };
    let is_named = |bound: &&Bound| bound.spec.api == *api && also.contains(&bound.spec.environment);
    let unnamed: Vec<&Bound> = moved.into_iter().filter(|bound| !is_named(bound)).collect();
    if unnamed.is_empty() {
        return Ok(());
    }
    let said: Vec<String> = unnamed
        .iter()
        .map(|bound| {
            let now = bound.serving.map(|now| format!(" and serves r{now}")).unwrap_or_default();
            format!("{} ({} follows latest{now})", bound.spec.environment, bound.name)
        })
        .collect();
    let environments: BTreeSet<&str> = unnamed.iter().map(|bound| bound.spec.environment.as_str()).collect();
    let environments = environments.into_iter().collect::<Vec<_>>().join(",");
    Err(blocked(
        format!("this would also move {}", said.join(", ")),
        format!("keep what is served with --pin {environments}, or move it, too, with --also {environments}"),
    ))
}

/// Refuses a request that changes an Upstream which another Api embeds: that Api would get a revision with the new endpoints.
fn check_other_apis(api: &Name, tried: &Applied) -> Result<(), Failure> {
    let made = tried.changes.iter().filter(|change| {
        change.kind == Kind::ApiRevision.as_str() && change.action == hanse_api::answer::Action::Created
    });
    let others: BTreeSet<&str> = made
        .filter_map(|change| Some(change.name.rsplit_once("-r")?.0))
        .filter(|other| *other != api.as_str())
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    let others = others.into_iter().collect::<Vec<_>>().join(", ");
    Err(blocked(
        format!("other Apis embed an Upstream that would be written, and would change with it: {others}"),
        "have each of them, or its Bindings, name an Upstream of its own first",
    ))
}

/// Names with commas.
fn listed(names: &[Name]) -> String {
    if names.is_empty() {
        return "no region".to_owned();
    }
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}
