//! `dns/REGION`: what the DNS responders of a region answer with.
//!
//! A DnsZone places itself, and its GlobalHosts with it, in the scopes of the regions that it selects. The same bytes are in all of
//! them. A GlobalHost has a candidate for each region of its Environment.
//!
//! Each zone has the epoch of the state in it, so each command that touches a resource of [`STEERING`] changes every zone, and of the
//! hosts only those that it reaches. The cost: one key for each zone in each of its regions, of 100 to 200 bytes,
//! and more where it has many name servers and secondaries.

use bytes::Bytes;
use hanse_management::{
    Kind, ResourceKey, Spec,
    kinds::{DnsZoneSpec, GlobalHostSpec},
};
use hanse_topology::{Name, ScopeId};

use super::{
    Reveal,
    encode::{self, Share},
    kind::{Anchor, Placed, Placement, ScopeKind, Touched, Unit, Variant},
    serial,
};
use crate::{State, state::STEERING};

/// The kind of [`ScopeId::Dns`].
pub(super) struct Dns;

impl ScopeKind for Dns {
    fn touch(&self, key: &ResourceKey, touched: &mut Touched<'_>) {
        if !STEERING.contains(&key.kind) {
            return;
        }
        for zone in touched.after.list(Kind::DnsZone, None) {
            touched.unit(Unit::of(zone.key.clone()));
        }
        match key.kind {
            Kind::DnsZone => {
                touched.unit(Unit::of(key.clone()));
                touched.placer(key);
            }
            Kind::GlobalHost => touched.unit(Unit::of(key.clone())),
            Kind::Environment => touch_hosts(key, touched),
            Kind::Region => {
                for zone in touched.after.list(Kind::DnsZone, None) {
                    touched.placer(&zone.key);
                }
                touch_region(&key.name, touched);
            }
            Kind::Drain => touch_region(&key.name, touched),
            Kind::FailoverPlan | Kind::Failover => touch_plan(&key.name, touched),
            // Not one of STEERING.
            _of_no_answer => {}
        }
    }

    fn placement(&self, state: &State, placer: &ResourceKey) -> Placement {
        let Some(zone) = zone(state, placer) else { return Placement::new() };
        let regions = state.list(Kind::Region, None);
        let regions = regions.filter(|region| zone.is_in(&region.key.name, &region.metadata.labels));
        let scopes = regions.map(|region| ScopeId::Dns { region: region.key.name.clone() }).collect();
        let anchors = vec![Anchor::Unit(Unit::of(placer.clone())), Anchor::Group(placer.clone())];
        vec![Placed { anchors, scopes }]
    }

    fn placers<'a>(
        &self,
        _state: &'a State,
        anchor: &'a Anchor,
    ) -> Box<dyn Iterator<Item = ResourceKey> + 'a> {
        let (Anchor::Unit(Unit { resource: zone, .. }) | Anchor::Group(zone)) = anchor;
        Box::new(std::iter::once(zone.clone()))
    }

    fn anchor(&self, state: &State, unit: &Unit) -> Option<Anchor> {
        match unit.resource.kind {
            Kind::GlobalHost => Some(Anchor::Group(zone_of(host(state, &unit.resource)?))),
            _zone => Some(Anchor::Unit(unit.clone())),
        }
    }

    fn followers(&self, state: &State, zone: &ResourceKey) -> Vec<Unit> {
        state.referrers_of_kind(zone, Kind::GlobalHost).cloned().map(Unit::of).collect()
    }

    fn key(&self, unit: &Unit) -> String {
        match unit.resource.kind {
            Kind::GlobalHost => format!("host/{}", unit.resource.name),
            _zone => format!("zone/{}", unit.resource.name),
        }
    }

    fn variant(&self, _state: &State, _unit: &Unit, _scope: &ScopeId) -> Variant {
        Variant::new()
    }

    fn encode(&self, state: &State, unit: &Unit, _scope: &ScopeId, _reveal: &dyn Reveal) -> Option<Bytes> {
        let key = &unit.resource;
        match key.kind {
            Kind::GlobalHost => {
                let host = host(state, key)?;
                Some(encode::global_host(&key.name, host, candidates(state, &key.name, host)?))
            }
            _zone => Some(encode::zone(&key.name, zone(state, key)?, serial::epoch(state))),
        }
    }

    fn source(&self, prefix: &str) -> Option<Kind> {
        match prefix {
            "zone" => Some(Kind::DnsZone),
            "host" => Some(Kind::GlobalHost),
            _of_other_scopes => None,
        }
    }
}

fn zone<'s>(state: &'s State, key: &ResourceKey) -> Option<&'s DnsZoneSpec> {
    if let Spec::DnsZone(spec) = &state.get(key)?.spec { Some(spec) } else { None }
}

fn host<'s>(state: &'s State, key: &ResourceKey) -> Option<&'s GlobalHostSpec> {
    if let Spec::GlobalHost(spec) = &state.get(key)?.spec { Some(spec) } else { None }
}

fn zone_of(host: &GlobalHostSpec) -> ResourceKey {
    ResourceKey::global(Kind::DnsZone, host.zone.clone())
}

/// The hosts of an Environment. One that named it and no longer does has changed itself.
fn touch_hosts(environment: &ResourceKey, touched: &mut Touched<'_>) {
    for host in touched.after.referrers_of_kind(environment, Kind::GlobalHost) {
        touched.unit(Unit::of(host.clone()));
    }
}

/// The hosts that have a candidate in a region. An Environment that listed it and no longer does has changed itself.
fn touch_region(region: &Name, touched: &mut Touched<'_>) {
    let region = ResourceKey::global(Kind::Region, region.clone());
    for environment in touched.after.referrers_of_kind(&region, Kind::Environment) {
        touch_hosts(environment, touched);
    }
}

/// The hosts that a plan has, and those that it had.
fn touch_plan(plan: &Name, touched: &mut Touched<'_>) {
    let plans = [touched.before.failover_plan(plan), touched.after.failover_plan(plan)];
    for host in plans.into_iter().flatten().flat_map(|plan| &plan.hosts) {
        touched.unit(Unit::of(ResourceKey::global(Kind::GlobalHost, host.clone())));
    }
}

/// One for each region of the host's Environment, in the order of their names.
fn candidates(state: &State, name: &Name, host: &GlobalHostSpec) -> Option<Vec<encode::Candidate>> {
    let environment = state.environment(&host.environment)?;
    let mut regions: Vec<&Name> = environment.regions.iter().collect();
    regions.sort();
    regions.dedup();
    let plan = state.plan_of(name);
    let candidate = |region: &Name| {
        let share = share(state, plan.as_ref(), region);
        let addresses = environment.addresses.get(region).map(Vec::as_slice).unwrap_or_default();
        let location = match &state.get(&ResourceKey::global(Kind::Region, region.clone()))?.spec {
            Spec::Region(region) => region.location.as_ref(),
            _other_kind => None,
        };
        Some(encode::candidate(region, &share, addresses, location))
    };
    Some(regions.into_iter().filter_map(candidate).collect())
}

/// What was decided about a region, for the hosts of a plan or of none. A Drain stands above all plans.
pub(super) fn share<'s>(state: &'s State, plan: Option<&'s Name>, region: &Name) -> Share<'s> {
    if let Some(drain) = state.drain(region) {
        return Share::Drained(drain);
    }
    let Some((plan, spec)) = plan.and_then(|plan| Some((plan, state.failover_plan(plan)?))) else {
        return Share::Whole;
    };
    match state.failover(plan) {
        Some(failover) => {
            let serving = failover.serving.iter().find(|serving| serving.region == *region);
            Share::Decided { plan, failover, percent: serving.map_or(0, |serving| serving.percent) }
        }
        None if spec.active == *region => Share::Whole,
        None => Share::Standby { plan, active: &spec.active },
    }
}
