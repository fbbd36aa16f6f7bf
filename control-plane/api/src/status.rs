//! `GET /v1/status`, and the two probes.

use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use hanse_management::{Kind, Problem, ProblemName};
use hanse_state::{
    Lineage, State,
    port::{AgentStatus, Duplicate, FleetReport, GroupStatus, PartialReport, ScopeStatus},
    projection,
};
use hanse_topology::Name;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    call::Call,
    convergence::{GatewayView, gateways},
    rejection::Rejection,
};

/// The federation at a glance, from what this node has: it answers without a quorum too.
pub(crate) async fn status(call: Call) -> Result<Response, Rejection> {
    let fleet = call.api.fleet.fleet().await;
    let state = call.current();
    let group = call.api.replicated.group();
    let now_ms = call.api.clock.now_ms();
    let write = move || (state.revision(), status_json(&state, &group, &fleet, now_ms));
    Ok(call.answer(StatusCode::OK, write).await?)
}

fn status_json(state: &State, group: &GroupStatus, fleet: &FleetReport, now_ms: u64) -> Value {
    let nodes: Vec<Value> = group
        .nodes
        .iter()
        .map(|node| {
            // Said of those only that should have answered and did not: what reports to them is missing below.
            let answered = fleet.silent.contains(&node.name).then_some(false);
            json!({
                "name": node.name,
                "role": node.role,
                "api": node.api_url,
                "matched": node.matched,
                "answered": answered,
            })
        })
        .collect();
    let mut status = json!({
        "lineage": state.lineage().map(lineage_json),
        "revision": state.revision(),
        "leader": group.leader,
        "node": group.this,
        "term": group.term,
        "quorum": group.quorum,
        "asOfAgeMs": group.as_of_age_ms,
        "nodes": nodes,
        "regions": regions_json(state, &fleet.agents),
        "partial": (!fleet.partial.is_empty()).then(|| fleet.partial.iter().map(partial_json).collect::<Vec<_>>()),
        "duplicates": (!fleet.duplicates.is_empty()).then(|| duplicates_json(&fleet.duplicates, now_ms)),
    });
    leave_out_nulls(&mut status);
    status
}

/// An agent that has more gateways than its report takes.
fn partial_json(partial: &PartialReport) -> Value {
    json!({
        "agent": partial.agent,
        "region": partial.region,
        "leftOut": partial.left_out,
        "heardMsAgo": partial.heard_ms_ago,
    })
}

/// Names that two processes have at once.
fn duplicates_json(duplicates: &[Duplicate], now_ms: u64) -> Vec<Value> {
    let duplicate = |duplicate: &Duplicate| {
        json!({
            "name": duplicate.name,
            "region": duplicate.region,
            "role": duplicate.role,
            "seenAt": duplicate.seen_at(now_ms),
        })
    };
    duplicates.iter().map(duplicate).collect()
}

/// What is not known is not there.
fn leave_out_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(leave_out_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(leave_out_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn lineage_json(lineage: &Lineage) -> Value {
    let mut json = json!({"generation": lineage.generation, "id": hex::encode(lineage.id)});
    if let Some((id, revision)) = &lineage.parent {
        json["parent"] = json!({"id": hex::encode(id), "revision": revision});
    }
    json
}

/// Regions that exist, and those that only their agents still speak of.
fn regions_json(state: &State, agents: &[AgentStatus]) -> Vec<Value> {
    #[derive(Default)]
    struct Region<'a> {
        agents: Vec<&'a AgentStatus>,
        gateways: Vec<GatewayView<'a>>,
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
    let region_json = |(name, region): (&Name, Region<'_>)| {
        json!({
            "name": name,
            "agents": region.agents.iter().map(|agent| agent_json(agent)).collect::<Vec<_>>(),
            "gateways": region.gateways.iter().map(|view| gateway_json(state, view)).collect::<Vec<_>>(),
        })
    };
    regions.into_iter().map(region_json).collect()
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

fn agent_json(agent: &AgentStatus) -> Value {
    json!({
        "name": agent.name,
        "connected": agent.connected,
        "heardMsAgo": agent.heard_ms_ago,
        "scopes": scopes_json(&agent.scopes),
    })
}

fn gateway_json(state: &State, view: &GatewayView<'_>) -> Value {
    let gateway = view.gateway;
    json!({
        "name": gateway.name,
        "agent": view.agent.name,
        "connected": gateway.connected,
        "heardMsAgo": gateway.heard_ms_ago,
        // What it serves everywhere: nothing, if one scope has nothing yet.
        "revision": gateway.scopes.iter().map(|scope| scope.effective).min().flatten(),
        "scopes": scopes_json(&gateway.scopes),
        "quarantined": gateway.scopes.iter().flat_map(|scope| quarantined_json(state, scope)).collect::<Vec<_>>(),
        "quarantinedTotal": gateway.scopes.iter().map(|scope| scope.quarantined_total).sum::<u64>(),
    })
}

/// What a gateway cannot use as it received it, by the management resource it was made from.
fn quarantined_json(state: &State, scope: &ScopeStatus) -> Vec<Value> {
    let named = scope.quarantined.iter().map(|quarantined| {
        let source = projection::source(&quarantined.key);
        json!({
            "kind": source.as_ref().map(|source| source.kind.as_str()),
            "organization": source.as_ref().and_then(|source| source.organization.as_ref()),
            "name": source.as_ref().map_or(&*quarantined.key, |source| &*source.name),
            "environment": scope.scope.environment(),
            "field": quarantined.field,
            "reason": quarantined.reason,
            "lastGood": quarantined.last_good,
            "since": projection::last_change(state, &quarantined.key).filter(|_| quarantined.current),
        })
    });
    named.collect()
}

fn scopes_json(scopes: &[ScopeStatus]) -> Vec<Value> {
    scopes
        .iter()
        .map(|scope| json!({"scope": scope.scope.to_string(), "revision": scope.effective}))
        .collect()
}

/// `GET /metrics`: as on the admin port.
pub(crate) fn metrics(call: &Call) -> Response {
    const OPENMETRICS: HeaderValue =
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(header::CONTENT_TYPE, OPENMETRICS)], (call.api.scrape)()).into_response()
}

/// `GET /readyz`: whether this node has a state to answer from.
pub(crate) fn readyz(call: &Call) -> Result<Response, Rejection> {
    if call.current().lineage().is_some() {
        return Ok("ok\n".into_response());
    }
    let problem = Problem::new(ProblemName::NoQuorum, "this node has no state yet");
    Err(problem.remedy("wait until it has joined and caught up with the others").into())
}
