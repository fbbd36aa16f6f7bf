//! The projection written naively: the oracle. Shares nothing with the incremental one but the leaf encoders, the table of what
//! is projected as it is, and the rule of which revision a region serves.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use hanse_management::{
    Kind, ResourceKey, Spec,
    kinds::{
        ApiRevisionSpec, BindingSpec, EnvironmentSpec, GlobalHostSpec, Lifecycle, Reach, RevisionRef,
        SecretType,
    },
};
use hanse_proto::runtime::{self, shift::Of};
use hanse_topology::{Name, RegionSelector, ScopeId};

use super::{
    Reveal,
    encode::{self, Served, Share},
    plain::{Follows, PLAIN},
};
use crate::{Resource, State, member::agent_of, state::exceptions};

/// Every scope with all its keys and bytes, by plain loops over the whole state.
pub fn from_scratch(state: &State, reveal: &dyn Reveal) -> BTreeMap<ScopeId, BTreeMap<String, Bytes>> {
    let mut scopes = BTreeMap::new();
    for environment in state.list(Kind::Environment, None) {
        let Spec::Environment(spec) = &environment.spec else { continue };
        for region in state.list(Kind::Region, None) {
            if !spec.regions.contains(&region.key.name) {
                continue;
            }
            let scope = ScopeId::runtime(region.key.name.clone(), environment.key.name.clone());
            let mut content = BTreeMap::new();
            let grants = state.list(Kind::HostGrant, None).filter_map(|grant| match &grant.spec {
                Spec::HostGrant(grant) if grant.environments.contains(&environment.key.name) => Some(grant),
                _elsewhere => None,
            });
            let listener = encode::listener(&environment.key.name, spec, grants);
            content.insert(format!("listener/{}", environment.key.name), listener);
            fill(state, region, &environment.key.name, spec, &mut content);
            fill_shifts(state, &region.key.name, &environment.key.name, spec, &mut content);
            fill_origins(state, region, &environment.key.name, &mut content);
            scopes.insert(scope, content);
        }
    }
    for region in state.list(Kind::Region, None) {
        let content = zones(state, region);
        if !content.is_empty() {
            scopes.insert(ScopeId::Dns { region: region.key.name.clone() }, content);
        }
    }
    for region in state.list(Kind::Region, None) {
        let content = signing_keys(state, &region.key.name, reveal);
        if !content.is_empty() {
            scopes.insert(ScopeId::Keys { region: region.key.name.clone() }, content);
        }
    }
    for (identity, member) in state.members() {
        if let (Some((name, region)), false) = (agent_of(identity), state.is_revoked(identity)) {
            let content: &mut BTreeMap<String, Bytes> = scopes.entry(ScopeId::Agents { region }).or_default();
            content.insert(format!("agent/{name}"), encode::neighbour(&name, member));
        }
    }
    scopes
}

/// The zones that a region has, and their hosts.
fn zones(state: &State, region: &Resource) -> BTreeMap<String, Bytes> {
    let mut content = BTreeMap::new();
    for resource in state.list(Kind::DnsZone, None) {
        let Spec::DnsZone(zone) = &resource.spec else { continue };
        let is_elsewhere = |selector: &RegionSelector| {
            !selector.names.contains(&region.key.name)
                && (selector.labels.is_empty() || !region.metadata.labels.contains_all(&selector.labels))
        };
        if zone.regions.as_ref().is_some_and(is_elsewhere) {
            continue;
        }
        let zone = encode::zone(&resource.key.name, zone, epoch(state));
        content.insert(format!("zone/{}", resource.key.name), zone);
        for host in state.list(Kind::GlobalHost, None) {
            let Spec::GlobalHost(spec) = &host.spec else { continue };
            if spec.zone == resource.key.name {
                let candidates = candidates(state, host, spec);
                let bytes = encode::global_host(&host.key.name, spec, candidates);
                content.insert(format!("host/{}", host.key.name), bytes);
            }
        }
    }
    content
}

fn epoch(state: &State) -> runtime::Epoch {
    let generation = state.lineage().map_or(1, |lineage| lineage.generation);
    runtime::Epoch { generation, revision: state.dns_revision() }
}

/// Which hosts a region does not serve while others do.
fn fill_shifts(
    state: &State,
    here: &Name,
    environment: &Name,
    spec: &EnvironmentSpec,
    content: &mut BTreeMap<String, Bytes>,
) {
    if !spec.tunnel {
        return;
    }
    let regions = || {
        let all = state.list(Kind::Region, None).map(|region| region.key.name.clone());
        all.filter(|region| spec.regions.contains(region))
    };
    let open: Vec<Name> = regions().filter(|region| !is_drained(state, region)).collect();
    if is_drained(state, here) && !open.is_empty() {
        let of = Of::EveryHost(runtime::EveryHost {});
        content.insert(format!("shift/drain/{here}"), encode::shift(of, &open, epoch(state)));
    }
    for host in state.list(Kind::GlobalHost, None) {
        let Spec::GlobalHost(host_spec) = &host.spec else { continue };
        let is_planned = state.list(Kind::FailoverPlan, None).any(
            |plan| matches!(&plan.spec, Spec::FailoverPlan(plan) if plan.hosts.contains(&host.key.name)),
        );
        if host_spec.environment != *environment || !is_planned {
            continue;
        }
        let serves = |region: &Name| share(state, &host.key.name, region).percent() > 0;
        let serving: Vec<Name> = regions().filter(serves).collect();
        if !serves(here) && !serving.is_empty() {
            let of = Of::Host(host_spec.host.clone());
            content.insert(format!("shift/{}", host.key.name), encode::shift(of, &serving, epoch(state)));
        }
    }
}

fn is_drained(state: &State, region: &Name) -> bool {
    state.list(Kind::Drain, None).any(|drain| drain.key.name == *region)
}

/// The regions of a host's Environment.
fn candidates(state: &State, host: &Resource, spec: &GlobalHostSpec) -> Vec<encode::Candidate> {
    let environments = state.list(Kind::Environment, None);
    let environment = environments.filter(|environment| environment.key.name == spec.environment);
    let mut found = Vec::new();
    for environment in environment {
        let Spec::Environment(environment) = &environment.spec else { continue };
        for region in state.list(Kind::Region, None) {
            let Spec::Region(region_spec) = &region.spec else { continue };
            let name = &region.key.name;
            if environment.regions.contains(name) {
                let none = Vec::new();
                let addresses = environment.addresses.get(name).unwrap_or(&none);
                let share = share(state, &host.key.name, name);
                found.push(encode::candidate(name, &share, addresses, region_spec.location.as_ref()));
            }
        }
    }
    found
}

fn share<'s>(state: &'s State, host: &Name, region: &Name) -> Share<'s> {
    let mut share = Share::Whole;
    for plan in state.list(Kind::FailoverPlan, None) {
        let Spec::FailoverPlan(spec) = &plan.spec else { continue };
        if !spec.hosts.contains(host) {
            continue;
        }
        if spec.active != *region {
            share = Share::Standby { plan: &plan.key.name, active: &spec.active };
        }
        for failover in state.list(Kind::Failover, None) {
            if let (Spec::Failover(decided), true) = (&failover.spec, failover.key.name == plan.key.name) {
                let here = decided.serving.iter().filter(|serving| serving.region == *region);
                let percent = here.map(|serving| serving.percent).sum();
                share = Share::Decided { plan: &plan.key.name, failover: decided, percent };
            }
        }
    }
    for drain in state.list(Kind::Drain, None) {
        if let (Spec::Drain(spec), true) = (&drain.spec, drain.key.name == *region) {
            share = Share::Drained(spec);
        }
    }
    share
}

/// The keys that sign tokens in a region.
fn signing_keys(state: &State, region: &Name, reveal: &dyn Reveal) -> BTreeMap<String, Bytes> {
    let mut content = BTreeMap::new();
    for resource in state.list(Kind::Secret, None) {
        let Spec::Secret(secret) = &resource.spec else { continue };
        if secret.secret_type == SecretType::TokenSigning && secret.regions.contains(region) {
            let organization = resource.key.organization.as_ref().expect("a Secret has an owner");
            let key = format!("secret/{organization}/{}", resource.key.name);
            content.insert(key, encode::revealed(state, &resource.key, secret, reveal));
        }
    }
    content
}

/// The Origins of one Environment in one region.
fn fill_origins(state: &State, region: &Resource, environment: &Name, content: &mut BTreeMap<String, Bytes>) {
    for origin in state.list(Kind::Origin, None) {
        let Spec::Origin(spec) = &origin.spec else { continue };
        if spec.region == region.key.name && spec.environments.contains(environment) {
            let bytes = encode::origin(&origin.key.name, spec, origin.metadata.created_at_ms, state);
            content.insert(format!("origin/{}", origin.key.name), bytes);
        }
    }
}

/// Everything but the listener, the Shifts and the Origins.
fn fill(
    state: &State,
    region: &Resource,
    environment: &Name,
    environment_spec: &EnvironmentSpec,
    content: &mut BTreeMap<String, Bytes>,
) {
    let mut organizations = BTreeSet::new();
    let mut apis = BTreeSet::new();
    for binding in state.list(Kind::Binding, None) {
        let Spec::Binding(spec) = &binding.spec else { continue };
        let picks = |region: &Resource| spec.regions.picks(&region.key.name, &region.metadata.labels);
        let mut served_in: Vec<Name> = Vec::new();
        for other in state.list(Kind::Region, None).filter(|other| picks(other)) {
            served_in.extend(environment_spec.regions.iter().find(|name| **name == other.key.name).cloned());
        }
        let is_sent_on = spec.reach == Reach::Federation && !picks(region) && !served_in.is_empty();
        if spec.environment != *environment || !(picks(region) || is_sent_on) {
            continue;
        }
        if served_in.iter().any(|region| !is_drained(state, region)) {
            served_in.retain(|region| !is_drained(state, region));
        }
        let organization = binding.key.organization.clone().expect("a Binding has an owner");
        let api = ResourceKey::owned(Kind::Api, organization.clone(), spec.api.clone());
        let Some(api) = state.get(&api) else { continue };
        let Spec::Api(api_spec) = &api.spec else { continue };
        if matches!(api_spec.lifecycle, Lifecycle::Created | Lifecycle::Retired) {
            continue;
        }
        let region = &region.key.name;
        let Some((revision_key, revision)) = revision(state, binding, spec, region) else { continue };
        let upstream = upstream(state, &organization, spec, revision_key, revision, region);
        let (upstream_key, upstream_bytes) = upstream.filter(|_| !is_sent_on).unwrap_or_default();
        let served = if is_sent_on { Served::In(&served_in) } else { Served::Here(&upstream_key) };
        let route = encode::route(&binding.key, revision, api_spec.lifecycle, served, state.version());
        content.insert(format!("route/{organization}/{}", binding.key.name), route);
        if !upstream_key.is_empty() {
            content.insert(upstream_key, upstream_bytes);
        }
        apis.insert(api.key.clone());
        organizations.insert(organization);
    }
    fill_plain(state, &organizations, &apis, content);
}

/// The newest revision, or the one of the number that is meant.
fn revision<'s>(
    state: &'s State,
    binding: &'s Resource,
    spec: &BindingSpec,
    region: &Name,
) -> Option<(&'s ResourceKey, &'s ApiRevisionSpec)> {
    let organization = binding.key.organization.as_ref();
    let all = state.list(Kind::ApiRevision, organization).filter_map(|resource: &Arc<Resource>| {
        if let Spec::ApiRevision(spec) = &resource.spec { Some((&resource.key, spec)) } else { None }
    });
    let mut own = all.filter(|(_, revision)| revision.api == spec.api);
    match exceptions(state, binding).remove(region).unwrap_or(spec.revision) {
        RevisionRef::Number(number) => own.find(|(_, revision)| revision.number == number),
        RevisionRef::Latest(_) | RevisionRef::New(_) => own.max_by_key(|(_, revision)| revision.number),
    }
}

fn upstream(
    state: &State,
    organization: &Name,
    binding: &BindingSpec,
    revision_key: &ResourceKey,
    revision: &ApiRevisionSpec,
    region: &Name,
) -> Option<(String, Bytes)> {
    if let Some(own) = &binding.upstream {
        let resource = state.get(&ResourceKey::owned(Kind::Upstream, organization.clone(), own.clone()))?;
        let Spec::Upstream(spec) = &resource.spec else { return None };
        let bytes = encode::upstream(&resource.key, own, spec, region, &binding.environment);
        return Some((format!("upstream/{organization}/{own}"), bytes));
    }
    let copied = revision.spec.upstream.as_ref()?;
    let spec = revision.upstreams.get(copied)?;
    let bytes = encode::upstream(revision_key, copied, spec, region, &binding.environment);
    Some((format!("upstream/{organization}/{}/{copied}", revision_key.name), bytes))
}

/// What is projected as it is, of organizations and Apis served here.
fn fill_plain(
    state: &State,
    organizations: &BTreeSet<Name>,
    apis: &BTreeSet<ResourceKey>,
    content: &mut BTreeMap<String, Bytes>,
) {
    for plain in &PLAIN {
        for resource in organizations.iter().flat_map(|own| state.list(plain.kind, Some(own))) {
            let mut comes = plain.follows == Follows::Organization;
            resource.each_reference(|reference| {
                comes |= plain.follows == Follows::Api && apis.contains(&reference.target);
            });
            if let (true, Some(bytes)) = (comes, plain.encode(resource)) {
                content.insert(plain.key(&resource.key), bytes);
            }
        }
    }
}
