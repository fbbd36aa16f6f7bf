//! `GET /v1/convergence`: which gateways serve a revision, and why the others do not.

mod view;

use std::collections::BTreeSet;

use axum::response::Response;
use hanse_management::{Kind, ResourceKey, Revision};
use hanse_state::{
    State,
    port::{Consistency, FleetReport, Quarantined},
    projection,
};
use hanse_topology::{Name, ScopeId};
use http::StatusCode;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::{
    call::Call,
    rejection::{Rejection, invalid},
};

pub(crate) use view::{GatewayView, gateways};

/// A gateway heard from this shortly before a write is in the write's scope. As the federation's lease.
const LEASE_MS: u64 = 15_000;
/// Subscribers say something every second; one that missed two is worth naming.
const SILENT_MS: u64 = 3_000;
/// How long gateways are given to take up an Environment that is new or changed. The news takes two hops and the answer
/// two more, each within a second. Gateways that do not want the Environment never say so: one that is heard from after
/// that time and does not have it is taken not to want it.
const UPTAKE_MS: u64 = 5_000;

/// Who serves a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Convergence {
    /// The revision asked about.
    pub revision: Revision,
    /// Whether every gateway in scope serves it. True also when there is none. False as long as the fleet is not fully seen: while a
    /// control node is silent or an agent's report is partial.
    pub converged: bool,
    /// One entry per gateway and environment.
    pub gateways: Vec<GatewayConvergence>,
    /// Control nodes that did not answer and may have agents that no other node has heard since; absent when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<String>,
    /// Agents that have more gateways than their report takes, as `AGENT (REGION)`: the others are not known. Absent when there are
    /// none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub partial: Vec<String>,
}

/// Where one gateway stands in one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayConvergence {
    /// The gateway.
    pub name: String,
    /// Its region.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String)]
    pub region: Name,
    /// The environment.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String)]
    pub environment: Name,
    /// Whether it serves the revision.
    pub state: ConvergenceState,
    /// The revision it serves; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// Why it does not; absent when it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a gateway relates to a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConvergenceState {
    /// It serves it.
    Effective,
    /// It was there when the change was made and does not serve it yet.
    Behind,
    /// It was not there when the change was made, so nobody waits for it.
    Absent,
}

/// Who serves `revision`, by what `state` says and `fleet` reported. `now_ms` is the time at which it was asked.
///
/// In scope are gateways last heard from no earlier than a lease before the revision was made. Of a revision so old
/// that its time is forgotten, those heard from within a lease of now.
pub fn convergence(state: &State, fleet: &FleetReport, revision: Revision, now_ms: u64) -> Convergence {
    let made_ms = state.time_of(revision).unwrap_or(now_ms).min(now_ms);
    // A gateway that had a lease when the revision was made stays in its scope, however long ago that is.
    let had_lease =
        |heard_ms_ago: u64| now_ms.saturating_sub(heard_ms_ago) >= made_ms.saturating_sub(LEASE_MS);
    let mut rows: Vec<GatewayConvergence> = gateways(&fleet.agents)
        .iter()
        .flat_map(|view| rows_of(state, view, revision, now_ms, had_lease(view.gateway.heard_ms_ago)))
        .collect();
    rows.sort_by(|a, b| (&a.region, &a.name, &a.environment).cmp(&(&b.region, &b.name, &b.environment)));
    let in_scope = fleet.partial.iter().filter(|partial| had_lease(partial.heard_ms_ago));
    let partial: Vec<String> =
        in_scope.map(|partial| format!("{} ({})", partial.agent, partial.region)).collect();
    let is_seen = fleet.silent.is_empty() && partial.is_empty();
    let converged = is_seen && rows.iter().all(|row| row.state != ConvergenceState::Behind);
    Convergence { revision, converged, gateways: rows, silent: fleet.silent.clone(), partial }
}

fn rows_of(
    state: &State,
    view: &GatewayView<'_>,
    revision: Revision,
    now_ms: u64,
    in_scope: bool,
) -> Vec<GatewayConvergence> {
    let row = |environment: &Name, effective: Option<Revision>, quarantined: &[Quarantined]| {
        let reached = effective.is_some_and(|effective| effective >= revision);
        // What this revision changed and the gateway cannot use, it does not serve.
        let unused = quarantined.iter().find(|quarantined| {
            quarantined.current && projection::last_change(state, &quarantined.key) == Some(revision)
        });
        let (state, reason) = match (reached, unused, in_scope) {
            (true, None, _) => (ConvergenceState::Effective, None),
            (true, Some(unused), _) => (ConvergenceState::Behind, Some(view::cannot_use(unused))),
            (false, _, true) => (ConvergenceState::Behind, Some(view.reason(effective))),
            (false, _, false) => {
                let ago = seconds(view.gateway.heard_ms_ago);
                (
                    ConvergenceState::Absent,
                    Some(format!("was not there when the change was made: last heard from {ago} ago")),
                )
            }
        };
        let (name, region) = (view.gateway.name.clone(), view.gateway.region.clone());
        GatewayConvergence {
            name,
            region,
            environment: environment.clone(),
            state,
            revision: effective,
            reason,
        }
    };
    let mut rows = Vec::new();
    let mut subscribed = BTreeSet::new();
    for scope in &view.gateway.scopes {
        if let ScopeId::Runtime { region, environment } = &scope.scope
            && lists(state, environment, region)
        {
            subscribed.insert(environment);
            rows.push(row(environment, scope.effective, &scope.quarantined));
        }
    }
    if in_scope {
        let heard_ms = now_ms.saturating_sub(view.gateway.heard_ms_ago);
        let fresh = fresh_environments(state, &view.gateway.region, revision, heard_ms);
        rows.extend(fresh.filter(|name| !subscribed.contains(name)).map(|name| row(name, None, &[])));
    }
    rows
}

/// Whether the scope of `environment` in `region` exists.
fn lists(state: &State, environment: &Name, region: &Name) -> bool {
    state.get(&ResourceKey::global(Kind::Region, region.clone())).is_some()
        && state.environment(environment).is_some_and(|spec| spec.regions.contains(region))
}

/// Environments of `region` that `revision` knows and that a gateway last heard from at `heard_ms` may not have taken up
/// by then. However long ago that is: a gateway that went silent has not declined anything.
fn fresh_environments<'a>(
    state: &'a State,
    region: &Name,
    revision: Revision,
    heard_ms: u64,
) -> impl Iterator<Item = &'a Name> {
    state
        .list(Kind::Environment, None)
        .filter(move |environment| {
            let metadata = &environment.metadata;
            metadata.revision <= revision
                && heard_ms < metadata.updated_at_ms.saturating_add(UPTAKE_MS)
                && lists(state, &environment.key.name, region)
        })
        .map(|environment| &environment.key.name)
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)
}

fn as_text<S: Serializer>(name: &Name, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name.as_str())
}

/// The handler.
pub(crate) async fn answer(call: Call) -> Result<Response, Rejection> {
    let mut state = call.current();
    let revision = match call.number("revision") {
        Some(revision) => revision,
        None => {
            state = call.api.replicated.read(Consistency::Linearizable).await?;
            state.revision()
        }
    };
    if revision > state.revision() {
        state = call.api.replicated.read(Consistency::Linearizable).await?;
    }
    if revision > state.revision() {
        let problem =
            invalid(format!("revision {revision} does not exist yet; the latest is {}", state.revision()));
        let remedy = "ask for the revision that a write answered with";
        return Err(problem.at("query: revision").remedy(remedy).into());
    }
    let fleet = call.api.fleet.fleet().await;
    let now_ms = call.api.clock.now_ms();
    let write = move || {
        let convergence = convergence(&state, &fleet, revision, now_ms);
        (state.revision(), serde_json::to_value(convergence).expect("a convergence is plain data"))
    };
    Ok(call.answer(StatusCode::OK, write).await?)
}

#[cfg(test)]
mod tests;
