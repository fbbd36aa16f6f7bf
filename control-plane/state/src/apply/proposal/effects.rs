//! What the changes of a proposal did when they were proposed, and whether they would do the same now.

use std::collections::{BTreeMap, BTreeSet};

use hanse_management::{Problem, ProblemName, ResourceKey};

use crate::{
    ChangeResult, Proposal, ProposedEffect, ProposedServing, State, apply::Effects, audit,
    validate::serving::Digests,
};

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

/// What Bindings serve after changes.
pub(super) fn serving(next: &State, bindings: &BTreeSet<ResourceKey>) -> Vec<ProposedServing> {
    let mut digests = Digests::default();
    let mut content = |key: &ResourceKey| next.serving(key).map(|serving| digests.of(&serving));
    bindings.iter().map(|key| ProposedServing { binding: key.clone(), content: content(key) }).collect()
}

/// Refuses changes that would do anything else than what was proposed: another resource, another beginning or end of one, another
/// Environment that needs the approval, or a Binding that would serve something else.
pub(super) fn check_same(
    before: &State,
    next: &State,
    proposal: &Proposal,
    effects: &Effects,
) -> Result<(), Problem> {
    let now = of(before, next, &effects.results);
    let guarded = &effects.guarded;
    let stale = |detail: String| {
        let detail = format!("proposal {} would do something else by now: {detail}", proposal.number);
        Problem::new(ProblemName::Stale, detail)
            .remedy("reject it, and propose it again on what is there now")
    };
    if let Some((key, why)) = difference(&proposal.effects, &now) {
        return Err(stale(format!("{key} {why}")).at(key.to_string()));
    }
    let proposed: BTreeSet<ResourceKey> = proposal.guarded().keys().into_iter().collect();
    if let Some(other) = proposed.symmetric_difference(&guarded.guarded.keys().into_iter().collect()).next() {
        let why = if proposed.contains(other) { "needs no approval of it" } else { "needs an approval, too" };
        return Err(stale(format!("{other} {why}")));
    }
    match moved(&proposal.serves, &serving(next, &guarded.bindings)) {
        Some(key) => Err(stale(format!("{key} would serve something else")).at(key.to_string())),
        None => Ok(()),
    }
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

/// The first Binding that would serve something else than was proposed.
fn moved<'a>(proposed: &'a [ProposedServing], now: &'a [ProposedServing]) -> Option<&'a ResourceKey> {
    let by_key = |all: &'a [ProposedServing]| -> BTreeMap<&'a ResourceKey, Option<[u8; 32]>> {
        all.iter().map(|one| (&one.binding, one.content)).collect()
    };
    let (proposed, now) = (by_key(proposed), by_key(now));
    let mut keys = proposed.keys().chain(now.keys());
    keys.find(|key| proposed.get(*key) != now.get(*key)).copied()
}
