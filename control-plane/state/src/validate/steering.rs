//! What must hold between the resources that say where clients are sent: DnsZones, GlobalHosts, FailoverPlans, Failovers and Drains.
//!
//! All of it holds of every state, but for the Bindings that a Drain leaves without clients: these are judged when the Drain is made.

use std::collections::BTreeSet;

use hanse_management::{
    Kind, Problem, ProblemName, ResourceKey, Spec,
    kinds::{FailoverPlanSpec, GlobalHostSpec, ProbeSpec, Step},
};
use hanse_topology::Name;

use super::Verdict;
use crate::{State, listed::listed, state::without_address};

/// How many GlobalHosts a zone may have. A DNS server keeps all of them in memory, and a transfer carries all of them.
pub(crate) const MAX_HOSTS: usize = 512;
/// How many resources a refusal names.
const NAMED: usize = 3;

/// Judges all that a change of `touched` can have broken. `restored`: the changes are of a dump.
pub(crate) fn check(
    before: &State,
    next: &State,
    touched: &BTreeSet<ResourceKey>,
    restored: bool,
) -> Verdict {
    let reached = Reached::by(next, touched);
    touched.iter().try_for_each(|key| match key.kind {
        Kind::DnsZone => check_zone(next, key),
        Kind::FailoverPlan => check_gone(before, next, key),
        Kind::Drain if !restored => check_drain(next, key),
        // Other kinds are judged by the hosts and the plans that they reach.
        _other => Ok(()),
    })?;
    reached.hosts.iter().try_for_each(|host| check_host(next, host, touched))?;
    reached.plans.iter().try_for_each(|plan| check_plan(next, plan, touched))
}

/// The GlobalHosts and FailoverPlans that a change reaches.
#[derive(Default)]
struct Reached {
    hosts: BTreeSet<Name>,
    plans: BTreeSet<Name>,
}

impl Reached {
    fn by(next: &State, touched: &BTreeSet<ResourceKey>) -> Self {
        let mut reached = Self::default();
        for key in touched {
            match key.kind {
                Kind::GlobalHost => drop(reached.hosts.insert(key.name.clone())),
                Kind::DnsZone => {
                    let hosts = next.referrers_of_kind(key, Kind::GlobalHost);
                    reached.hosts.extend(hosts.map(|host| host.name.clone()));
                }
                Kind::Environment => reached.hosts.extend(next.hosts_of_environment(&key.name)),
                Kind::Drain => {
                    let region = ResourceKey::global(Kind::Region, key.name.clone());
                    for environment in next.referrers_of_kind(&region, Kind::Environment) {
                        reached.hosts.extend(next.hosts_of_environment(&environment.name));
                    }
                }
                Kind::FailoverPlan | Kind::Failover => drop(reached.plans.insert(key.name.clone())),
                // No other kind says where clients are sent.
                _other => {}
            }
        }
        reached.plans.extend(reached.hosts.iter().filter_map(|host| next.plan_of(host)));
        let plans = reached.plans.iter().filter_map(|plan| next.failover_plan(plan));
        reached.hosts.extend(plans.flat_map(|plan| plan.hosts.iter().cloned()));
        reached
    }
}

fn refused(key: &ResourceKey, field: &str, detail: String, remedy: String) -> Verdict {
    Err(Problem::new(ProblemName::Invalid, detail).at(format!("{key}: {field}")).remedy(remedy))
}

/// A zone lies neither in another one nor around it: each name has one zone that answers. It has not too many hosts.
fn check_zone(next: &State, key: &ResourceKey) -> Verdict {
    let Some(zone) = next.dns_zone(&key.name) else { return Ok(()) };
    for other in next.list(Kind::DnsZone, None).filter(|other| other.key != *key) {
        let Spec::DnsZone(spec) = &other.spec else { continue };
        if spec.has(&zone.origin) || zone.has(&spec.origin) {
            let detail = format!("{} and {} of {} have names in common", zone.origin, spec.origin, other.key);
            return Err(Problem::new(ProblemName::Conflict, detail)
                .at(format!("{key}: spec.origin"))
                .remedy("keep the names of both in one zone, or choose names beside each other"));
        }
    }
    Ok(())
}

fn check_size(next: &State, host: &ResourceKey, zone: &Name) -> Verdict {
    let zone = ResourceKey::global(Kind::DnsZone, zone.clone());
    let count = next.referrers_of_kind(&zone, Kind::GlobalHost).count();
    if count <= MAX_HOSTS {
        return Ok(());
    }
    let detail = format!("{zone} would have {count} GlobalHosts, more than {MAX_HOSTS}");
    Err(Problem::new(ProblemName::TooLarge, detail)
        .at(format!("{host}: spec.zone"))
        .remedy("make a second zone"))
}

fn check_host(next: &State, name: &Name, touched: &BTreeSet<ResourceKey>) -> Verdict {
    let Some(host) = next.global_host(name) else { return Ok(()) };
    let key = ResourceKey::global(Kind::GlobalHost, name.clone());
    let (Some(zone), Some(environment)) = (next.dns_zone(&host.zone), next.environment(&host.environment))
    else {
        return Ok(()); // references are judged by themselves
    };
    if touched.contains(&key) {
        check_size(next, &key, &host.zone)?;
    }
    if !zone.has(&host.host) {
        let (own, origin) = (&host.host, &zone.origin);
        let detail =
            format!("{own} is not in DnsZone {}, which has {origin} and the names below it", host.zone);
        return refused(
            &key,
            "spec.host",
            detail,
            format!("write a name such as orders.{origin}, or name another zone"),
        );
    }
    let in_environment = &host.environment;
    if environment.regions.is_empty() {
        let detail = format!("Environment {in_environment} is in no region, and every answer needs one");
        return refused(&key, "spec.environment", detail, "add a region to its `regions` first".to_owned());
    }
    if let Some((field, region)) = host.regions().find(|(_, region)| !environment.regions.contains(region)) {
        let detail = not_in(in_environment, region, &environment.regions);
        return refused(
            &key,
            &field.to_string(),
            detail,
            format!("name one of those, or add {region} to its `regions`"),
        );
    }
    let unknown = without_address(environment);
    if zone.is_copied() && !unknown.is_empty() {
        let detail = format!(
            "addresses-required: DnsZone {} is copied to other DNS servers, which know no other addresses than those of \
             Environment {in_environment}, and it has none for {}",
            host.zone,
            listed(unknown.into_iter(), NAMED)
        );
        let remedy = format!("add these regions to spec.addresses of Environment {in_environment}");
        return refused(&key, "spec.environment", detail, remedy);
    }
    check_serving(next, &key, host, &environment.regions, touched)
}

fn not_in(environment: &Name, region: &Name, regions: &[Name]) -> String {
    format!("Environment {environment} is not in region {region}; it is in {}", listed(regions.iter(), NAMED))
}

/// Some region serves each host: the plan says where, and a drained region does not.
fn check_serving(
    next: &State,
    key: &ResourceKey,
    host: &GlobalHostSpec,
    regions: &[Name],
    touched: &BTreeSet<ResourceKey>,
) -> Verdict {
    let plan = next.plan_of(&key.name);
    let decided = plan.as_ref().map(|plan| served_by(next, plan));
    let decided = decided.as_deref().unwrap_or(regions);
    if decided.iter().any(|region| !next.is_drained(region)) {
        return Ok(());
    }
    let mut drains = decided.iter().map(|region| ResourceKey::global(Kind::Drain, region.clone()));
    let at = drains.find(|drain| touched.contains(drain));
    let places = listed(decided.iter(), NAMED);
    let (detail, remedy) = match plan {
        Some(plan) => (
            format!(
                "no region would serve {} ({key}): FailoverPlan {plan} has it in {places}, which is drained",
                host.host
            ),
            format!("fail FailoverPlan {plan} over to a region that is not drained first"),
        ),
        None => (
            format!(
                "no region would serve {} ({key}): all of its Environment's are drained, {places}",
                host.host
            ),
            "end a drain, or add a region to its Environment first".to_owned(),
        ),
    };
    let at = at.unwrap_or_else(|| key.clone());
    Err(Problem::new(ProblemName::Conflict, detail).at(at.to_string()).remedy(remedy))
}

/// The regions that a plan's Failover has its hosts in; without one, the active region.
fn served_by(next: &State, plan: &Name) -> Vec<Name> {
    match (next.failover(plan), next.failover_plan(plan)) {
        (Some(failover), _) => failover.serving.iter().map(|one| one.region.clone()).collect(),
        (None, Some(spec)) => vec![spec.active.clone()],
        (None, None) => Vec::new(),
    }
}

fn check_plan(next: &State, name: &Name, touched: &BTreeSet<ResourceKey>) -> Verdict {
    let Some(plan) = next.failover_plan(name) else { return Ok(()) };
    let key = ResourceKey::global(Kind::FailoverPlan, name.clone());
    let hosts = || plan.hosts.iter().filter_map(|host| Some((host, next.global_host(host)?)));
    let Some((first, one)) = hosts().next() else { return Ok(()) };
    for (at, (host, spec)) in hosts().enumerate() {
        let field = format!("spec.hosts[{at}]");
        if spec.environment != one.environment {
            let (own, other) = (&spec.environment, &one.environment);
            let detail =
                format!("GlobalHost {host} is of Environment {own}, and {first} of Environment {other}");
            return refused(&key, &field, detail, "make a plan for each Environment".to_owned());
        }
        if spec.steps().any(|step| matches!(step, Step::Failover(_))) {
            let detail = format!("GlobalHost {host} has the step `failover`, which decides beside the plan");
            return refused(
                &key,
                &field,
                detail,
                "take the step out of its policy: the plan says where it is served".to_owned(),
            );
        }
    }
    check_regions(next, &key, plan, &one.environment)?;
    check_failover(next, &key, plan, touched)?;
    check_probe(&key, plan, &hosts().map(|(_, spec)| &*spec.host).collect())
}

fn check_regions(next: &State, key: &ResourceKey, plan: &FailoverPlanSpec, environment: &Name) -> Verdict {
    let regions = next.environment(environment).map(|found| found.regions.as_slice()).unwrap_or_default();
    let Some((at, region)) = plan.regions().enumerate().find(|(_, region)| !regions.contains(region)) else {
        return Ok(());
    };
    let field = match at.checked_sub(1) {
        None => "spec.active".to_owned(),
        Some(at) => format!("spec.standby[{at}]"),
    };
    let detail = not_in(environment, region, regions);
    refused(key, &field, detail, format!("name one of those, or add {region} to its `regions`"))
}

/// A Failover has the hosts in regions of its plan only.
fn check_failover(
    next: &State,
    key: &ResourceKey,
    plan: &FailoverPlanSpec,
    touched: &BTreeSet<ResourceKey>,
) -> Verdict {
    let Some(failover) = next.failover(&key.name) else { return Ok(()) };
    let is_of_plan = |region: &Name| plan.regions().any(|own| own == region);
    let Some((at, one)) = failover.serving.iter().enumerate().find(|(_, one)| !is_of_plan(&one.region))
    else {
        return Ok(());
    };
    let decision = ResourceKey::global(Kind::Failover, key.name.clone());
    if touched.contains(&decision) {
        let detail = format!("{} is no region of {key}", one.region);
        return refused(
            &decision,
            &format!("spec.serving[{at}].region"),
            detail,
            "name one of its regions".to_owned(),
        );
    }
    let detail = format!("its hosts are served in {} now, which would be no region of it", one.region);
    refused(
        key,
        "spec.standby",
        detail,
        format!("keep {} in the plan until another region serves", one.region),
    )
}

/// A drill asks for a host of the plan.
fn check_probe(key: &ResourceKey, plan: &FailoverPlanSpec, hosts: &BTreeSet<&str>) -> Verdict {
    let Some(host) = plan.probe.as_ref().map(ProbeSpec::host).filter(|host| !hosts.contains(host)) else {
        return Ok(());
    };
    let detail = format!("{host:?} is the host of no GlobalHost of the plan");
    refused(key, "spec.probe.url", detail, format!("ask for one of {}", listed(hosts.iter(), NAMED)))
}

/// A plan goes only while its hosts are where they are without a plan's word: a delete is no failback.
fn check_gone(before: &State, next: &State, key: &ResourceKey) -> Verdict {
    if next.get(key).is_some() {
        return Ok(());
    }
    let (Some(plan), Some(failover)) = (before.failover_plan(&key.name), before.failover(&key.name)) else {
        return Ok(());
    };
    let elsewhere: Vec<&Name> =
        failover.serving.iter().map(|one| &one.region).filter(|region| **region != plan.active).collect();
    if elsewhere.is_empty() || plan.hosts.iter().all(|host| next.global_host(host).is_none()) {
        return Ok(());
    }
    let detail = format!(
        "the hosts of {key} are served in {}, and not in its active region {} alone",
        listed(elsewhere.into_iter(), NAMED),
        plan.active
    );
    Err(Problem::new(ProblemName::InUse, detail)
        .at(key.to_string())
        .remedy("fail it back first, or name the region that serves as its active one"))
}

/// Without force, a Drain leaves no Binding without clients: one that is served in no other region.
fn check_drain(next: &State, key: &ResourceKey) -> Verdict {
    let Some(Spec::Drain(drain)) = next.get(key).map(|drain| &drain.spec) else { return Ok(()) };
    if drain.forced.is_some() {
        return Ok(());
    }
    let region = ResourceKey::global(Kind::Region, key.name.clone());
    let environments = next.referrers_of_kind(&region, Kind::Environment);
    let bindings = environments.flat_map(|environment| next.referrers_of_kind(environment, Kind::Binding));
    let here = [key.name.clone()];
    let is_only_there =
        |binding: &&ResourceKey| next.get(binding).is_some_and(|binding| next.regions_of(binding) == here);
    let alone: Vec<&ResourceKey> = bindings.filter(is_only_there).collect();
    if alone.is_empty() {
        return Ok(());
    }
    let detail = format!("served in region {} only: {}", key.name, listed(alone.into_iter(), NAMED));
    Err(Problem::new(ProblemName::Conflict, detail).at(key.to_string()).remedy(
        "serve these Bindings in another region first, or say with force why they may lose their clients",
    ))
}
