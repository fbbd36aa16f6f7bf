//! The admin port's own pages: what is served, for people.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use axum::{Json, Router, routing::get};
use hanse_link::LinkStatus;
use hanse_topology::{Position, ScopeId};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    health::{Endpoints, millis},
    keeper::ScopeSummary,
    run::Bound,
};

/// `/config`: where it listens for clients, scopes, revisions, counts, what of it is on disk, and how the link to the agent stands. `/upstreams`: endpoints
/// and their health.
pub(crate) fn router(
    identity: String,
    entries: Vec<Bound>,
    scopes: Arc<ArcSwap<Vec<ScopeSummary>>>,
    stored: watch::Receiver<BTreeMap<ScopeId, Position>>,
    link: watch::Receiver<LinkStatus>,
    endpoints: Endpoints,
) -> Router {
    let page =
        async move || Json(page(&identity, &entries, &scopes.load(), &stored.borrow(), &link.borrow()));
    Router::new()
        .route("/config", get(page))
        .route("/upstreams", get(async move || Json(upstreams(&endpoints))))
}

fn upstreams(endpoints: &Endpoints) -> Value {
    json!({ "endpoints": endpoints.summary(millis(Instant::now())) })
}

fn page(
    identity: &str,
    entries: &[Bound],
    scopes: &[ScopeSummary],
    stored: &BTreeMap<ScopeId, Position>,
    link: &LinkStatus,
) -> Value {
    let stored: BTreeMap<_, _> =
        stored.iter().map(|(scope, position)| (scope.to_string(), position.revision)).collect();
    json!({
        "identity": identity,
        "entries": entries,
        "scopes": scopes,
        "stored": stored,
        "agent": {
            "connectedTo": link.connected_to,
            "name": link.publisher,
            "lastFailure": link.last_failure,
            "lastAlarm": link.last_alarm,
        },
    })
}
