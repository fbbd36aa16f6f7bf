//! Resources of a dump: each is made as it was, or is there as it was.

use std::collections::BTreeSet;

use hanse_management::{
    Kind, Problem, ProblemName, ResourceKey, Spec,
    kinds::{ApiRevisionSpec, BindingSpec},
    manifest::Restored,
};
use hanse_topology::{Labels, Name};

use super::{Draft, sealed};
use crate::{Action, Change, Resource, State, listed::listed, port::SEAL_OUTDATED, validate::limits};

/// How many resources a refusal names.
pub(super) const NAMED: usize = 10;

/// Whether any of `changes` is of a dump.
pub(super) fn any(changes: &[Change]) -> bool {
    restored(changes).next().is_some()
}

/// Nothing of a dump replaces a resource that is another one.
pub(super) fn check_free(before: &State, changes: &[Change]) -> Result<(), Problem> {
    let active = before.federation_keys().active().map(|(version, _)| version);
    let differs = |present: &Resource, of: &Of<'_>| {
        let (metadata, known) = (&present.metadata, of.restored);
        let differs = !has_spec(present, of, active)?
            || metadata.labels != *of.labels
            || metadata.protected != of.protected
            || known.api_revision.is_some_and(|number| number != metadata.api_revision)
            || (!known.served.is_empty() && known.served != metadata.served);
        Ok::<_, Problem>(differs)
    };
    let mut others = Vec::new();
    for of in restored(changes) {
        if let Some(present) = before.get(of.key)
            && differs(present, &of)?
        {
            others.push(of.key.to_string());
        }
    }
    let Some(first) = others.first() else { return Ok(()) };
    let detail = format!("already there, and not as in the dump: {}", listed(others.iter(), NAMED));
    Err(Problem::new(ProblemName::Conflict, detail)
        .at(first.clone())
        .remedy("a dump replaces nothing: delete it there, or take it out of the dump"))
}

/// Whether a resource that is there has the spec of the dump. Refused where the node that was asked must seal again.
fn has_spec(present: &Resource, of: &Of<'_>, active: Option<u32>) -> Result<bool, Problem> {
    if of.spec.private_data().is_none() {
        return Ok(present.spec == *of.spec);
    }
    let mut spec = of.spec.clone();
    match sealed::settle(of.key, &mut spec, Some(&present.spec), active) {
        Ok(()) => Ok(present.spec == spec),
        Err(problem) if problem.field == SEAL_OUTDATED => Err(problem),
        Err(_lacks_data) => Ok(false),
    }
}

/// The Apis that get the number of the dump: organization and name, and the number.
pub(super) type Numbered = Vec<((Name, Name), u64)>;

/// Has each Api that is made get the number of the dump. Answers with these Apis.
pub(super) fn number(draft: &mut Draft<'_>, changes: &[Change]) -> Numbered {
    let made = restored(changes).filter(|of| of.key.kind == Kind::Api && draft.before.get(of.key).is_none());
    let numbered: Numbered = made
        .filter_map(|of| {
            let api = (of.key.organization.clone()?, of.key.name.clone());
            Some((api, of.restored.api_revision?))
        })
        .collect();
    for (api, number) in &numbered {
        draft.next.api_counters.insert(api.clone(), number - 1);
    }
    numbered
}

/// Runs once the command's ApiRevisions are made: checks what of the dump depends on them.
pub(super) fn settle(draft: &mut Draft<'_>, changes: &[Change], numbered: Numbered) -> Result<(), Problem> {
    for (api, number) in numbered {
        // An Api of that name may have been here before, with higher numbers.
        let last = draft.before.api_counters.get(&api).copied().unwrap_or_default();
        draft.next.api_counters.insert(api, number.max(last));
    }
    restored(changes).try_for_each(|of| match of.spec {
        Spec::ApiRevision(revision) => check_revision(draft.next, of.key, revision),
        Spec::Binding(binding) => check_served(draft.next, of.key, binding, of.restored),
        _of_no_revision => Ok(()),
    })
}

/// A resource of a dump.
pub(super) struct Of<'a> {
    pub(super) key: &'a ResourceKey,
    labels: &'a Labels,
    pub(super) spec: &'a Spec,
    protected: bool,
    restored: &'a Restored,
}

pub(super) fn restored(changes: &[Change]) -> impl Iterator<Item = Of<'_>> {
    changes.iter().filter_map(|change| match &change.action {
        Action::Restore { labels, spec, protected, restored } => {
            Some(Of { key: &change.key, labels, spec, protected: *protected, restored })
        }
        Action::Put { .. } | Action::Delete { .. } | Action::Expect { .. } => None,
    })
}

/// A number that is free is below that of the Api's latest ApiRevision: no number that comes later will be it.
fn check_revision(state: &State, key: &ResourceKey, revision: &ApiRevisionSpec) -> Result<(), Problem> {
    let api = key.sibling(Kind::Api, revision.api.clone());
    limits::check_revision(&api, revision)?;
    let latest = state.get(&api).map_or(0, |api| api.metadata.api_revision);
    if revision.number < latest {
        return Ok(());
    }
    let detail = format!("{api} is at r{latest}, and r{} is not below it", revision.number);
    Err(Problem::new(ProblemName::Conflict, detail)
        .at(format!("{key}: spec.number"))
        .remedy("apply the Api of the dump first, with its `restored.apiRevision`"))
}

/// What a Binding served must be there for a rollback.
fn check_served(
    state: &State,
    key: &ResourceKey,
    binding: &BindingSpec,
    known: &Restored,
) -> Result<(), Problem> {
    let Some(organization) = &key.organization else { return Ok(()) };
    let numbers: BTreeSet<u64> = state.api_revision_numbers(organization, &binding.api).collect();
    let Some(missing) = known.served.iter().find(|number| !numbers.contains(number)) else { return Ok(()) };
    let detail = format!("Api {organization}/{} has no revision {missing}", binding.api);
    Err(Problem::new(ProblemName::MissingReference, detail)
        .at(format!("{key}: restored.served"))
        .remedy("apply the ApiRevision of the dump first, or take its number out"))
}
