//! The Shifts of `runtime/REGION/ENVIRONMENT`: which hosts the region does not serve, and which regions do.
//!
//! There are some in Environments with `tunnel` only. A GlobalHost of a FailoverPlan places its Shift in the scopes of the regions that no
//! client of it is led to; a Drain places one of every host in the scopes of its region. Where nobody else serves there is none, and
//! requests stay where they came.
//!
//! Each Shift has the epoch of all zones in it, so of two Shifts the one with the later epoch was made of a later state: an exit of the
//! tunnel compares the entry's with its own. The cost: each command that touches a resource of [`STEERING`](crate::state::STEERING)
//! changes every Shift, of 20 to 100 bytes.

use std::collections::BTreeSet;

use bytes::Bytes;
use hanse_management::{Kind, ResourceKey, Spec};
use hanse_proto::runtime::{EveryHost, shift::Of};
use hanse_topology::{Name, ScopeId, is_brought_back};

use super::{
    dns, encode,
    kind::{Anchor, Placed, Placement, Touched, Unit},
    serial,
};
use crate::State;

/// Begins the name of a Drain's Shift in its key. No host has a name with a `/`.
const OF_DRAIN: &str = "shift/drain/";

/// The key of the Shift that a GlobalHost or a Drain makes.
pub(super) fn key(source: &ResourceKey) -> String {
    match source.kind {
        Kind::Drain => format!("{OF_DRAIN}{}", source.name),
        _global_host => format!("shift/{}", source.name),
    }
}

/// What the Shift at `key` was made from, with its name; `None`: it is no key of a Shift.
pub(super) fn source(key: &str) -> Option<(Kind, &str)> {
    let drain = key.strip_prefix(OF_DRAIN).map(|region| (Kind::Drain, region));
    drain.or_else(|| key.strip_prefix("shift/").map(|host| (Kind::GlobalHost, host)))
}

/// All Shifts that there were or are.
pub(super) fn touch(touched: &mut Touched<'_>) {
    let states = [touched.before, touched.after];
    let makers: BTreeSet<ResourceKey> = states.into_iter().flat_map(makers).collect();
    for maker in makers {
        let [was, is] = states.map(|state| !place(state, &maker).is_empty());
        if is || (was && !is_brought_back("keep-shift")) {
            touched.placer(&maker);
            touched.unit(Unit::of(maker));
        }
    }
}

/// What may make a Shift: the hosts of FailoverPlans, and Drains.
fn makers(state: &State) -> impl Iterator<Item = ResourceKey> + '_ {
    let plans = state.list(Kind::FailoverPlan, None).filter_map(|plan| match &plan.spec {
        Spec::FailoverPlan(spec) => Some(spec),
        _other_kind => None,
    });
    let hosts = plans.flat_map(|plan| &plan.hosts).cloned();
    let hosts = hosts.map(|host| ResourceKey::global(Kind::GlobalHost, host));
    hosts.chain(state.list(Kind::Drain, None).map(|drain| drain.key.clone()))
}

/// Where the Shift of a GlobalHost or a Drain is.
pub(super) fn place(state: &State, maker: &ResourceKey) -> Placement {
    let scopes: Vec<ScopeId> = match maker.kind {
        Kind::Drain => {
            let region = ResourceKey::global(Kind::Region, maker.name.clone());
            let environments = state.referrers_of_kind(&region, Kind::Environment);
            let is_left = |environment: &&ResourceKey| drained(state, maker, &environment.name).is_some();
            environments
                .filter(is_left)
                .map(|environment| ScopeId::runtime(maker.name.clone(), environment.name.clone()))
                .collect()
        }
        _global_host => {
            let Some(Moved { environment, idle, .. }) = moved(state, &maker.name) else {
                return Placement::new();
            };
            idle.into_iter().map(|region| ScopeId::runtime(region, environment.clone())).collect()
        }
    };
    if scopes.is_empty() {
        return Placement::new();
    }
    vec![Placed { anchors: vec![Anchor::Unit(Unit::of(maker.clone()))], scopes }]
}

/// The Shift of a GlobalHost or a Drain in a scope where it is.
pub(super) fn encode(state: &State, maker: &ResourceKey, scope: &ScopeId) -> Option<Bytes> {
    let (of, regions) = match maker.kind {
        Kind::Drain => (Of::EveryHost(EveryHost {}), drained(state, maker, scope.environment()?)?),
        _global_host => {
            let host = state.global_host(&maker.name)?.host.clone();
            (Of::Host(host), moved(state, &maker.name)?.serving)
        }
    };
    Some(encode::shift(of, &regions, serial::epoch(state)))
}

/// Of a host whose clients are not led to some regions.
struct Moved<'s> {
    environment: &'s Name,
    /// At least one.
    serving: Vec<Name>,
    idle: Vec<Name>,
}

/// Of a host in a FailoverPlan. A host in none is served in every region that is not drained, as the Shift of the Drain says.
fn moved<'s>(state: &'s State, host: &Name) -> Option<Moved<'s>> {
    let plan = state.plan_of(host)?;
    let environment = &state.global_host(host)?.environment;
    let serves = |region: &Name| dns::share(state, Some(&plan), region).percent() > 0;
    let (serving, idle): (Vec<Name>, _) = tunnelled(state, environment)?.into_iter().partition(serves);
    (!serving.is_empty()).then_some(Moved { environment, serving, idle })
}

/// The regions of an Environment that serve in place of a drained one of it.
fn drained(state: &State, drain: &ResourceKey, environment: &Name) -> Option<Vec<Name>> {
    let regions = tunnelled(state, environment)?;
    let is_there = regions.contains(&drain.name) && state.is_drained(&drain.name);
    let open: Vec<Name> = regions.into_iter().filter(|region| !state.is_drained(region)).collect();
    (is_there && !open.is_empty()).then_some(open)
}

/// The regions of an Environment with `tunnel`.
fn tunnelled(state: &State, environment: &Name) -> Option<Vec<Name>> {
    let has_tunnel = state.environment(environment)?.tunnel;
    has_tunnel.then(|| state.regions_of_environment(environment))
}
