//! What an agent that may learn some environments only hears of its region.

use hanse_proto::{
    nested,
    sync::{AgentLive, GatewayLive, Serving, Traffic},
};
use hanse_topology::{Name, ScopeId};

/// The environments that an agent may learn; none: all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit<'a>(pub(super) &'a [String]);

impl Limit<'_> {
    fn lets_through(&self, environment: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|own| own == environment)
    }

    /// An agent with those of its gateways that serve an environment that may be learnt. Of what they serve, nothing else is said.
    pub(super) fn agent(&self, agent: &AgentLive) -> AgentLive {
        if self.0.is_empty() {
            return agent.clone();
        }
        let gateways = agent.gateways.iter().filter_map(|gateway| self.gateway(gateway)).collect();
        AgentLive { name: agent.name.clone(), live: agent.live, gateways, left_out: 0 }
    }

    /// A field of a later release may name an environment. So only fields that are known here are passed on.
    fn gateway(&self, gateway: &GatewayLive) -> Option<GatewayLive> {
        let Serving { mut scopes, urls, internal_urls, not_ready, ready, tunnels, .. } =
            nested::read("serving", &gateway.serving).ok()?;
        self.scopes(&mut scopes);
        // The reason may name a scope.
        let not_ready = if not_ready.is_empty() { "" } else { "not ready" }.to_owned();
        if scopes.is_empty() {
            return None;
        }
        let scopes_total = scopes.len() as u64;
        let serving = Serving { scopes, scopes_total, urls, not_ready, ready, tunnels, internal_urls };
        Some(GatewayLive {
            name: gateway.name.clone(),
            live: gateway.live,
            serving: nested::to_bytes(&serving),
        })
    }

    /// Leaves scopes of environments that may be learnt.
    pub(super) fn scopes(&self, scopes: &mut Vec<String>) {
        scopes.retain(|scope| {
            let scope = scope.parse::<ScopeId>().ok();
            let environment = scope.as_ref().and_then(|scope| scope.environment().map(Name::as_str));
            environment.is_some_and(|environment| self.lets_through(environment))
        });
    }

    /// The rows of environments that may be learnt.
    pub(super) fn traffic(&self, traffic: &Traffic) -> Traffic {
        let rows = traffic.rows.iter().filter(|row| self.lets_through(&row.environment));
        Traffic { rows: rows.cloned().collect() }
    }
}
