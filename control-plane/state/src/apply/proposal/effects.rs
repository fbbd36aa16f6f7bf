//! What the changes of a proposal did when they were proposed, and whether they would do the same now.

use std::collections::BTreeMap;

use hanse_management::{Problem, ProblemName, ResourceKey};

use crate::{ChangeResult, Proposal, ProposedEffect, State, audit};

/// What changes did to each resource.
pub(super) fn of(before: &State, next: &State, results: &[ChangeResult]) -> Vec<ProposedEffect> {
    let changed = results.iter().filter(|result| result.action != ChangeResult::UNCHANGED);
    changed
        .map(|ChangeResult { key, action, .. }| ProposedEffect {
            key: key.clone(),
            action,
            revision: before.get(key).map_or(0, |resource| resource.metadata.revision),
            content: next.get(key).map(|resource| audit::digest(resource).sha256),
        })
        .collect()
}

/// Refuses changes that would do anything else than what was proposed: another resource, or another beginning or end of one.
pub(super) fn check_same(
    before: &State,
    next: &State,
    proposal: &Proposal,
    results: &[ChangeResult],
) -> Result<(), Problem> {
    let now = of(before, next, results);
    let Some((key, why)) = difference(&proposal.effects, &now) else { return Ok(()) };
    let detail = format!("proposal {} would do something else by now: {key} {why}", proposal.number);
    Err(Problem::new(ProblemName::Stale, detail)
        .at(key.to_string())
        .remedy("reject it, and propose it again on what is there now"))
}

/// The first resource with another effect, and what is different.
fn difference<'a>(
    proposed: &'a [ProposedEffect],
    now: &'a [ProposedEffect],
) -> Option<(&'a ResourceKey, &'static str)> {
    let by_key = |effects: &'a [ProposedEffect]| -> BTreeMap<&'a ResourceKey, &'a ProposedEffect> {
        effects.iter().map(|effect| (&effect.key, effect)).collect()
    };
    let (proposed, now) = (by_key(proposed), by_key(now));
    let changed = proposed.iter().find_map(|(key, was)| match now.get(key) {
        None => Some((*key, "would not change")),
        Some(is) if is.revision != was.revision => Some((*key, "was changed meanwhile")),
        Some(is) if is != was => Some((*key, "would become something else")),
        Some(_) => None,
    });
    let more = || now.keys().find(|key| !proposed.contains_key(*key));
    changed.or_else(|| more().map(|key| (*key, "would change, too")))
}
