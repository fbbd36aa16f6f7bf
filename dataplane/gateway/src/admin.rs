//! The admin port's own page: what is served, for people.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::{Json, Router, routing::get};
use hanse_link::LinkStatus;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::keeper::ScopeSummary;

/// `/config`: scopes, revisions, counts, and how the link to the agent stands.
pub(crate) fn router(
    identity: String,
    scopes: Arc<ArcSwap<Vec<ScopeSummary>>>,
    link: watch::Receiver<LinkStatus>,
) -> Router {
    Router::new().route("/config", get(async move || Json(page(&identity, &scopes.load(), &link.borrow()))))
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
