//! `runtime/REGION/ENVIRONMENT`: what the gateways of an Environment in a region need.
//!
//! An Environment places its listener, which has its HostGrants, in the scopes of its regions. A served Binding places its route and the upstream that
//! the route names, its organization and its Api. What is projected as it is (`plain`) follows one of the last two. An Origin places itself, with
//! the keys of its holders, in the scopes of its Environments in its region. A Binding with `reach: federation` also places its route in the
//! other regions of its Environment, without the upstream. Hosts that a region does not serve are in `shift`.

use std::collections::BTreeMap;

use bytes::Bytes;
use hanse_management::{
    Kind, ResourceKey, Spec,
    kinds::{ApiRevisionSpec, BindingSpec, EndpointSpec, Reach, UpstreamSpec},
};
use hanse_topology::{Name, ScopeId};

use super::{
    Reveal,
    encode::{self, Served},
    kind::{Anchor, Placed, Placement, ScopeKind, Touched, Unit, Variant},
    plain::{Follows, PLAIN, Plain},
    shift,
};
use crate::{Resource, State, state::STEERING};

/// The kind of [`ScopeId::Runtime`].
pub(super) struct Runtime;

impl ScopeKind for Runtime {
    fn touch(&self, key: &ResourceKey, touched: &mut Touched<'_>) {
        if STEERING.contains(&key.kind) && !std::mem::replace(&mut touched.is_steered, true) {
            shift::touch(touched);
        }
        match key.kind {
            Kind::Region => touch_region(key, touched),
            Kind::Environment => touch_environment(key, touched),
            Kind::HostGrant => touch_host_grant(key, touched),
            Kind::Origin => touch_origin(key, touched),
            Kind::Drain => touch_drain(key, touched),
            Kind::Upstream => touched.unit(Unit::of(key.clone())),
            Kind::Api => touch_api(key, touched),
            Kind::ApiRevision => touch_revision(key, touched),
            Kind::Binding => touch_binding(key, touched),
            kind if Plain::of(kind).is_some() => touched.unit(Unit::of(key.clone())),
            // In no runtime resource, or through an ApiRevision, which changed with it.
            _not_projected => {}
        }
    }

    /// The holders of any Origin may have come, changed their keys or been revoked.
    fn touch_members(&self, touched: &mut Touched<'_>) {
        let origins = touched.after.list(Kind::Origin, None);
        touched.units.extend(origins.map(|origin| Unit::of(origin.key.clone())));
    }

    fn placement(&self, state: &State, placer: &ResourceKey) -> Placement {
        let placement = match placer.kind {
            Kind::Environment => place_environment(state, placer),
            Kind::Binding => place_binding(state, placer),
            Kind::Origin => place_origin(state, placer),
            Kind::GlobalHost | Kind::Drain => Some(shift::place(state, placer)),
            _placed_by_these => None,
        };
        placement.unwrap_or_default()
    }

    fn placers<'a>(
        &self,
        state: &'a State,
        anchor: &'a Anchor,
    ) -> Box<dyn Iterator<Item = ResourceKey> + 'a> {
        match anchor {
            Anchor::Group(group) if group.kind == Kind::Organization => {
                Box::new(state.list(Kind::Binding, Some(&group.name)).map(|resource| resource.key.clone()))
            }
            Anchor::Group(api) => Box::new(state.referrers_of_kind(api, Kind::Binding).cloned()),
            Anchor::Unit(Unit { resource, .. }) => match resource.kind {
                Kind::Upstream => Box::new(state.referrers_of_kind(resource, Kind::Binding).cloned()),
                Kind::ApiRevision => {
                    // A Binding refers to the Api, whichever revision it means.
                    let api =
                        revision(state, resource).map(|spec| resource.sibling(Kind::Api, spec.api.clone()));
                    let bindings = |api: &_| state.referrers_of_kind(api, Kind::Binding).cloned().collect();
                    Box::new(api.as_ref().map_or_else(Vec::new, bindings).into_iter())
                }
                // Placed by themselves, or not at all.
                _by_itself => Box::new(std::iter::once(resource.clone())),
            },
        }
    }

    fn within(&self, state: &State, placer: &ResourceKey) -> Option<ResourceKey> {
        Some(ResourceKey::global(Kind::Environment, binding(state, placer)?.environment.clone()))
    }

    fn anchor(&self, state: &State, unit: &Unit) -> Option<Anchor> {
        match Plain::of(unit.resource.kind) {
            Some(plain) => plain.anchor(state.get(&unit.resource)?),
            None => Some(Anchor::Unit(unit.clone())),
        }
    }

    fn followers(&self, state: &State, group: &ResourceKey) -> Vec<Unit> {
        let following = PLAIN.iter().filter(|plain| plain.follows.kind() == group.kind);
        following
            .flat_map(|plain| -> Vec<Unit> {
                match plain.follows {
                    Follows::Organization => state
                        .list(plain.kind, Some(&group.name))
                        .map(|resource| Unit::of(resource.key.clone()))
                        .collect(),
                    Follows::Api => {
                        state.referrers_of_kind(group, plain.kind).cloned().map(Unit::of).collect()
                    }
                }
            })
            .collect()
    }

    fn key(&self, unit: &Unit) -> String {
        let resource = &unit.resource;
        match (&unit.part, Plain::of(resource.kind)) {
            (Some(upstream), _) => encode::embedded_key(resource, upstream),
            (None, Some(plain)) => plain.key(resource),
            (None, None) if resource.kind == Kind::Environment => format!("listener/{}", resource.name),
            (None, None) if resource.kind == Kind::Origin => hanse_runtime::origin_key(&resource.name),
            (None, None) if matches!(resource.kind, Kind::GlobalHost | Kind::Drain) => shift::key(resource),
            (None, None) if resource.kind == Kind::Upstream => encode::owned_key("upstream", resource),
            (None, None) => encode::owned_key("route", resource),
        }
    }

    fn variant(&self, state: &State, unit: &Unit, scope: &ScopeId) -> Variant {
        match unit.resource.kind {
            Kind::Binding => {
                let bound =
                    state.get(&unit.resource).and_then(|binding| bound(state, binding, scope.region()));
                let mut variant = vec![bound.map(|(revision, _)| revision.name.clone())];
                // All regions that send its requests on send them to the same ones.
                if binding(state, &unit.resource).is_some_and(|spec| is_sent_on(state, spec, scope.region()))
                {
                    variant.push(None);
                }
                return variant;
            }
            // Each Environment of its region has regions of its own.
            Kind::Drain => return vec![scope.environment().cloned()],
            _same_or_an_upstream => {}
        }
        let Some(spec) = upstream(state, unit) else { return Variant::new() };
        // A region or environment that no endpoint names gets what all such get.
        let named = |name: Option<&Name>, of: fn(&EndpointSpec) -> &Option<Name>| {
            name.filter(|_| spec.endpoints.iter().any(|endpoint| of(endpoint).as_ref() == name)).cloned()
        };
        vec![
            named(Some(scope.region()), |endpoint| &endpoint.region),
            named(scope.environment(), |endpoint| &endpoint.environment),
        ]
    }

    fn encode(&self, state: &State, unit: &Unit, scope: &ScopeId, _reveal: &dyn Reveal) -> Option<Bytes> {
        let resource = &unit.resource;
        if let Some(spec) = upstream(state, unit) {
            let name = unit.part.as_ref().unwrap_or(&resource.name);
            return Some(encode::upstream(resource, name, spec, scope.region(), scope.environment()?));
        }
        match resource.kind {
            Kind::Environment => {
                let grants = state.host_grants(resource).map(|(_, spec)| spec);
                Some(encode::listener(&resource.name, state.environment(&resource.name)?, grants))
            }
            Kind::Origin => {
                let made_at_ms = state.get(resource)?.metadata.created_at_ms;
                Some(encode::origin(&resource.name, state.origin_spec(resource)?, made_at_ms, state))
            }
            Kind::Binding => {
                let bound_here = state.get(resource)?;
                let lifecycle = state.served_lifecycle(bound_here)?;
                let (revision_key, revision) = bound(state, bound_here, scope.region())?;
                let spec = binding(state, resource)?;
                let route = |served| encode::route(resource, revision, lifecycle, served, state.version());
                if is_sent_on(state, spec, scope.region()) {
                    return Some(route(Served::In(&state.regions_to_send_to(bound_here))));
                }
                let upstream = upstream_of(spec, revision_key, revision);
                let upstream = upstream.map(|unit| self.key(&unit)).unwrap_or_default();
                Some(route(Served::Here(&upstream)))
            }
            Kind::GlobalHost | Kind::Drain => shift::encode(state, resource, scope),
            kind => Plain::of(kind)?.encode(state.get(resource)?),
        }
    }

    fn source(&self, prefix: &str) -> Option<Kind> {
        match prefix {
            "listener" => Some(Kind::Environment),
            "route" => Some(Kind::Binding),
            "upstream" => Some(Kind::Upstream),
            "origin" => Some(Kind::Origin),
            plain => PLAIN.iter().find(|known| known.prefix == plain).map(|known| known.kind),
        }
    }
}

/// Its labels move the Bindings that select by label. A Region that came or went changed the Environments that list it.
fn touch_region(region: &ResourceKey, touched: &mut Touched<'_>) {
    let after = touched.after;
    let labels = |state: &State| state.get(region).map(|region| region.metadata.labels.clone());
    if labels(touched.before) == labels(after) {
        return;
    }
    for environment in after.referrers_of_kind(region, Kind::Environment) {
        for key in after.referrers_of_kind(environment, Kind::Binding) {
            if binding(after, key).is_some_and(|spec| !spec.regions.labels.is_empty()) {
                touch_placed(key, touched);
            }
        }
    }
}

/// Its Bindings move with its scopes. Those that named it and no longer do have changed themselves.
fn touch_environment(environment: &ResourceKey, touched: &mut Touched<'_>) {
    let (before, after) = (touched.before, touched.after);
    touched.unit(Unit::of(environment.clone()));
    touched.placer(environment);
    if place_environment(before, environment) != place_environment(after, environment) {
        for binding in after.referrers_of_kind(environment, Kind::Binding) {
            touch_placed(binding, touched);
        }
        touched.placers.extend(after.referrers_of_kind(environment, Kind::Origin).cloned());
    }
}

/// It is in the listener of each of its Environments.
fn touch_host_grant(grant: &ResourceKey, touched: &mut Touched<'_>) {
    let specs = [touched.before.host_grant_spec(grant), touched.after.host_grant_spec(grant)];
    for environment in specs.into_iter().flatten().flat_map(|spec| &spec.environments) {
        touched.unit(Unit::of(ResourceKey::global(Kind::Environment, environment.clone())));
    }
}

fn touch_origin(origin: &ResourceKey, touched: &mut Touched<'_>) {
    touched.unit(Unit::of(origin.clone()));
    touched.placer(origin);
}

/// Regions that send requests on send them to no drained one.
fn touch_drain(drain: &ResourceKey, touched: &mut Touched<'_>) {
    let region = ResourceKey::global(Kind::Region, drain.name.clone());
    for environment in touched.after.referrers_of_kind(&region, Kind::Environment) {
        for key in touched.after.referrers_of_kind(environment, Kind::Binding) {
            if binding(touched.after, key).is_some_and(|spec| spec.reach == Reach::Federation) {
                touched.unit(Unit::of(key.clone()));
            }
        }
    }
}

/// Of a Binding that did not change, and may be placed elsewhere. Its Route names the regions that others send its requests to.
fn touch_placed(key: &ResourceKey, touched: &mut Touched<'_>) {
    touched.placer(key);
    if binding(touched.after, key).is_some_and(|spec| spec.reach == Reach::Federation) {
        touched.unit(Unit::of(key.clone()));
    }
}

fn touch_binding(binding: &ResourceKey, touched: &mut Touched<'_>) {
    touched.placer(binding);
    touched.unit(Unit::of(binding.clone()));
}

/// Bindings that referred to it and no longer do have changed themselves: `after` knows all others.
fn touch_api(api: &ResourceKey, touched: &mut Touched<'_>) {
    for binding in touched.after.referrers_of_kind(api, Kind::Binding) {
        touch_binding(binding, touched);
    }
}

fn touch_revision(key: &ResourceKey, touched: &mut Touched<'_>) {
    for spec in [revision(touched.before, key), revision(touched.after, key)].into_iter().flatten() {
        for upstream in spec.upstreams.keys() {
            touched.unit(Unit::part(key.clone(), upstream.clone()));
        }
        touch_api(&key.sibling(Kind::Api, spec.api.clone()), touched);
    }
}

fn place_environment(state: &State, key: &ResourceKey) -> Option<Placement> {
    state.environment(&key.name)?;
    let regions = state.regions_of_environment(&key.name);
    let scope = |region| ScopeId::runtime(region, key.name.clone());
    let anchors = vec![Anchor::Unit(Unit::of(key.clone()))];
    Some(vec![Placed { anchors, scopes: regions.into_iter().map(scope).collect() }])
}

/// In the Environments of its region among those that it lists.
fn place_origin(state: &State, key: &ResourceKey) -> Option<Placement> {
    let spec = state.origin_spec(key)?;
    let region = &spec.region;
    state.get(&ResourceKey::global(Kind::Region, region.clone()))?;
    let is_there = |environment: &&Name| {
        state.environment(environment).is_some_and(|environment| environment.regions.contains(region))
    };
    let mut environments: Vec<&Name> = spec.environments.iter().filter(is_there).collect();
    environments.sort();
    let scope = |environment: &Name| ScopeId::runtime(region.clone(), environment.clone());
    let anchors = vec![Anchor::Unit(Unit::of(key.clone()))];
    Some(vec![Placed { anchors, scopes: environments.into_iter().map(scope).collect() }])
}

/// Of one that is served. The Api's own lifecycle counts, not that of the bound revision: blocking an Api takes effect everywhere at
/// once, pinned Bindings included.
fn place_binding(state: &State, key: &ResourceKey) -> Option<Placement> {
    let (resource, spec) = (state.get(key)?, binding(state, key)?);
    state.served_lifecycle(resource)?;
    let own = [
        Anchor::Unit(Unit::of(key.clone())),
        Anchor::Group(ResourceKey::global(Kind::Organization, key.organization.clone()?)),
        Anchor::Group(key.sibling(Kind::Api, spec.api.clone())),
    ];
    let mut regions: BTreeMap<Option<Unit>, Vec<ScopeId>> = BTreeMap::new();
    for region in state.regions_reached(resource) {
        let Some((revision_key, revision)) = bound(state, resource, &region) else { continue };
        let is_sent_on = is_sent_on(state, spec, &region);
        let upstream = upstream_of(spec, revision_key, revision).filter(|_| !is_sent_on);
        regions.entry(upstream).or_default().push(ScopeId::runtime(region, spec.environment.clone()));
    }
    let group = |(upstream, scopes): (Option<Unit>, _)| {
        let anchors = own.iter().cloned().chain(upstream.map(Anchor::Unit)).collect();
        Placed { anchors, scopes }
    };
    Some(regions.into_iter().map(group).collect())
}

fn binding<'s>(state: &'s State, key: &ResourceKey) -> Option<&'s BindingSpec> {
    if let Spec::Binding(spec) = &state.get(key)?.spec { Some(spec) } else { None }
}

/// Whether a region of the Binding's Environment sends its requests on, if it has its Route.
fn is_sent_on(state: &State, spec: &BindingSpec, region: &Name) -> bool {
    let selects = || {
        let found = state.get(&ResourceKey::global(Kind::Region, region.clone()));
        found.is_some_and(|found| spec.regions.picks(region, &found.metadata.labels))
    };
    spec.reach == Reach::Federation && !selects()
}

fn revision<'s>(state: &'s State, key: &ResourceKey) -> Option<&'s ApiRevisionSpec> {
    if let Spec::ApiRevision(spec) = &state.get(key)?.spec { Some(spec) } else { None }
}

/// The Upstream that `unit` is, of its own or embedded.
fn upstream<'s>(state: &'s State, unit: &Unit) -> Option<&'s UpstreamSpec> {
    match (&state.get(&unit.resource)?.spec, &unit.part) {
        (Spec::Upstream(spec), None) => Some(spec),
        (Spec::ApiRevision(spec), Some(upstream)) => spec.upstreams.get(upstream),
        _no_upstream => None,
    }
}

/// The ApiRevision that a Binding serves in `region`.
fn bound<'s>(
    state: &'s State,
    binding: &Resource,
    region: &Name,
) -> Option<(&'s ResourceKey, &'s ApiRevisionSpec)> {
    let bound = state.bound_revision(binding, region)?;
    if let Spec::ApiRevision(spec) = &bound.spec { Some((&bound.key, spec)) } else { None }
}

/// The host patterns of what a Binding serves in `region`, and the keys of its Route and its Upstream there.
pub(super) fn made_by<'s>(
    state: &'s State,
    of: &'s Resource,
    region: &Name,
) -> Option<(&'s [String], Vec<String>)> {
    let (key, revision) = bound(state, of, region)?;
    let route = Unit::of(of.key.clone());
    let units = [Some(route), upstream_of(binding(state, &of.key)?, key, revision)];
    let keys = units.iter().flatten().map(|unit| Runtime.key(unit)).collect();
    Some((&revision.spec.hosts, keys))
}

/// Where requests go: the Binding's own Upstream, else the one that `revision` embeds.
fn upstream_of(
    binding: &BindingSpec,
    revision_key: &ResourceKey,
    revision: &ApiRevisionSpec,
) -> Option<Unit> {
    match (&binding.upstream, &revision.spec.upstream) {
        (Some(own), _) => Some(Unit::of(revision_key.sibling(Kind::Upstream, own.clone()))),
        (None, Some(copied)) => Some(Unit::part(revision_key.clone(), copied.clone())),
        (None, None) => None,
    }
}
