//! The admin port's own pages: what is served, for people.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use axum::{Json, Router, routing::get};
use hanse_identity::{Credentials, Environments, LiveCredentials};
use hanse_link::LinkStatus;
use hanse_topology::{Position, ScopeId};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    health::{Endpoints, millis},
    keeper::ScopeSummary,
    run::Bound,
};

/// `/config`: what its certificate says, where it listens for clients, scopes, revisions, counts, what of it is on disk, and how the link to the agent stands. `/upstreams`: endpoints
/// and their health.
pub(crate) fn router(
    own: LiveCredentials,
    entries: Vec<Bound>,
    scopes: Arc<ArcSwap<Vec<ScopeSummary>>>,
    stored: watch::Receiver<BTreeMap<ScopeId, Position>>,
    link: watch::Receiver<LinkStatus>,
    endpoints: Endpoints,
) -> Router {
    let page =
        async move || Json(page(&own.current(), &entries, &scopes.load(), &stored.borrow(), &link.borrow()));
    Router::new()
        .route("/config", get(page))
        .route("/upstreams", get(async move || Json(upstreams(&endpoints))))
}

fn upstreams(endpoints: &Endpoints) -> Value {
    json!({ "endpoints": endpoints.summary(millis(Instant::now())) })
}

/// What its certificate says: the environments that it names, `["*"]` for all.
fn certificate(own: &Credentials) -> Value {
    match own.environments() {
        Ok(Environments::All) => json!({ "environments": ["*"] }),
        Ok(Environments::Named(names)) => json!({ "environments": names }),
        Err(error) => json!({ "environments": [], "unusable": error.to_string() }),
    }
}

fn page(
    own: &Credentials,
    entries: &[Bound],
    scopes: &[ScopeSummary],
    stored: &BTreeMap<ScopeId, Position>,
    link: &LinkStatus,
) -> Value {
    let stored: BTreeMap<_, _> =
        stored.iter().map(|(scope, position)| (scope.to_string(), position.revision)).collect();
    json!({
        "identity": own.identity().to_string(),
        "certificate": certificate(own),
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
