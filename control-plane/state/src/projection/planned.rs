//! What a FailoverPlan moves, as gateways know it.

use std::collections::BTreeSet;

use hanse_management::{Kind, ResourceKey};
use hanse_runtime::HostPattern;
use hanse_topology::Name;

use super::runtime::made_by;
use crate::State;

/// What a FailoverPlan moves, as the gateways of one region know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The plan's regions, the active one first.
    pub regions: Vec<Name>,
    /// The Environment of its hosts.
    pub environment: Name,
    hosts: Vec<HostPattern>,
    keys: BTreeSet<String>,
}

impl Planned {
    /// Whether requests for a Route of the plan's Environment with this host pattern may be for the plan's hosts. Traffic has patterns and
    /// no hosts, so a pattern counts whole: `*.example.com` and `*`, which is any host, for `orders.example.com`.
    pub fn may_have(&self, pattern: &str) -> bool {
        let pattern = match pattern {
            "*" => Some(HostPattern::Any),
            text => HostPattern::parse(text),
        };
        pattern.is_some_and(|pattern| self.serves(&pattern))
    }

    /// Whether a Binding that serves the plan's hosts makes the runtime resource of this key: its Route or its Upstream.
    pub fn makes(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    fn serves(&self, pattern: &HostPattern) -> bool {
        self.hosts.iter().any(|host| pattern.covers(host))
    }
}

/// What the FailoverPlan moves, with the keys that `region` has of it. `None`: there is no such plan, or it has no hosts.
pub fn planned(state: &State, plan: &Name, region: &Name) -> Option<Planned> {
    let spec = state.failover_plan(plan)?;
    let hosts: Vec<_> = spec.hosts.iter().filter_map(|host| state.global_host(host)).collect();
    let environment = hosts.first()?.environment.clone();
    let mut planned = Planned {
        regions: spec.regions().cloned().collect(),
        hosts: hosts.iter().filter_map(|host| HostPattern::parse(&host.host)).collect(),
        keys: BTreeSet::new(),
        environment,
    };
    let of = ResourceKey::global(Kind::Environment, planned.environment.clone());
    for binding in state.referrers_of_kind(&of, Kind::Binding).filter_map(|key| state.get(key)) {
        let Some((patterns, keys)) = made_by(state, binding, region) else { continue };
        let patterns: Vec<_> = patterns.iter().filter_map(|text| HostPattern::parse(text)).collect();
        if patterns.is_empty() || patterns.iter().any(|pattern| planned.serves(pattern)) {
            planned.keys.extend(keys);
        }
    }
    Some(planned)
}
