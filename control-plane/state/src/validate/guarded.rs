//! Which changes need a second owner: those of a guarded Environment.
//!
//! An Environment is guarded while it has `approval`, by the state before the change. A change concerns it in three ways: it changes the
//! Environment itself; it changes a HostGrant that holds there, before or after; or it changes a Binding there, or what that Binding
//! serves. For example, a new Upstream address of a Binding changes what the Binding serves.

use std::collections::BTreeSet;

use hanse_management::{
    Kind, ResourceKey, Spec,
    kinds::{Lifecycle, UpstreamSpec},
};
use hanse_topology::Name;

use super::consistency::{affected, upstream_of};
use crate::{Action, Change, Resource, State};

/// How long a restored Environment takes Bindings and HostGrants of its dump without an approval. A dump has many parts, and its
/// Environments come before its Bindings. The owner that restores an Environment decides alone what it begins with, so an hour of
/// restoring gives no right that this owner lacked before.
pub(crate) const RESTORED_WITHIN_MS: u64 = 60 * 60 * 1_000;

/// The guarded Environments that a change concerns. `touched`: the resources that `changes` put or deleted.
pub(crate) fn environments(
    before: &State,
    next: &State,
    touched: &BTreeSet<ResourceKey>,
    changes: &[Change],
) -> BTreeSet<Name> {
    let guards = Guards::of(before);
    if guards.0.is_empty() {
        return BTreeSet::new();
    }
    let bindings = affected(before, next, touched).into_iter().filter(|key| key.kind == Kind::Binding);
    let others = touched.iter().filter(|key| key.kind != Kind::Binding).cloned();
    let restored: BTreeSet<&ResourceKey> = changes.iter().filter_map(restored).collect();
    let mut concerned = BTreeSet::new();
    for key in bindings.chain(others) {
        let mut of_key = guards.concerned(before, next, &key);
        if restored.contains(&key) {
            of_key.retain(|environment| !is_being_restored(before, next.time_ms, environment));
        }
        concerned.extend(of_key.into_iter().cloned());
    }
    concerned
}

/// The resource of a change that is of a dump.
fn restored(change: &Change) -> Option<&ResourceKey> {
    matches!(change.action, Action::Restore { .. }).then_some(&change.key)
}

fn is_being_restored(before: &State, now_ms: u64, environment: &Name) -> bool {
    let made = before.get(&ResourceKey::global(Kind::Environment, environment.clone()));
    made.is_some_and(|made| now_ms.saturating_sub(made.metadata.created_at_ms) < RESTORED_WITHIN_MS)
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
        let named: Vec<&Name> = match key.kind {
            Kind::Environment => vec![&key.name],
            Kind::HostGrant => {
                let specs = sides.into_iter().filter_map(|state| state.host_grant_spec(key));
                specs.flat_map(|spec| &spec.environments).collect()
            }
            Kind::Binding if is_another(before, next, key) => {
                sides.into_iter().filter_map(|state| environment_of(state.get(key)?)).collect()
            }
            // Those that change what a Binding serves are found by the Binding.
            _other => Vec::new(),
        };
        named.into_iter().filter_map(|name| self.0.get(name).copied()).collect()
    }
}

fn environment_of(binding: &Resource) -> Option<&Name> {
    if let Spec::Binding(spec) = &binding.spec { Some(&spec.environment) } else { None }
}

/// Whether a Binding is another one than before, or serves something else.
fn is_another(before: &State, next: &State, key: &ResourceKey) -> bool {
    match (before.get(key), next.get(key)) {
        (Some(was), Some(is)) => {
            was.metadata.revision != is.metadata.revision || served(before, was) != served(next, is)
        }
        (was, is) => was.is_some() != is.is_some(),
    }
}

/// What a Binding serves.
#[derive(PartialEq)]
struct Served<'a> {
    /// `None`: the Api is served nowhere.
    lifecycle: Option<Lifecycle>,
    /// Each region, with the ApiRevision and the Upstream there.
    regions: Vec<(Name, &'a ResourceKey, Option<UpstreamSpec>)>,
}

fn served<'a>(state: &'a State, binding: &'a Resource) -> Served<'a> {
    let regions = state.regions_of(binding).into_iter().filter_map(|region| {
        let revision = state.bound_revision(binding, &region)?;
        let upstream = upstream_at(state, binding, revision, &region);
        Some((region, &revision.key, upstream))
    });
    Served { lifecycle: state.served_lifecycle(binding), regions: regions.collect() }
}

/// The Upstream with the endpoints that serve the region and the Environment: the others are of no concern there.
fn upstream_at(
    state: &State,
    binding: &Resource,
    revision: &Resource,
    region: &Name,
) -> Option<UpstreamSpec> {
    let Spec::Binding(spec) = &binding.spec else { return None };
    let (_, upstream) = upstream_of(state, binding, spec, revision)?;
    let endpoints = upstream.endpoints_for(region, &spec.environment).cloned().collect();
    Some(UpstreamSpec { endpoints, ..upstream.clone() })
}
