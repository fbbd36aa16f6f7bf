//! The admin port's own page: what is answered from, for people.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use axum::{Json, Router, routing::get};
use hanse_link::LinkStatus;
use hanse_topology::{Position, ScopeId};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::keeper::ScopeSummary;

/// `/config`: the scope, its zones with their serials, what of it is on disk, and how the link to the agent stands.
pub(crate) fn router(
    identity: String,
    scope: Arc<ArcSwap<Option<ScopeSummary>>>,
    stored: watch::Receiver<BTreeMap<ScopeId, Position>>,
    link: watch::Receiver<LinkStatus>,
) -> Router {
    let page =
        async move || Json(page(&identity, scope.load().as_ref().as_ref(), &stored.borrow(), &link.borrow()));
    Router::new().route("/config", get(page))
}

fn page(
    identity: &str,
    scope: Option<&ScopeSummary>,
    stored: &BTreeMap<ScopeId, Position>,
    link: &LinkStatus,
) -> Value {
    let stored: BTreeMap<_, _> =
        stored.iter().map(|(scope, position)| (scope.to_string(), position.revision)).collect();
    json!({
        "identity": identity,
        "scopes": scope.into_iter().collect::<Vec<_>>(),
        "stored": stored,
        "agent": {
            "connectedTo": link.connected_to,
            "name": link.publisher,
            "lastFailure": link.last_failure,
            "lastAlarm": link.last_alarm,
        },
    })
}
