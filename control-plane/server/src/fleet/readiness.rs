//! What is known of a region that may take over the hosts of a FailoverPlan: pure.
//!
//! All inputs but the capacity are as the region's newest report says. A gateway counts that had a lease then; agents and gateways
//! that were silent before count no more. The age is that of the oldest word that counts.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use hanse_management::{Kind, ResourceKey, Revision, Spec};
use hanse_proto::{
    nested,
    sync::{Serving, TrafficRow},
};
use hanse_state::{
    State,
    port::{AgentStatus, Facts, GatewayStatus, ScopeStatus},
    projection::{Planned, planned},
};
use hanse_steering::{Capacity, Heard, Standby, Sync};
use hanse_topology::{LEASE, Name, ScopeId};

use super::loads::Loads;

/// What is remembered of the fleet.
pub(super) struct Known<'a> {
    /// Agents and their gateways, with ages as of now and revisions of the present history.
    pub(super) agents: &'a [AgentStatus],
    /// Their traffic.
    pub(super) loads: &'a Loads,
    /// The last revision that changed a scope; `None`: there is no such scope here yet.
    pub(super) newest: &'a dyn Fn(&ScopeId) -> Option<Revision>,
}

/// What is known of each region of a plan, in the order of the plan. Empty: there is no such plan.
pub(super) fn standbys(state: &State, known: &Known<'_>, plan: &Name, now: Instant) -> Vec<Standby> {
    let key = ResourceKey::global(Kind::FailoverPlan, plan.clone());
    let Some(Spec::FailoverPlan(spec)) = state.get(&key).map(|plan| &plan.spec) else { return Vec::new() };
    spec.regions().filter_map(|region| readiness_inputs(state, known, plan, region, now)).collect()
}

/// What is known of one region for a plan. `None`: there is no such plan.
fn readiness_inputs(
    state: &State,
    known: &Known<'_>,
    plan: &Name,
    region: &Name,
    now: Instant,
) -> Option<Standby> {
    let planned = planned(state, plan, region)?;
    let heard = Fresh::of(known.agents, region);
    let scope = ScopeId::runtime(region.clone(), planned.environment.clone());
    let serving = heard.as_ref().map(|heard| heard.serving(&scope));
    Some(Standby {
        plan: plan.clone(),
        region: region.clone(),
        sync: serving.as_ref().and_then(|serving| serving.sync((known.newest)(&scope)?)),
        certificates: heard.as_ref().and_then(Fresh::certificates),
        quarantined: serving.as_ref().map(|serving| serving.quarantined(&planned)),
        ready_gateways: serving.as_ref().map(Serves::ready),
        capacity: capacity(state, known.loads, &planned, region, now),
    })
}

/// What counts of a region.
struct Fresh<'a> {
    agents: Vec<&'a AgentStatus>,
    gateways: Vec<&'a GatewayStatus>,
    /// Milliseconds since any of its agents was heard.
    newest_ms: u64,
}

impl<'a> Fresh<'a> {
    /// `None`: none of its agents was heard.
    fn of(agents: &'a [AgentStatus], region: &Name) -> Option<Self> {
        let agents: Vec<_> = agents.iter().filter(|agent| agent.region == *region).collect();
        let newest_ms = agents.iter().map(|agent| agent.heard_ms_ago).min()?;
        let has_lease =
            |heard_ms_ago: u64| u128::from(heard_ms_ago - newest_ms.min(heard_ms_ago)) < LEASE.as_millis();
        let gateways = agents.iter().flat_map(|agent| &agent.gateways);
        Some(Self {
            gateways: gateways.filter(|gateway| has_lease(gateway.heard_ms_ago)).collect(),
            agents: agents.into_iter().filter(|agent| has_lease(agent.heard_ms_ago)).collect(),
            newest_ms,
        })
    }

    /// When the first certificate ends. `None`: one of them does not say.
    fn certificates(&self) -> Option<Heard<Duration>> {
        let end = |seconds: u64| (seconds > 0).then_some(Duration::from_secs(seconds));
        let own = |facts: &Facts| end(facts.certificate_expires);
        let of_agent =
            |agent: &&AgentStatus| Some(own(&agent.facts)?.min(end(agent.facts.authority_expires)?));
        let ends = self.agents.iter().map(of_agent);
        let ends = ends.chain(self.gateways.iter().map(|gateway| own(&gateway.facts)));
        let value = ends.collect::<Option<Vec<_>>>()?.into_iter().min()?;
        let heard = self.agents.iter().map(|agent| agent.heard_ms_ago);
        let age = age(heard.chain(self.gateways.iter().map(|gateway| gateway.heard_ms_ago)), self.newest_ms);
        Some(Heard { value, age })
    }

    /// The gateways of one Environment.
    fn serving(&self, scope: &ScopeId) -> Serves<'a> {
        let with_scope = |gateway: &&'a GatewayStatus| {
            Some((*gateway, gateway.scopes.iter().find(|status| status.scope == *scope)?))
        };
        let gateways: Vec<_> = self.gateways.iter().filter_map(with_scope).collect();
        let heard = gateways.iter().map(|(gateway, _)| gateway.heard_ms_ago);
        Serves {
            age: age(heard, self.newest_ms),
            left_out: self.agents.iter().any(|agent| agent.facts.left_out > 0),
            gateways,
        }
    }
}

/// The gateways of a region that serve the plan's Environment, and where they stand in its scope.
struct Serves<'a> {
    gateways: Vec<(&'a GatewayStatus, &'a ScopeStatus)>,
    /// An agent has more gateways than its report takes.
    left_out: bool,
    age: Duration,
}

impl Serves<'_> {
    fn heard<T>(&self, value: T) -> Heard<T> {
        Heard { value, age: self.age }
    }

    /// A gateway that uses a revision of another history is behind. `None`: some gateways are not known.
    fn sync(&self, newest: Revision) -> Option<Heard<Sync>> {
        let behind = |status: &ScopeStatus| status.effective.is_none_or(|effective| effective < newest);
        let behind = self.gateways.iter().filter(|(_, status)| behind(status)).count();
        let sync = Sync { gateways: count(self.gateways.len()), behind: count(behind) };
        (!self.left_out).then(|| self.heard(sync))
    }

    /// Those of the plan. Where a gateway does not name all, the rest may be the plan's too.
    fn quarantined(&self, planned: &Planned) -> Heard<Vec<String>> {
        let mut keys = BTreeSet::new();
        for (gateway, status) in &self.gateways {
            let named = status.quarantined.iter().map(|quarantined| &quarantined.key);
            keys.extend(named.filter(|key| planned.makes(key)).cloned());
            let unnamed = status.quarantined_total.saturating_sub(status.quarantined.len() as u64);
            if unnamed > 0 {
                keys.insert(format!("{unnamed} that {} does not name", gateway.name));
            }
        }
        self.heard(keys.into_iter().collect())
    }

    fn ready(&self) -> Heard<u32> {
        let is_ready = |gateway: &GatewayStatus| {
            nested::read::<Serving>("serving", &gateway.facts.serving).is_ok_and(|serving| serving.ready)
        };
        self.heard(count(self.gateways.iter().filter(|(gateway, _)| is_ready(gateway)).count()))
    }
}

/// What the region can carry, and what it would have to. Requests without a host, or without an Environment, are the rest of a Traffic
/// that names no more: they may be the plan's, and count as such.
fn capacity(state: &State, loads: &Loads, planned: &Planned, region: &Name, now: Instant) -> Capacity {
    let key = ResourceKey::global(Kind::Region, region.clone());
    let declared = state.get(&key).and_then(|found| match &found.spec {
        Spec::Region(spec) => spec.capacity,
        _other_kind => None,
    });
    let is_plans = |row: &TrafficRow| {
        let environment = &*row.environment;
        environment.is_empty()
            || environment == planned.environment.as_str()
                && (row.host.is_empty() || planned.may_have(&row.host))
    };
    let own = std::slice::from_ref(region);
    Capacity {
        declared,
        plan: loads.greatest(now, &planned.regions, |_, row| is_plans(row)),
        other: loads.greatest(now, own, |of, row| of == region && !is_plans(row)),
    }
}

/// The greatest of these ages, or the least that the region has.
fn age(heard_ms_ago: impl Iterator<Item = u64>, newest_ms: u64) -> Duration {
    Duration::from_millis(heard_ms_ago.max().unwrap_or(newest_ms))
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
