//! Bindings: `new` becomes a number, Bindings that follow the latest revision move, and each keeps what it served.

use std::collections::BTreeSet;

use hanse_management::{
    Kind, ResourceKey, Spec,
    kinds::{BindingSpec, RevisionRef},
};
use hanse_topology::Name;

use super::Draft;
use crate::{Resource, State};

/// Runs once the command's ApiRevisions are made.
pub(super) fn settle(draft: &mut Draft<'_>) {
    let put: Vec<ResourceKey> =
        draft.touched.iter().filter(|key| key.kind == Kind::Binding).cloned().collect();
    let unchanged =
        put.iter().filter_map(|key| settle_new(draft, key)).map(|before| (before.key.clone(), before));
    let unchanged = unchanged.collect();
    draft.restore(unchanged);
    let moved = moved(draft);
    moved.iter().for_each(|key| note(draft, key));
    draft.tell_moved(moved);
    put.iter().for_each(|key| note(draft, key));
}

/// Of a Binding that says `new`: stores the number of the Api's latest revision instead. Answers with the Binding as it was before
/// where it said all of that already.
fn settle_new(draft: &mut Draft<'_>, key: &ResourceKey) -> Option<Resource> {
    let binding = draft.next.get(key)?;
    let Spec::Binding(spec) = &binding.spec else { return None };
    if !matches!(spec.revision, RevisionRef::New(_)) {
        return None;
    }
    // Without a revision the Binding is refused as soon as all of them are judged.
    let number = draft.next.served_number(binding)?;
    let spec = BindingSpec { revision: RevisionRef::Number(number), ..spec.clone() };
    let settled = Resource { spec: spec.into(), ..Resource::clone(binding) };
    let before = draft.before.get(key);
    let before = before.filter(|it| {
        it.spec == settled.spec
            && it.metadata.labels == settled.metadata.labels
            && it.metadata.protected == settled.metadata.protected
    });
    if let Some(before) = before {
        return Some(Resource::clone(before));
    }
    draft.next.store(settled);
    None
}

/// The Bindings that follow the latest revision of an Api, were not put, and mean another revision than before.
fn moved(draft: &Draft<'_>) -> BTreeSet<ResourceKey> {
    let apis = draft.touched.iter().filter_map(|key| match &draft.next.get(key)?.spec {
        Spec::ApiRevision(revision) => Some(key.sibling(Kind::Api, revision.api.clone())),
        _other => None,
    });
    let number = |state: &State, key| state.get(key).and_then(|binding| state.served_number(binding));
    apis.collect::<BTreeSet<_>>()
        .iter()
        .flat_map(|api| draft.next.referrers_of_kind(api, Kind::Binding))
        .filter(|key| !draft.touched.contains(key) && number(draft.before, key) != number(draft.next, key))
        .cloned()
        .collect()
}

/// Notes the revision that a Binding serves now: a status, so the Binding's own revision stays.
fn note(draft: &mut Draft<'_>, key: &ResourceKey) {
    let Some(binding) = draft.next.get(key) else { return };
    let Some(number) = draft.next.served_number(binding) else { return };
    let mut binding = Resource::clone(binding);
    if draft.before.get(key).is_some_and(|before| serves(before) != serves(&binding)) {
        // They are numbers of another Api, or were served elsewhere.
        binding.metadata.served.clear();
    }
    binding.metadata.serve(number);
    draft.next.store(binding);
}

/// What a Binding serves, and where.
fn serves(binding: &Resource) -> Option<(&Name, &Name)> {
    if let Spec::Binding(spec) = &binding.spec { Some((&spec.api, &spec.environment)) } else { None }
}
