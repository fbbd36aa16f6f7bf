//! What must hold between the resources that say where clients are sent: DnsZones, GlobalHosts, FailoverPlans, Failovers and Drains.
//!
//! All of it holds of every state, but for two rules about a change. A Drain is judged when it is made by the Bindings that it leaves
//! without clients. And no manifest moves clients: a host that a plan has keeps the shares of its regions.

use std::collections::{BTreeMap, BTreeSet};

use hanse_management::{
    Duration, Kind, Problem, ProblemName, ResourceKey, Spec,
    kinds::{FailoverPlanSpec, GlobalHostSpec, ProbeSpec, Step},
};
use hanse_steering::{Decided, Epoch};
use hanse_topology::{Name, WHOLE_PERCENT};

use super::Verdict;
use crate::{
    Resource, State, decision,
    listed::listed,
    state::{without_address, without_family},
};

/// How many GlobalHosts a zone may have. A DNS server keeps all of them in memory, and a transfer carries all of them.
pub(crate) const MAX_HOSTS: usize = 512;
/// How many zones there may be. Each one is compared with all others, and the DNS servers of a region have all of its zones in memory.
pub(crate) const MAX_ZONES: usize = 64;
/// How many times the TTL a drill holds each way: resolvers have asked anew by then, also those that stretch a TTL.
const HOLD_TTLS: u64 = 3;
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
        Kind::Failover => check_decision(next, key, restored),
        Kind::Drain if !restored => check_drain(next, key),
        // Other kinds are judged by the hosts and the plans that they reach.
        _other => Ok(()),
    })?;
    reached.zones.iter().try_for_each(|zone| check_responders(next, zone))?;
    reached.hosts.iter().try_for_each(|host| check_host(next, host, touched))?;
    reached.plans.iter().try_for_each(|plan| check_plan(next, plan, touched))?;
    let had_plan = touched.iter().flat_map(|key| planned(before, key)).collect::<BTreeSet<Name>>();
    had_plan.iter().try_for_each(|host| check_shares(before, next, host, touched))
}

/// The DnsZones, GlobalHosts and FailoverPlans that a change reaches.
#[derive(Default)]
struct Reached {
    zones: BTreeSet<Name>,
    hosts: BTreeSet<Name>,
    plans: BTreeSet<Name>,
}

impl Reached {
    fn by(next: &State, touched: &BTreeSet<ResourceKey>) -> Self {
        let mut reached = Self::default();
        for key in touched {
            match key.kind {
                Kind::GlobalHost => {
                    reached.hosts.insert(key.name.clone());
                    reached.zones.extend(next.global_host(&key.name).map(|host| host.zone.clone()));
                }
                Kind::Region => {
                    reached.zones.extend(next.list(Kind::DnsZone, None).map(|zone| zone.key.name.clone()));
                }
                Kind::DnsZone => {
                    reached.zones.insert(key.name.clone());
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
    let count = next.list(Kind::DnsZone, None).count();
    if count > MAX_ZONES {
        let detail = format!("there would be {count} DnsZones, more than {MAX_ZONES}");
        return Err(Problem::new(ProblemName::TooLarge, detail)
            .at(key.to_string())
            .remedy("keep more hosts in one zone"));
    }
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

/// A zone that has hosts is in a region, and so is each region that publishes it.
fn check_responders(next: &State, name: &Name) -> Verdict {
    let Some(zone) = next.dns_zone(name) else { return Ok(()) };
    let key = ResourceKey::global(Kind::DnsZone, name.clone());
    let is_in = |region: &Resource| zone.is_in(&region.key.name, &region.metadata.labels);
    let is_used = || next.referrers_of_kind(&key, Kind::GlobalHost).next().is_some();
    if !next.list(Kind::Region, None).any(|region| is_in(region)) && is_used() {
        let detail = "it picks no Region, so nobody would answer for its hosts".to_owned();
        let remedy = "name a Region, give one the labels, or leave `regions` out for all of them".to_owned();
        return refused(&key, "spec.regions", detail, remedy);
    }
    let from = zone.publish.iter().flat_map(|publish| publish.from.iter().enumerate());
    for (at, region) in from {
        let found = next.get(&ResourceKey::global(Kind::Region, region.clone()));
        if found.is_some_and(|region| !is_in(region)) {
            let detail = format!("Region {region} does not have the zone, so it would publish nothing");
            let remedy = format!("pick {region} in `regions`, or name another one");
            return refused(&key, &format!("spec.publish.from[{at}]"), detail, remedy);
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
    if let Some(at) = zone.name_servers.iter().position(|server| server.name == host.host) {
        let detail =
            format!("it is the name of a name server: spec.nameServers[{at}] of DnsZone {}", host.zone);
        let remedy = "choose another name: that one has the addresses of the name server".to_owned();
        return refused(&key, "spec.host", detail, remedy);
    }
    let in_environment = &host.environment;
    if environment.regions.is_empty() {
        let detail = format!("Environment {in_environment} is in no region, and every answer needs one");
        return refused(&key, "spec.environment", detail, "add a region to its `regions` first".to_owned());
    }
    let regions: BTreeSet<&Name> = environment.regions.iter().collect();
    if let Some((field, region)) = host.regions().find(|(_, region)| !regions.contains(region)) {
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
    if let Some((region, family)) = without_family(environment).first().filter(|_| zone.is_copied()) {
        let detail = format!(
            "addresses-required: Environment {in_environment} has no {family} address for {region}, and other regions have one: {family} \
             clients would find no address there"
        );
        let remedy = format!("give {region} one, or take the {family} addresses of all regions out");
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
    let decided = plan.as_ref().map(|plan| next.shares_of(plan).into_keys().collect::<Vec<Name>>());
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
    check_probe(&key, plan, &hosts().map(|(_, spec)| &*spec.host).collect())?;
    check_limit(&key, plan, hosts().map(|(_, spec)| spec.ttl).max())
}

/// A drill that moves as planned, and holds until resolvers have asked again, ends before it is taken back.
fn check_limit(key: &ResourceKey, plan: &FailoverPlanSpec, ttl: Option<Duration>) -> Verdict {
    let Some(ttl) = ttl.filter(|_| plan.probe.is_some()) else { return Ok(()) };
    let between = plan.steps.len().saturating_sub(1) as u64 * plan.step_every.as_millis();
    // There and back.
    let shortest = Duration::from_millis(2 * (between + HOLD_TTLS * ttl.as_millis()));
    let limit = plan.guard.limit;
    if shortest <= limit {
        return Ok(());
    }
    let detail = format!(
        "{limit} is less than the {shortest} that a drill takes: {} steps with {} between them, and {HOLD_TTLS} times the longest `ttl` \
         of its hosts, {ttl}, there and back",
        plan.steps.len(),
        plan.step_every
    );
    refused(
        key,
        "spec.guard.limit",
        detail,
        "raise it, or shorten `stepEvery` or the `ttl` of the hosts".to_owned(),
    )
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
    let decision = ResourceKey::global(Kind::Failover, key.name.clone());
    let is_of_plan = |region: &Name| plan.regions().any(|own| own == region);
    let Some((at, one)) = failover.serving.iter().enumerate().find(|(_, one)| !is_of_plan(&one.region))
    else {
        return Ok(());
    };
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

/// A Failover is one that the code of failovers could have made, and the Drill that decided it is there.
/// In a dump, a Drill may come in a later part.
fn check_decision(next: &State, key: &ResourceKey, restored: bool) -> Verdict {
    let Some(failover) = next.failover(&key.name) else { return Ok(()) };
    if let Err(error) = Decided::new(Epoch::NONE, decision::of_spec(failover)) {
        let remedy = "restore the dump as it was written; failovers are decided by commands";
        return refused(key, "spec", error.to_string(), remedy.to_owned());
    }
    let Some(drill) = failover.drill.as_ref().filter(|drill| !restored && next.drill(drill).is_none()) else {
        return Ok(());
    };
    let detail = format!("Drill {drill} does not exist");
    refused(key, "spec.drill", detail, "name one that is there, or leave it out".to_owned())
}

/// A drill asks for a host of the plan.
fn check_probe(key: &ResourceKey, plan: &FailoverPlanSpec, hosts: &BTreeSet<&str>) -> Verdict {
    let Some(host) = plan.probe.as_ref().map(ProbeSpec::host).filter(|host| !hosts.contains(host)) else {
        return Ok(());
    };
    let detail = format!("{host:?} is the host of no GlobalHost of the plan");
    refused(key, "spec.probe.url", detail, format!("ask for one of {}", listed(hosts.iter(), NAMED)))
}

/// The hosts that a plan had, of those that a change may have moved.
fn planned(before: &State, key: &ResourceKey) -> Vec<Name> {
    match key.kind {
        Kind::FailoverPlan | Kind::Failover => {
            before.failover_plan(&key.name).map(|plan| plan.hosts.clone()).unwrap_or_default()
        }
        Kind::GlobalHost => before.plan_of(&key.name).map(|_plan| key.name.clone()).into_iter().collect(),
        // The plan decides alone. The regions of the Environment do not count, beyond having those of the plan.
        _other => Vec::new(),
    }
}

/// No manifest moves clients. A host that a plan has keeps the shares of its regions while it is there, unless its Failover is another one.
fn check_shares(before: &State, next: &State, host: &Name, touched: &BTreeSet<ResourceKey>) -> Verdict {
    let (Some(plan), Some(spec)) = (before.plan_of(host), next.global_host(host)) else { return Ok(()) };
    let now_of = next.plan_of(host);
    let is_same = now_of.as_ref() == Some(&plan);
    let decision = ResourceKey::global(Kind::Failover, plan.clone());
    if is_same && touched.contains(&decision) && next.get(&decision).is_some() {
        return Ok(());
    }
    let was = before.shares_of(&plan);
    let is = now_of
        .as_ref()
        .map_or_else(|| shares_without_plan(next, &spec.environment), |plan| next.shares_of(plan));
    if was == is {
        return Ok(());
    }
    let key = ResourceKey::global(Kind::FailoverPlan, plan);
    let detail = format!(
        "no manifest moves clients: {key} has GlobalHost {host} in {}, and this would lead its clients to {}",
        shown(&was),
        shown(&is)
    );
    let (at, remedy) = match is_same {
        true => ("spec.active", format!("lead them there with a failover of {key} first")),
        false => (
            "spec.hosts",
            "give the host to another plan that has it in the same regions, in the same request; or fail it over and drain the \
             other regions first"
                .to_owned(),
        ),
    };
    Err(Problem::new(ProblemName::Conflict, detail).at(format!("{key}: {at}")).remedy(remedy))
}

/// Without a plan, all regions of the Environment that are not drained serve. One alone has all clients; of several no decision
/// says what each one has, so they are told with no percent.
fn shares_without_plan(next: &State, environment: &Name) -> BTreeMap<Name, u8> {
    let regions = next.environment(environment).map(|found| found.regions.as_slice()).unwrap_or_default();
    let serving: Vec<&Name> = regions.iter().filter(|region| !next.is_drained(region)).collect();
    let percent = if serving.len() == 1 { WHOLE_PERCENT } else { 0 };
    serving.into_iter().map(|region| (region.clone(), percent)).collect()
}

fn shown(shares: &BTreeMap<Name, u8>) -> String {
    let shown = shares.iter().map(|(region, percent)| match percent {
        0 => region.to_string(),
        percent => format!("{region} ({percent}%)"),
    });
    listed(shown.collect::<Vec<_>>().iter(), NAMED)
}

/// Without force, a Drain leaves no Binding without clients: one whose other regions are drained, too.
fn check_drain(next: &State, key: &ResourceKey) -> Verdict {
    let Some(Spec::Drain(drain)) = next.get(key).map(|drain| &drain.spec) else { return Ok(()) };
    if drain.forced.is_some() {
        return Ok(());
    }
    let region = ResourceKey::global(Kind::Region, key.name.clone());
    let environments = next.referrers_of_kind(&region, Kind::Environment);
    let bindings = environments.flat_map(|environment| next.referrers_of_kind(environment, Kind::Binding));
    let is_left = |binding: &&ResourceKey| {
        next.get(binding).is_some_and(|binding| {
            let regions = next.regions_of(binding);
            regions.contains(&key.name) && regions.iter().all(|region| next.is_drained(region))
        })
    };
    let alone: Vec<&ResourceKey> = bindings.filter(is_left).collect();
    if alone.is_empty() {
        return Ok(());
    }
    let detail = format!(
        "served in no region but {} that is not drained: {}",
        key.name,
        listed(alone.into_iter(), NAMED)
    );
    Err(Problem::new(ProblemName::Conflict, detail).at(key.to_string()).remedy(
        "serve these Bindings in another region first, or say with force why they may lose their clients",
    ))
}
