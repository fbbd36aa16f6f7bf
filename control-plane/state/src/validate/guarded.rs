//! Which changes need a second owner: those of a guarded Environment.
//!
//! An Environment is guarded while it has `approval`, by the state before the change. A change concerns it in three ways: it changes the
//! Environment itself; it changes a HostGrant or an Origin that names it, before or after; or it changes a Binding there, or what that
//! Binding serves. For example, a new Upstream address of a Binding changes what the Binding serves.

use std::collections::BTreeSet;

use hanse_management::{Kind, ResourceKey, Spec};
use hanse_topology::Name;

use crate::{Resource, State};

/// What a change concerns that needs a second owner.
#[derive(Debug, Clone, Default)]
pub(crate) struct Concerned {
    /// The guarded Environments.
    pub(crate) environments: BTreeSet<Name>,
    /// Their Bindings that are changed, or serve something else.
    pub(crate) bindings: BTreeSet<ResourceKey>,
}

/// What a change concerns. `affected`: the resources that it put or deleted, and the Bindings whose meaning depends on them.
pub(crate) fn concerned(before: &State, next: &State, affected: &BTreeSet<ResourceKey>) -> Concerned {
    let guards = Guards::of(before);
    let mut concerned = Concerned::default();
    if guards.0.is_empty() {
        return concerned;
    }
    for key in affected {
        let environments = guards.concerned(before, next, key);
        if environments.is_empty() {
            continue;
        }
        concerned.environments.extend(environments.into_iter().cloned());
        if key.kind == Kind::Binding {
            concerned.bindings.insert(key.clone());
        }
    }
    concerned
}

/// The guarded Environments.
struct Guards<'a>(BTreeSet<&'a Name>);

impl<'a> Guards<'a> {
    fn of(state: &'a State) -> Self {
        let is_guarded = |environment: &Resource| match &environment.spec {
            Spec::Environment(spec) => spec.approval.is_some(),
            _not_listed => false,
        };
        let all = state.list(Kind::Environment, None);
        Self(all.filter(|found| is_guarded(found)).map(|found| &found.key.name).collect())
    }

    /// Those that what happened to one resource concerns.
    fn concerned(&self, before: &State, next: &State, key: &ResourceKey) -> BTreeSet<&'a Name> {
        let sides = [before, next];
        let guarded = |named: Vec<&Name>| -> BTreeSet<&'a Name> {
            named.into_iter().filter_map(|name| self.0.get(name).copied()).collect()
        };
        match key.kind {
            Kind::Environment => guarded(vec![&key.name]),
            Kind::HostGrant => {
                let specs = sides.into_iter().filter_map(|state| state.host_grant_spec(key));
                guarded(specs.flat_map(|spec| &spec.environments).collect())
            }
            Kind::Origin => {
                let specs = sides.into_iter().filter_map(|state| state.origin_spec(key));
                guarded(specs.flat_map(|spec| &spec.environments).collect())
            }
            Kind::Binding => {
                let named = sides.into_iter().filter_map(|state| environment_of(state.get(key)?));
                let guarded = guarded(named.collect());
                // What it serves is looked at last: most Bindings of a change are in no guarded Environment.
                if guarded.is_empty() || is_another(before, next, key) { guarded } else { BTreeSet::new() }
            }
            // Those that change what a Binding serves are found by the Binding.
            _other => BTreeSet::new(),
        }
    }
}

fn environment_of(binding: &Resource) -> Option<&Name> {
    if let Spec::Binding(spec) = &binding.spec { Some(&spec.environment) } else { None }
}

/// Whether a Binding is another one than before, or serves something else.
fn is_another(before: &State, next: &State, key: &ResourceKey) -> bool {
    let revision = |state: &State| state.get(key).map(|binding| binding.metadata.revision);
    match (before.serving(key), next.serving(key)) {
        (Some(was), Some(is)) => revision(before) != revision(next) || !was.is_same(&is),
        (was, is) => was.is_some() != is.is_some(),
    }
}
