//! One gateway as the freshest report tells it.

use std::collections::BTreeMap;

use hanse_management::Revision;
use hanse_state::{
    port::{AgentStatus, GatewayStatus, Quarantined},
    projection,
};
use hanse_topology::Name;

use super::{SILENT_MS, seconds};

/// A gateway and the agent that reported it last.
pub(crate) struct GatewayView<'a> {
    pub(crate) gateway: &'a GatewayStatus,
    pub(crate) agent: &'a AgentStatus,
}

/// Every gateway once, in order of region and name. A gateway that moved from one agent to another, or an agent that
/// moved from one control node to another, is reported twice for a while: what was heard last counts.
pub(crate) fn gateways(agents: &[AgentStatus]) -> Vec<GatewayView<'_>> {
    let mut freshest: BTreeMap<(&Name, &str), GatewayView<'_>> = BTreeMap::new();
    for agent in agents {
        for gateway in &agent.gateways {
            let key = (&gateway.region, gateway.name.as_str());
            let known = freshest.get(&key);
            if known.is_none_or(|known| gateway.heard_ms_ago < known.gateway.heard_ms_ago) {
                freshest.insert(key, GatewayView { gateway, agent });
            }
        }
    }
    freshest.into_values().collect()
}

/// Why a gateway that has a revision does not serve all of it. `is_seen`: the caller may see the resource.
pub(super) fn cannot_use(quarantined: &Quarantined, is_seen: bool) -> String {
    if !is_seen {
        return "cannot use a resource of another organization".to_owned();
    }
    let named = match projection::source(&quarantined.key) {
        Some(source) => format!("{} {}", source.kind, source.name),
        None => quarantined.key.clone(),
    };
    let instead = match quarantined.last_good {
        true => "goes on with the version before",
        false => "has no earlier version that it could use",
    };
    format!("cannot use {named}: {} {}; {instead}", quarantined.field, quarantined.reason)
}

impl GatewayView<'_> {
    /// Why it does not serve what it should: the nearest cause first.
    pub(super) fn reason(&self, effective: Option<Revision>) -> String {
        let mut causes = Vec::new();
        if !self.agent.connected {
            causes.push(format!("its agent {} is not connected", self.agent.name));
        } else if !self.gateway.connected {
            causes.push(format!("not connected to its agent {}", self.agent.name));
        }
        if self.gateway.heard_ms_ago >= SILENT_MS {
            causes.push(format!("not heard from for {}", seconds(self.gateway.heard_ms_ago)));
        }
        causes.push(match effective {
            Some(revision) => format!("serves revision {revision}"),
            None => "serves nothing of this environment yet".to_owned(),
        });
        causes.join("; ")
    }
}
