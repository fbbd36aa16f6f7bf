//! `GET /v1/convergence`: which gateways serve a revision, and why the others do not.

mod view;

use std::collections::BTreeSet;

use axum::response::Response;
use hanse_management::{Kind, ResourceKey, Revision};
use hanse_state::{
    State,
    port::{FleetReport, Quarantined},
    projection::{self, Source},
};
use hanse_topology::{Name, ScopeId};
use http::StatusCode;
use utoipa_axum::routes;

use crate::{
    answer::{Convergence, ConvergenceState, GatewayConvergence},
    call::{Call, check_exists},
    rejection::Rejection,
    routes::Route,
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

/// Whether the caller sees what was made of a resource; `None`: it was made of none that is known.
pub(crate) type Sees<'a> = &'a dyn Fn(Option<&Source>) -> bool;

/// Who serves `revision`, by what `state` says and `fleet` reported. `now_ms` is the time at which it was asked.
///
/// In scope are gateways last heard from no earlier than a lease before the revision was made. Of a revision so old
/// that its time is forgotten, those heard from within a lease of now. Why a gateway cannot use a resource that the caller does not see
/// is not told, only that it cannot.
pub(crate) fn convergence(
    state: &State,
    fleet: &FleetReport,
    revision: Revision,
    now_ms: u64,
    sees: Sees<'_>,
) -> Convergence {
    let made_ms = state.time_of(revision).unwrap_or(now_ms).min(now_ms);
    // A gateway that had a lease when the revision was made stays in its scope, however long ago that is.
    let had_lease =
        |heard_ms_ago: u64| now_ms.saturating_sub(heard_ms_ago) >= made_ms.saturating_sub(LEASE_MS);
    let mut rows: Vec<GatewayConvergence> = gateways(&fleet.agents)
        .iter()
        .flat_map(|view| rows_of(state, view, revision, now_ms, had_lease(view.gateway.heard_ms_ago), sees))
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
    sees: Sees<'_>,
) -> Vec<GatewayConvergence> {
    let row = |environment: &Name, effective: Option<Revision>, quarantined: &[Quarantined]| {
        let reached = effective.is_some_and(|effective| effective >= revision);
        // What this revision changed and the gateway cannot use, it does not serve. One that the caller sees is named first.
        let is_unused = |quarantined: &&Quarantined| {
            quarantined.current && projection::last_change(state, &quarantined.key) == Some(revision)
        };
        let is_seen = |quarantined: &Quarantined| sees(projection::source(&quarantined.key).as_ref());
        let mut unused = quarantined.iter().filter(is_unused);
        let first = unused.clone().next();
        let unused = unused
            .find(|unused| is_seen(unused))
            .map(|unused| (unused, true))
            .or(first.map(|first| (first, false)));
        let (state, reason) = match (reached, unused, in_scope) {
            (true, None, _) => (ConvergenceState::Effective, None),
            (true, Some((unused, is_seen)), _) => {
                (ConvergenceState::Behind, Some(view::cannot_use(unused, is_seen)))
            }
            (false, _, true) => (ConvergenceState::Behind, Some(view.reason(effective))),
            (false, _, false) => {
                let ago = seconds(view.gateway.heard_ms_ago);
                (
                    ConvergenceState::Absent,
                    Some(format!("was not there when the change was made: last heard from {ago} ago")),
                )
            }
        };
        GatewayConvergence {
            name: view.gateway.name.clone(),
            region: view.gateway.region.to_string(),
            environment: environment.to_string(),
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

/// The routes of this file.
pub(crate) fn routes() -> Vec<Route> {
    vec![routes!(answer)]
}

/// Which gateways serve a revision, and why the others do not
#[utoipa::path(get, path = "/v1/convergence", tag = "federation", extensions(("x-hanse-access" = json!("token"))), operation_id = "convergence",
    params(("revision" = Option<u64>, Query,
        description = "The revision that gateways should serve; default: the latest")),
    responses((status = 200, body = Convergence, description = "Who serves the revision")))]
async fn answer(call: Call) -> Result<Response, Rejection> {
    let mut state = call.current();
    let revision = match call.number("revision") {
        Some(revision) => revision,
        None => {
            state = call.read_latest().await?;
            state.revision()
        }
    };
    if revision > state.revision() {
        state = call.read_latest().await?;
    }
    check_exists("revision", revision, &state)?;
    let fleet = call.api.fleet.fleet().await;
    let now_ms = call.api.clock.now_ms();
    let seen = call.clone();
    let write = move || {
        let sees = |source: Option<&Source>| seen.may_read_source(source);
        (state.revision(), convergence(&state, &fleet, revision, now_ms, &sees))
    };
    Ok(call.answer(StatusCode::OK, write).await?)
}

#[cfg(test)]
mod tests;
