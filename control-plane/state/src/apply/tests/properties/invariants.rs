//! What must hold of every state, judged naively: by looking at everything.

use std::{collections::BTreeSet, sync::Arc};

use hanse_management::{
    Kind, ResourceKey, Spec,
    kinds::{ApiRevisionSpec, ApiSpec, Lifecycle, SecretValue},
};
use hanse_topology::Name;

use crate::{ChangeResult, Outcome, Resource, State};

/// Of one command.
pub(super) fn check_step(before: &State, after: &State, outcome: &Outcome) {
    let entries = after.audit().head().number - before.audit().head().number;
    assert!(entries <= 1, "one command makes one entry at most");
    assert!(entries == 1 || after.revision() == before.revision(), "no revision without an entry");
    assert!(crate::audit::holds(after), "the audit is one chain");
    let Outcome::Accepted(accepted) = outcome else {
        assert!(before == after, "a refused command changes nothing");
        return;
    };
    if after.revision() == before.revision() {
        assert!(after.resources().eq(before.resources()), "what changes something makes a revision");
        return;
    }
    assert_eq!((accepted.revision, after.revision()), (before.revision() + 1, before.revision() + 1));
    for (api, counter) in &after.api_counters {
        // The number of an ApiRevision is never used for another one, and none is passed over.
        let last = before.api_counters.get(api).copied().unwrap_or_default();
        let latest = after.latest_api_revision(&api.0, &api.1).map_or(0, |latest| number_of(latest));
        assert_eq!(*counter, last.max(latest), "{api:?}");
    }
    assert!(before.api_counters.keys().all(|api| after.api_counters.contains_key(api)));
    let entry = after.journal_since(before.revision()).unwrap().next().unwrap();
    let steers = |key: &&ResourceKey| {
        let kinds = ["DnsZone", "GlobalHost", "FailoverPlan", "Failover", "Drain", "Environment", "Region"];
        kinds.contains(&key.kind.as_str())
    };
    let dns_revision = entry.keys.iter().find(steers).map_or(before.dns_revision(), |_| after.revision());
    assert_eq!(after.dns_revision(), dns_revision, "{:?}", entry.keys);
    let differing: BTreeSet<&ResourceKey> = before
        .resources()
        .chain(after.resources())
        .map(|resource| &resource.key)
        .filter(|key| seen(before, key) != seen(after, key))
        .collect();
    // Something created and dropped by one command is told, and did not differ.
    assert!(differing.iter().all(|key| entry.keys.contains(key)), "{differing:?} {:?}", entry.keys);
    for change in &accepted.changes {
        let there = after.get(&change.key).map(|resource| resource.metadata.revision);
        match change.action {
            ChangeResult::DELETED => assert_eq!((there, change.revision), (None, 0)),
            ChangeResult::UNCHANGED | ChangeResult::MOVED => assert_eq!(there, Some(change.revision)),
            _ => assert_eq!((there, change.revision), (Some(after.revision()), after.revision())),
        }
    }
    let told: BTreeSet<&ResourceKey> = accepted
        .changes
        .iter()
        .filter(|change| ![ChangeResult::UNCHANGED, ChangeResult::MOVED].contains(&change.action))
        .map(|change| &change.key)
        .collect();
    assert_eq!(told, entry.keys.iter().collect(), "what is told is what is journalled");
}

/// Of a command that seals values anew: no resource has moved, and no data is under another Secret or field.
pub(super) fn check_reseal(before: &State, after: &State, outcome: &Outcome) {
    if let Outcome::Rejected(_) = outcome {
        assert!(before == after, "a refused command changes nothing");
        return;
    }
    let active = after.federation_keys().active().map(|(version, _)| version);
    assert_eq!((before.revision(), &before.journal), (after.revision(), &after.journal));
    assert_eq!(before.resources().len(), after.resources().len());
    let mut moved = 0;
    for (was, is) in before.resources().zip(after.resources()) {
        assert_eq!((&was.key, &was.metadata), (&is.key, &is.metadata));
        let (Spec::Secret(old), Spec::Secret(new)) = (&was.spec, &is.spec) else {
            assert_eq!(was.spec, is.spec);
            continue;
        };
        assert_eq!(old.without_data(), new.without_data());
        for (old, new) in old.data.values().zip(new.data.values()).filter(|(old, new)| old != new) {
            let version = |value: &SecretValue| value.sealed().map(|sealed| sealed.version);
            assert!(version(old) != active && version(new) == active, "{old:?} {new:?}");
            moved += 1;
        }
    }
    let entries = after.audit().head().number - before.audit().head().number;
    assert_eq!(entries, u64::from(moved > 0), "an entry tells of each such change");
    assert_eq!(after.outdated_values().count() + moved, before.outdated_values().count());
    assert!(crate::audit::holds(after), "the audit is one chain");
}

fn number_of(revision: &Resource) -> u64 {
    let Spec::ApiRevision(revision) = &revision.spec else { panic!("{} is no ApiRevision", revision.key) };
    revision.number
}

/// A resource but for its status.
fn seen<'a>(state: &'a State, key: &ResourceKey) -> Option<(&'a Spec, &'a hanse_topology::Labels, u64, u64)> {
    let resource = state.get(key)?;
    let metadata = &resource.metadata;
    Some((&resource.spec, &metadata.labels, metadata.revision, metadata.uses))
}

/// Of a state.
pub(super) fn check(state: &State) {
    check_references(state);
    check_indexes(state);
    state.list(Kind::Binding, None).for_each(|binding| check_binding(state, binding));
    check_no_two_bindings_meet(state);
    check_members(state);
    state.list(Kind::Secret, None).for_each(|secret| check_sealed(secret));
    state.list(Kind::Api, None).for_each(|api| check_api(state, api));
    state.list(Kind::GlobalHost, None).for_each(|host| check_global_host(state, host));
    state.list(Kind::FailoverPlan, None).for_each(|plan| check_plan(state, plan));
}

/// It is in the only zone that has its name, in regions of its Environment, and served in one of them.
fn check_global_host(state: &State, host: &Resource) {
    let Spec::GlobalHost(spec) = &host.spec else { panic!("{} is no GlobalHost", host.key) };
    let zones = state.list(Kind::DnsZone, None).filter_map(|zone| match &zone.spec {
        Spec::DnsZone(found) if found.has(&spec.host) => Some((&zone.key.name, found)),
        _other => None,
    });
    let zones: Vec<_> = zones.collect();
    assert_eq!(zones.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [&spec.zone], "{}", host.key);
    let is_other = |other: &&Arc<Resource>| {
        other.key != host.key && matches!(&other.spec, Spec::GlobalHost(one) if one.host == spec.host)
    };
    assert!(
        !state.list(Kind::GlobalHost, None).any(|other| is_other(&other)),
        "{} is there twice",
        spec.host
    );
    let environment = state.environment(&spec.environment).expect("it is named");
    assert!(spec.regions().all(|(_, region)| environment.regions.contains(region)), "{}", host.key);
    if zones[0].1.is_copied() {
        let known: BTreeSet<&Name> = environment.addresses.keys().collect();
        assert_eq!(known, environment.regions.iter().collect(), "{}", host.key);
    }
    let plans = state.list(Kind::FailoverPlan, None).filter_map(|plan| match &plan.spec {
        Spec::FailoverPlan(spec) if spec.hosts.contains(&host.key.name) => Some((&plan.key.name, spec)),
        _other => None,
    });
    let plans: Vec<_> = plans.collect();
    assert!(plans.len() <= 1, "{} is in several plans", host.key);
    let serving: Vec<Name> = match plans.first() {
        None => environment.regions.clone(),
        Some((name, plan)) => match state.failover(name) {
            None => vec![plan.active.clone()],
            Some(failover) => failover.serving.iter().map(|one| one.region.clone()).collect(),
        },
    };
    let drained = |region: &Name| state.get(&ResourceKey::global(Kind::Drain, region.clone())).is_some();
    assert!(
        serving.iter().any(|region| environment.regions.contains(region) && !drained(region)),
        "{}",
        host.key
    );
}

/// Its hosts are of one Environment, and its regions are of that Environment, too.
fn check_plan(state: &State, plan: &Resource) {
    let Spec::FailoverPlan(spec) = &plan.spec else { panic!("{} is no FailoverPlan", plan.key) };
    let hosts: Vec<_> = spec.hosts.iter().map(|host| state.global_host(host).expect("it is named")).collect();
    let environments: BTreeSet<&Name> = hosts.iter().map(|host| &host.environment).collect();
    assert_eq!(environments.len(), 1, "{}", plan.key);
    assert!(hosts.iter().flat_map(|host| host.steps()).all(|step| step.word() != "failover"), "{}", plan.key);
    let environment = state.environment(&hosts[0].environment).expect("it is named");
    assert!(spec.regions().all(|region| environment.regions.contains(region)), "{}", plan.key);
    let serving = state.failover(&plan.key.name).into_iter().flat_map(|failover| &failover.serving);
    assert!(serving.into_iter().all(|one| spec.regions().any(|own| *own == one.region)), "{}", plan.key);
}

/// All data is sealed, and says nothing of data that was there before.
fn check_sealed(secret: &Resource) {
    let Spec::Secret(spec) = &secret.spec else { panic!("{} is no Secret", secret.key) };
    for (field, value) in &spec.data {
        let is_sealed = matches!(value, SecretValue::Sealed(sealed) if sealed.same_as.is_none());
        assert!(is_sealed, "{}: {field}: {value:?}", secret.key);
    }
}

fn check_references(state: &State) {
    for resource in state.resources() {
        if let Some(organization) = &resource.key.organization {
            let owner = ResourceKey::global(Kind::Organization, organization.clone());
            assert!(state.get(&owner).is_some(), "{} has no owner", resource.key);
        }
        resource.each_reference(|reference| {
            assert!(
                state.get(&reference.target).is_some(),
                "{}: {} leads nowhere",
                resource.key,
                reference.field
            );
            assert!(state.referrers(&reference.target).any(|source| *source == resource.key));
        });
        assert!(resource.metadata.revision <= state.revision());
    }
}

/// Indexes kept up with each change are those computed anew.
fn check_indexes(state: &State) {
    let mut anew = State::default();
    state.resources().for_each(|resource| anew.store(Resource::clone(resource)));
    anew.rebuild();
    assert_eq!(anew.references, state.references);
    assert_eq!(anew.api_revisions, state.api_revisions);
    for ((organization, api, number), bytes) in &state.api_revisions {
        let revision = state.api_revision(organization, api, *number).expect("it is listed");
        assert_eq!(revision.spec.to_json_bytes().len(), *bytes);
    }
    assert_eq!(anew.claims, state.claims);
    assert_eq!(anew.places, state.places);
    assert_eq!(anew.grants, state.grants);
    assert_eq!(anew.hostnames, state.hostnames);
}

/// One key has one name, and each use of a token belongs to one.
fn check_members(state: &State) {
    let keys: BTreeSet<_> = state.members().map(|(_, member)| member.key_digest).collect();
    assert_eq!(keys.len(), state.members().count());
    for (identity, member) in state.members() {
        assert_eq!(state.members_with(&member.key_digest).collect::<Vec<_>>(), [identity]);
    }
    for token in state.list(Kind::JoinToken, None) {
        assert!(token.metadata.used_by.len() as u64 <= token.metadata.uses, "{}", token.key);
    }
}

fn check_binding(state: &State, binding: &Resource) {
    let Spec::Binding(spec) = &binding.spec else { panic!("{} is no Binding", binding.key) };
    let served = &binding.metadata.served;
    assert_eq!(served.last().copied(), state.served_number(binding), "{}", binding.key);
    let distinct: BTreeSet<&u64> = served.iter().collect();
    assert!(distinct.len() == served.len() && served.len() <= crate::Metadata::MAX_SERVED);
    for number in served {
        let organization = binding.key.organization.as_ref().expect("a Binding has an owner");
        assert!(state.api_revision(organization, &spec.api, *number).is_some(), "{}: {number}", binding.key);
    }
    let own = spec.upstream.as_ref().map(|name| {
        match &state.get(&binding.key.sibling(Kind::Upstream, name.clone())).expect("it exists").spec {
            Spec::Upstream(upstream) => upstream,
            other => panic!("{other:?}"),
        }
    });
    let upstream = |revision: Option<&Arc<Resource>>| {
        let content = content(revision.expect("a Binding has a revision"));
        assert_eq!(content.api, spec.api);
        let embedded = content.spec.upstream.as_ref().map(|name| content.upstreams[name].clone());
        own.cloned().or(embedded).expect("a Binding has an Upstream")
    };
    let named = upstream(state.named_revision(binding));
    for region in state.regions_of(binding) {
        for upstream in [&named, &upstream(state.bound_revision(binding, &region))] {
            let count = upstream.endpoints_for(&region, &spec.environment).count();
            assert!(count > 0, "{} {region}", binding.key);
        }
    }
}

fn content(revision: &Resource) -> &ApiRevisionSpec {
    let Spec::ApiRevision(content) = &revision.spec else { panic!("{} is no ApiRevision", revision.key) };
    content
}

fn check_no_two_bindings_meet(state: &State) {
    let bindings: Vec<_> = state.list(Kind::Binding, None).collect();
    for (at, one) in bindings.iter().enumerate() {
        for other in &bindings[at + 1..] {
            let (Spec::Binding(a), Spec::Binding(b)) = (&one.spec, &other.spec) else { panic!() };
            let regions = state.regions_reached(other);
            let mut common = state.regions_reached(one);
            common.retain(|region| regions.contains(region));
            if a.environment != b.environment || common.is_empty() {
                continue;
            }
            assert!(
                one.key.organization != other.key.organization || a.api != b.api,
                "{} {}",
                one.key,
                other.key
            );
            for region in common.iter().map(Some).chain([None]) {
                let (Some(a), Some(b)) = (served(state, one, region), served(state, other, region)) else {
                    continue;
                };
                let share = a.hosts.is_empty() && b.hosts.is_empty()
                    || a.hosts.iter().any(|host| b.hosts.contains(host));
                assert!(a.context != b.context || !share, "{} and {} claim the same", one.key, other.key);
            }
        }
    }
}

/// What a Binding serves in a region; without one, what it names.
fn served<'a>(state: &'a State, binding: &Resource, region: Option<&Name>) -> Option<&'a ApiSpec> {
    let revision = match region {
        Some(region) => state.bound_revision(binding, region),
        None => state.named_revision(binding),
    };
    let revision = content(revision?);
    let lifecycle = state.api(binding.key.organization.as_ref()?, &revision.api)?.lifecycle;
    (!matches!(lifecycle, Lifecycle::Created | Lifecycle::Retired)).then_some(&revision.spec)
}

/// The latest revision is what the Api resolves to now.
fn check_api(state: &State, api: &Resource) {
    let Spec::Api(spec) = &api.spec else { panic!("{} is no Api", api.key) };
    let organization = api.key.organization.as_ref().expect("an Api has an owner");
    let latest = state.latest_api_revision(organization, &api.key.name).expect("an Api has a revision");
    let Spec::ApiRevision(latest) = &latest.spec else { panic!() };
    assert_eq!(latest.number, api.metadata.api_revision);
    assert_eq!(ApiSpec { lifecycle: spec.lifecycle, ..latest.spec.clone() }, *spec);
    for (name, policy) in &latest.policies {
        let now = state.get(&api.key.sibling(Kind::Policy, name.clone())).expect("it is named");
        assert_eq!(now.spec, Spec::Policy(policy.clone()));
    }
    for (name, upstream) in &latest.upstreams {
        let now = state.get(&api.key.sibling(Kind::Upstream, name.clone())).expect("it is named");
        assert_eq!(now.spec, Spec::Upstream(upstream.clone()));
    }
}
