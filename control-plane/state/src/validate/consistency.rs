//! What must hold between resources. Only what a change can affect is looked at.

use std::collections::BTreeSet;

use hanse_management::{
    Kind, Problem, ProblemName, ResourceKey, Spec,
    kinds::{BindingSpec, Reach, RevisionRef, TokenRole, UpstreamSpec},
};
use hanse_topology::Name;

use super::{
    Verdict,
    neighbours::{self, Consent},
};
use crate::{
    Resource, State,
    state::{claims_of, exceptions, places_of},
};

/// Brings the claims, the index of areas and the grants up to date, and checks everything that `touched` can have affected: what was
/// touched, and the Bindings whose meaning depends on it. Says what that is.
pub(crate) fn check(
    before: &State,
    next: &mut State,
    touched: &BTreeSet<ResourceKey>,
    consent: &Consent,
) -> Result<BTreeSet<ResourceKey>, Problem> {
    check_operators(before, next, touched)?;
    let affected = affected(before, next, touched);
    for resource in affected.iter().filter_map(|key| before.get(key)) {
        for claim in claims_of(before, resource) {
            next.claims.remove(&(claim, resource.key.clone()));
        }
        places_of(before, resource).iter().for_each(|place| drop(next.places.remove(place)));
    }
    for key in &affected {
        let Some(resource) = next.get(key).cloned() else { continue };
        for claim in claims_of(next, &resource) {
            next.claims.insert((claim, key.clone()));
        }
        for place in places_of(next, &resource) {
            next.places.insert(place);
        }
    }
    for environment in touched.iter().filter(|key| key.kind == Kind::Environment) {
        next.rehost(&environment.name);
    }
    for environment in neighbours::regranted_environments(before, next, touched) {
        next.regrant(&environment);
    }
    let (bindings, others): (Vec<&Resource>, Vec<&Resource>) = affected
        .iter()
        .filter_map(|key| next.get(key))
        .map(|resource| &**resource)
        .partition(|resource| resource.key.kind == Kind::Binding);
    bindings.iter().try_for_each(|binding| check_binding(next, binding))?;
    others.iter().try_for_each(|resource| check_claims(next, resource, consent))?;
    neighbours::check(before, next, touched, &affected, consent)?;
    bindings.iter().try_for_each(|binding| check_claims(next, binding, consent))?;
    Ok(affected)
}

/// One good admin token must stay: without one, no operator could make another.
fn check_operators(before: &State, next: &State, touched: &BTreeSet<ResourceKey>) -> Verdict {
    let Some(token) = touched.iter().find(|key| key.kind == Kind::Token) else { return Ok(()) };
    let now = next.time_ms / 1_000;
    let good = |resource: &Resource| match &resource.spec {
        Spec::Token(spec) => spec.role == TokenRole::Admin && spec.expires_at.is_none_or(|end| now < end),
        _ => false,
    };
    let operated = |state: &State| state.list(Kind::Token, None).any(|resource| good(resource));
    if operated(before) && !operated(next) {
        return Err(Problem::new(ProblemName::InUse, "no operator's token would be left that is still good")
            .at(token.to_string())
            .remedy("make another token first: hanse token create NAME"));
    }
    Ok(())
}

/// What was touched, and the Bindings that use a touched Upstream, Api or ApiRevision.
pub(super) fn by_author(next: &State, touched: &BTreeSet<ResourceKey>) -> BTreeSet<ResourceKey> {
    let mut reached = touched.clone();
    let mut bindings_of = |key: &ResourceKey| {
        reached.extend(next.referrers_of_kind(key, Kind::Binding).cloned());
    };
    for key in touched {
        match key.kind {
            Kind::Api | Kind::Upstream => bindings_of(key),
            Kind::ApiRevision => {
                if let Some(Spec::ApiRevision(spec)) = next.get(key).map(|resource| &resource.spec) {
                    bindings_of(&key.sibling(Kind::Api, spec.api.clone()));
                }
            }
            // No other kind has endpoints, or leads to them.
            _other => {}
        }
    }
    reached
}

/// What was touched, and the Bindings whose meaning depends on what is different about it.
pub(super) fn affected(
    before: &State,
    next: &State,
    touched: &BTreeSet<ResourceKey>,
) -> BTreeSet<ResourceKey> {
    let mut affected = by_author(next, touched);
    let mut bindings_of = |key: &ResourceKey| {
        affected.extend(next.referrers_of_kind(key, Kind::Binding).cloned());
    };
    for key in touched {
        match key.kind {
            // What else it says is the same for all its Bindings.
            Kind::Environment => {
                let meant = |state: &State| {
                    state.environment(&key.name).map(|spec| (spec.regions.clone(), spec.tunnel))
                };
                if meant(before) != meant(next) {
                    bindings_of(key);
                }
            }
            // Its labels may select it now, or no longer; nothing else of it matters.
            Kind::Region => {
                let labels = |state: &State| state.get(key).map(|region| region.metadata.labels.clone());
                if labels(before) != labels(next) {
                    let environments = next.referrers_of_kind(key, Kind::Environment);
                    environments.for_each(&mut bindings_of);
                }
            }
            // Nothing of another kind says what a Binding means.
            _other => {}
        }
    }
    affected
}

fn check_binding(state: &State, resource: &Resource) -> Verdict {
    let Spec::Binding(spec) = &resource.spec else { return Ok(()) };
    let refused = |name, field: String, detail: String, remedy: String| {
        Err(Problem::new(name, detail).at(format!("{}: spec.{field}", resource.key)).remedy(remedy))
    };
    let environment_regions = state.environment(&spec.environment).map(|found| found.regions.as_slice());
    let environment_regions = environment_regions.unwrap_or_default();
    if let Some((at, region)) =
        spec.regions.names.iter().enumerate().find(|(_, region)| !environment_regions.contains(region))
    {
        return refused(
            ProblemName::Invalid,
            format!("regions.names[{at}]"),
            format!(
                "Environment {} is not in region {region}; it is in {}",
                spec.environment,
                listed(environment_regions)
            ),
            format!("name one of those, or add {region} to the regions of Environment {}", spec.environment),
        );
    }
    let has_tunnel = state.environment(&spec.environment).is_some_and(|found| found.tunnel);
    if spec.reach == Reach::Federation && !has_tunnel {
        let environment = &spec.environment;
        return refused(
            ProblemName::Invalid,
            "reach".to_owned(),
            format!("Environment {environment} has no `tunnel`, so no request goes to another region"),
            format!("write `local`, or set `tunnel` of Environment {environment} first"),
        );
    }
    let Some(revision) = state.named_revision(resource) else {
        let what = match spec.revision {
            RevisionRef::Number(number) => format!("revision {number}"),
            RevisionRef::Latest(_) | RevisionRef::New(_) => "revision".to_owned(),
        };
        let known = resource.key.organization.as_ref().map(|own| known_revisions(state, own, &spec.api));
        return refused(
            ProblemName::MissingReference,
            "revision".to_owned(),
            format!("Api {} has no {what}; {}", spec.api, known.unwrap_or_default()),
            "name one it has, `latest` or `new`".to_owned(),
        );
    };
    let regions = state.regions_of(resource);
    check_upstream(state, resource, spec, revision, &regions)?;
    for region in exceptions(state, resource).into_keys().filter(|region| regions.contains(region)) {
        if let Some(bound) = state.bound_revision(resource, &region) {
            check_upstream(state, resource, spec, bound, &[region])?;
        }
    }
    Ok(())
}

/// A Binding that serves `revision` in `regions` has an Upstream with endpoints for each. An Upstream that gets endpoints from an Origin
/// needs none here: [`endpoints_from`](super::endpoints_from) judges it.
fn check_upstream(
    state: &State,
    resource: &Resource,
    spec: &BindingSpec,
    revision: &Resource,
    regions: &[Name],
) -> Verdict {
    let refused = |detail: String, remedy: String| {
        let problem = Problem::new(ProblemName::Invalid, detail);
        Err(problem.at(format!("{}: spec.upstream", resource.key)).remedy(remedy))
    };
    let Some((name, upstream)) = upstream_of(state, resource, spec, revision) else {
        return refused(
            format!("neither the Binding nor {} names an Upstream", revision.key),
            format!("name an Upstream here, or in Api {}", spec.api),
        );
    };
    for region in regions.iter().filter(|_| upstream.endpoints_from.is_none()) {
        if upstream.endpoints_for(region, &spec.environment).next().is_none() {
            let environment = &spec.environment;
            return refused(
                format!("Upstream {name} has no endpoint for region {region} in Environment {environment}"),
                format!("give it one with `region: {region}`, or leave {region} out of spec.regions"),
            );
        }
    }
    Ok(())
}

/// The Upstream that a Binding uses: its own, as it is now, or the one embedded in the revision.
pub(crate) fn upstream_of<'a>(
    state: &'a State,
    binding: &Resource,
    spec: &'a BindingSpec,
    revision: &'a Resource,
) -> Option<(&'a Name, &'a UpstreamSpec)> {
    if let Some(name) = &spec.upstream {
        let own = state.get(&binding.key.sibling(Kind::Upstream, name.clone()))?;
        let Spec::Upstream(upstream) = &own.spec else { return None };
        return Some((name, upstream));
    }
    let Spec::ApiRevision(revision) = &revision.spec else { return None };
    let name = revision.spec.upstream.as_ref()?;
    Some((name, revision.upstreams.get(name)?))
}

fn known_revisions(state: &State, organization: &Name, api: &Name) -> String {
    let mut numbers = state.api_revision_numbers(organization, api);
    match (numbers.next(), numbers.next_back()) {
        (Some(first), Some(last)) => format!("it has revisions from {first} to {last}"),
        (Some(only), None) => format!("it has revision {only}"),
        (None, _) => "it has none".to_owned(),
    }
}

fn listed(names: &[Name]) -> String {
    if names.is_empty() {
        return "no region".to_owned();
    }
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

/// Refuses what another has already.
fn check_claims(state: &State, resource: &Resource, consent: &Consent) -> Verdict {
    let shown = |other: &ResourceKey| neighbours::shown(other, consent.sight.as_ref());
    for claim in claims_of(state, resource) {
        for other in state.holders(&claim).filter(|other| **other != resource.key) {
            let region = || common_region(state, resource, other);
            if let Some(problem) = claim.conflict(&resource.key, &shown(other), region) {
                return Err(problem);
            }
        }
    }
    Ok(())
}

fn common_region(state: &State, resource: &Resource, other: &ResourceKey) -> Option<Name> {
    let others = state.regions_reached(state.get(other)?);
    state.regions_reached(resource).into_iter().find(|region| others.contains(region))
}
