//! `GET /v1/status`, metrics, and the two probes.

use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use hanse_management::{Kind, Problem, ProblemName};
use hanse_state::{
    Lineage, State,
    port::{
        AgentStatus, FleetReport, GroupStatus, NodeStatus, Published, ResponderStatus, ScopeStatus,
        ZoneServed,
    },
    projection::{self, Source},
};
use hanse_topology::Name;
use http::{HeaderValue, StatusCode, header};
use utoipa_axum::routes;

use crate::{
    answer::{
        self, DuplicateName, FailedHost, LineageParent, LineageStatus, NodeState, PartialReport,
        QuarantinedResource, RegionStatus, ScopePosition, ServedZone, Status,
    },
    approvals::waiting,
    call::Call,
    convergence::{GatewayView, Sees, gateways},
    federation_key::{Has, has},
    openapi::refusal,
    rejection::Rejection,
    routes::Route,
};

/// The role of the control node that leads.
const LEADER: &str = "leader";

/// The routes of this file.
pub(crate) fn routes() -> Vec<Route> {
    vec![routes!(status), routes!(metrics), routes!(livez), routes!(readyz)]
}

/// Control-plane nodes, regions, agents and gateways
///
/// From what this node has: it answers without a quorum too.
#[utoipa::path(get, path = "/v1/status", tag = "federation", extensions(("x-hanse-access" = json!("token"))),
    responses((status = 200, body = Status, description = "The federation at a glance")))]
async fn status(call: Call) -> Result<Response, Rejection> {
    let fleet = call.api.fleet.fleet().await;
    let state = call.current();
    let group = call.api.replicated.group();
    let now_ms = call.api.clock.now_ms();
    let seen = call.clone();
    let write = move || {
        let sees = |source: Option<&Source>| seen.may_read_source(source);
        let proposals = waiting(&seen, &state).count() as u64;
        (state.revision(), Status { proposals, ..all_status(&state, &group, &fleet, now_ms, &sees) })
    };
    Ok(call.answer(StatusCode::OK, write).await?)
}

fn all_status(
    state: &State,
    group: &GroupStatus,
    fleet: &FleetReport,
    now_ms: u64,
    sees: Sees<'_>,
) -> Status {
    // A leader is heard with each heartbeat, however long its agents' reports take to arrive.
    let answers = |node: &NodeStatus| node.role == LEADER || fleet.nodes.contains_key(&node.id);
    let active = state.federation_keys().active().map(|(active, _)| active);
    let lacks = |node: &NodeStatus| active.filter(|active| has(state, fleet, node, *active) == Has::Lacks);
    let node = |node: &NodeStatus| answer::NodeStatus {
        // Said of those only that should have answered and did not: what reports to them is missing below.
        answered: fleet.silent.contains(&node.name).then_some(false),
        name: node.name.clone(),
        role: node.role.to_owned(),
        state: if answers(node) { NodeState::Up } else { NodeState::Silent },
        heard_ms_ago: if answers(node) { Some(0) } else { fleet.heard_ms_ago.get(&node.id).copied() },
        api: node.api_url.clone(),
        matched: node.matched,
        lacks_key: lacks(node),
    };
    let partial = fleet.partial.iter().map(|partial| PartialReport {
        agent: partial.agent.clone(),
        region: partial.region.to_string(),
        left_out: partial.left_out,
        heard_ms_ago: partial.heard_ms_ago,
    });
    let duplicates = fleet.duplicates.iter().map(|duplicate| DuplicateName {
        name: duplicate.name.clone(),
        region: duplicate.region.to_string(),
        role: duplicate.role.to_owned(),
        seen_at: duplicate.seen_at(now_ms),
    });
    Status {
        proposals: 0,
        lineage: state.lineage().map(lineage),
        revision: state.revision(),
        leader: group.leader.clone(),
        node: group.this.clone(),
        term: group.term,
        quorum: group.quorum,
        as_of_age_ms: group.as_of_age_ms,
        nodes: group.nodes.iter().map(node).collect(),
        regions: regions(state, fleet, sees),
        partial: partial.collect(),
        duplicates: duplicates.collect(),
    }
}

/// A history.
pub(crate) fn lineage(lineage: &Lineage) -> LineageStatus {
    let parent = |(id, revision): ([u8; 16], u64)| LineageParent { id: hex::encode(id), revision };
    LineageStatus {
        generation: lineage.generation,
        id: hex::encode(lineage.id),
        parent: lineage.parent.map(parent),
    }
}

/// Regions that exist, and those that only their agents still speak of.
fn regions(state: &State, fleet: &FleetReport, sees: Sees<'_>) -> Vec<RegionStatus> {
    let agents = &fleet.agents;
    #[derive(Default)]
    struct Region<'a> {
        agents: Vec<&'a AgentStatus>,
        gateways: Vec<GatewayView<'a>>,
        responders: Vec<&'a ResponderStatus>,
    }
    let mut regions: BTreeMap<&Name, Region<'_>> = BTreeMap::new();
    for region in state.list(Kind::Region, None) {
        regions.entry(&region.key.name).or_default();
    }
    for agent in freshest(agents) {
        regions.entry(&agent.region).or_default().agents.push(agent);
    }
    for view in gateways(agents) {
        regions.entry(&view.gateway.region).or_default().gateways.push(view);
    }
    for responder in &fleet.responders {
        regions.entry(&responder.region).or_default().responders.push(responder);
    }
    let region = |(name, region): (&Name, Region<'_>)| RegionStatus {
        name: name.to_string(),
        agents: region.agents.into_iter().map(agent).collect(),
        gateways: region.gateways.iter().map(|view| gateway(state, view, sees)).collect(),
        responders: region.responders.into_iter().map(responder).collect(),
    };
    regions.into_iter().map(region).collect()
}

/// Every agent once: an agent that moved from one control node to another is reported by both for a while.
fn freshest(agents: &[AgentStatus]) -> impl Iterator<Item = &AgentStatus> {
    let mut freshest: BTreeMap<(&Name, &str), &AgentStatus> = BTreeMap::new();
    for agent in agents {
        let known = freshest.entry((&agent.region, &agent.name)).or_insert(agent);
        if agent.heard_ms_ago < known.heard_ms_ago {
            *known = agent;
        }
    }
    freshest.into_values()
}

fn agent(agent: &AgentStatus) -> answer::AgentStatus {
    answer::AgentStatus {
        name: agent.name.clone(),
        connected: agent.connected,
        heard_ms_ago: agent.heard_ms_ago,
        scopes: scopes(&agent.scopes),
    }
}

fn gateway(state: &State, view: &GatewayView<'_>, sees: Sees<'_>) -> answer::GatewayStatus {
    let gateway = view.gateway;
    answer::GatewayStatus {
        name: gateway.name.clone(),
        agent: view.agent.name.clone(),
        connected: gateway.connected,
        heard_ms_ago: gateway.heard_ms_ago,
        // What it serves everywhere: nothing, if one scope has nothing yet. Local scopes have revisions of their own.
        revision: gateway
            .scopes
            .iter()
            .filter(|scope| !scope.scope.is_local())
            .map(|scope| scope.effective)
            .min()
            .flatten(),
        scopes: scopes(&gateway.scopes),
        quarantined: gateway.scopes.iter().flat_map(|scope| quarantined(state, scope, sees)).collect(),
        quarantined_total: gateway.scopes.iter().map(|scope| scope.quarantined_total).sum(),
    }
}

fn responder(responder: &ResponderStatus) -> answer::ResponderStatus {
    let said = &responder.said;
    let served = |served: &ZoneServed| ServedZone { zone: served.zone.clone(), serial: served.serial };
    let failed =
        |published: &Published| FailedHost { host: published.host.clone(), why: published.failed.clone() };
    answer::ResponderStatus {
        name: responder.name.clone(),
        agent: responder.agent.clone(),
        connected: responder.connected,
        heard_ms_ago: responder.heard_ms_ago,
        address: Some(said.address.clone()).filter(|address| !address.is_empty()),
        zones: said.zones.iter().map(served).collect(),
        zones_total: said.zones_total,
        geo: Some(hex::encode(&said.geo)).filter(|digest| !digest.is_empty()),
        missing_keys: said.missing_keys.clone(),
        missing_keys_total: said.missing_keys_total,
        failed: said.published.iter().map(failed).collect(),
        failed_total: said.failed_total,
        published_total: said.published_total,
    }
}

/// What a gateway cannot use as it received it, by the management resource it was made from. What an Origin added was made from none: the
/// Origin stands for it.
fn quarantined(
    state: &State,
    scope: &ScopeStatus,
    sees: Sees<'_>,
) -> impl Iterator<Item = QuarantinedResource> {
    scope.quarantined.iter().filter_map(move |quarantined| {
        let source = projection::source(&quarantined.key);
        if !sees(source.as_ref()) {
            return None;
        }
        if let Some(origin) = scope.scope.origin() {
            return Some(QuarantinedResource {
                kind: Some(Kind::Origin.to_string()),
                organization: None,
                name: origin.to_string(),
                environment: scope.scope.environment().map(ToString::to_string),
                field: format!("{} {}", quarantined.key, quarantined.field).trim_end().to_owned(),
                reason: quarantined.reason.clone(),
                last_good: quarantined.last_good,
                since: None,
            });
        }
        Some(QuarantinedResource {
            kind: source.as_ref().map(|source| source.kind.to_string()),
            organization: source
                .as_ref()
                .and_then(|source| source.organization.as_ref())
                .map(ToString::to_string),
            name: source.map_or_else(|| quarantined.key.clone(), |source| source.name.to_string()),
            environment: scope.scope.environment().map(ToString::to_string),
            field: quarantined.field.clone(),
            reason: quarantined.reason.clone(),
            last_good: quarantined.last_good,
            since: projection::last_change(state, &quarantined.key).filter(|_| quarantined.current),
        })
    })
}

fn scopes(scopes: &[ScopeStatus]) -> Vec<ScopePosition> {
    let position =
        |scope: &ScopeStatus| ScopePosition { scope: scope.scope.to_string(), revision: scope.effective };
    scopes.iter().map(position).collect()
}

/// This process's metrics
#[utoipa::path(get, path = "/metrics", tag = "process", extensions(("x-hanse-access" = json!("federation"))),
    responses((status = 200, body = String, content_type = "application/openmetrics-text", description = "Metrics")))]
async fn metrics(call: Call) -> Response {
    const OPENMETRICS: HeaderValue =
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(header::CONTENT_TYPE, OPENMETRICS)], (call.api.scrape)()).into_response()
}

/// Whether the process runs
#[utoipa::path(get, path = "/livez", tag = "process", extensions(("x-hanse-access" = json!("open"))),
    responses((status = 200, body = String, content_type = "text/plain", description = "It runs")))]
async fn livez() -> &'static str {
    "ok\n"
}

/// Whether this node has a state to answer from
#[utoipa::path(get, path = "/readyz", tag = "process", extensions(("x-hanse-access" = json!("open"))),
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "It is ready"),
        refusal::NoQuorum))]
async fn readyz(call: Call) -> Result<Response, Rejection> {
    if call.current().lineage().is_some() {
        return Ok("ok\n".into_response());
    }
    let problem = Problem::new(ProblemName::NoQuorum, "this node has no state yet");
    Err(problem.remedy("wait until it has joined and caught up with the others").into())
}

#[cfg(test)]
mod tests {
    use hanse_state::port::{AgentStatus, Facts, GatewayStatus, Quarantined};
    use hanse_topology::ScopeId;

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn what_an_origin_added_is_told_by_its_origin_and_has_no_revision_of_the_control_plane() {
        let quarantined = Quarantined {
            key: "route/acme/pets".to_owned(),
            received: vec![1],
            last_good: false,
            field: "context".to_owned(),
            reason: "any host/pets is served by route/acme/p".to_owned(),
            current: false,
        };
        let local = ScopeStatus::at("local/eu-west/production/pods".parse().unwrap(), None);
        let local = ScopeStatus { quarantined: vec![quarantined], quarantined_total: 1, ..local };
        let made = ScopeStatus::at(ScopeId::runtime(name("eu-west"), name("production")), Some(7));
        let of_gateway = GatewayStatus {
            name: "gateway-1".to_owned(),
            region: name("eu-west"),
            connected: true,
            heard_ms_ago: 1,
            scopes: vec![local, made],
            facts: Facts::default(),
            key: None,
        };
        let agent = AgentStatus {
            name: "agent-1".to_owned(),
            region: name("eu-west"),
            connected: true,
            heard_ms_ago: 1,
            scopes: Vec::new(),
            gateways: Vec::new(),
            facts: Facts::default(),
        };
        let view = GatewayView { gateway: &of_gateway, agent: &agent };
        let status = gateway(&State::default(), &view, &|_| true);
        assert_eq!((status.revision, status.quarantined_total), (Some(7), 1));
        let [told] = &status.quarantined[..] else { panic!("{:?}", status.quarantined) };
        assert_eq!(
            (told.kind.as_deref(), &*told.name, &*told.field),
            (Some("Origin"), "pods", "route/acme/pets context")
        );
        // A token of another Organization does not see it.
        let of_others = |source: Option<&Source>| {
            source.and_then(|source| source.organization.as_ref()).is_none_or(|of| of.as_str() != "acme")
        };
        assert!(gateway(&State::default(), &view, &of_others).quarantined.is_empty());
    }
}
