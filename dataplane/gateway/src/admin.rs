//! The admin port's own pages: what is served, for people.

use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use axum::{Json, Router, routing::get};
use hanse_link::LinkStatus;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    health::{Endpoints, millis},
    keeper::ScopeSummary,
};

/// `/config`: scopes, revisions, counts, and how the link to the agent stands. `/upstreams`: endpoints and their health.
pub(crate) fn router(
    identity: String,
    scopes: Arc<ArcSwap<Vec<ScopeSummary>>>,
    link: watch::Receiver<LinkStatus>,
    endpoints: Endpoints,
) -> Router {
    Router::new()
        .route("/config", get(async move || Json(page(&identity, &scopes.load(), &link.borrow()))))
        .route("/upstreams", get(async move || Json(upstreams(&endpoints))))
}

fn upstreams(endpoints: &Endpoints) -> Value {
    json!({ "endpoints": endpoints.summary(millis(Instant::now())) })
}

fn page(identity: &str, scopes: &[ScopeSummary], link: &LinkStatus) -> Value {
    json!({
        "identity": identity,
        "scopes": scopes,
        "agent": {
            "connectedTo": link.connected_to,
            "name": link.publisher,
            "lastFailure": link.last_failure,
            "lastAlarm": link.last_alarm,
        },
    })
}
