//! The admin port's own pages: what is answered from, and why as it is. For people.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use axum::{
    Json, Router,
    extract::{Query, rejection::QueryRejection},
    http::StatusCode,
    routing::get,
};
use hanse_dns_wire::absolute;
use hanse_link::LinkStatus;
use hanse_steering::Family;
use hanse_topology::{Position, ScopeId};
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    explain::{Explained, explain},
    geo::{GeoDatabase, GeoFile},
    keeper::ScopeSummary,
    places::SeenPlaces,
    zones::Zones,
};

/// `/ask?name=NAME&as=ADDRESS`: how a client of this address or network would be answered, rule by rule; `&type=AAAA` asks for one type,
/// `&draw=N` repeats an answer.
/// `/config`: the scope, its zones with their serials, what of it is on disk, and how the link to the agent stands.
pub(crate) fn router(
    identity: String,
    scope: Arc<ArcSwap<Option<ScopeSummary>>>,
    stored: watch::Receiver<BTreeMap<ScopeId, Position>>,
    link: watch::Receiver<LinkStatus>,
    zones: Arc<ArcSwapOption<Zones>>,
    places: SeenPlaces,
    geo: GeoFile,
) -> Router {
    let in_use = geo.in_use();
    let page = async move || {
        Json(page(&identity, scope.load().as_ref().as_ref(), &stored.borrow(), &link.borrow(), &geo))
    };
    let ask =
        async move |query: Result<Query<Asked>, QueryRejection>| answer(&zones, &places, &in_use, query);
    Router::new().route("/config", get(page)).route("/ask", get(ask))
}

/// What `/ask` is asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    name: String,
    #[serde(rename = "as")]
    client: String,
    draw: Option<u64>,
    /// As in a query; both where it is left out.
    #[serde(rename = "type")]
    record_type: Option<AddressType>,
}

/// The types of records that hosts have.
#[derive(Debug, Clone, Copy, Deserialize)]
enum AddressType {
    #[serde(rename = "A")]
    A,
    #[serde(rename = "AAAA")]
    Aaaa,
}

impl AddressType {
    fn family(self) -> Family {
        match self {
            Self::A => Family::V4,
            Self::Aaaa => Family::V6,
        }
    }
}

fn answer(
    zones: &ArcSwapOption<Zones>,
    places: &SeenPlaces,
    geo: &ArcSwapOption<GeoDatabase>,
    query: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Explained>, (StatusCode, String)> {
    let bad = |why: String| (StatusCode::BAD_REQUEST, format!("{why}\n"));
    let Query(Asked { name, client, draw, record_type }) = query.map_err(|rejected| {
        bad(format!("{}; ask /ask?name=orders.gslb.example.com&as=198.51.100.7", rejected.body_text()))
    })?;
    let name = absolute(&name).map_err(|error| bad(format!("name: {error}")))?;
    let client = network_of(&client).ok_or_else(|| {
        bad(format!("as: {client:?} is no address and no network; write 198.51.100.7 or 10.1.0.0/16"))
    })?;
    let draw = draw.unwrap_or_else(rand::random);
    let family = record_type.map(AddressType::family);
    explain(
        zones.load().as_deref(),
        &places.now(Instant::now()),
        &name,
        client,
        family,
        geo.load().as_deref(),
        draw,
    )
    .map(Json)
    .map_err(|why| (StatusCode::NOT_FOUND, format!("{why}\n")))
}

fn network_of(text: &str) -> Option<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(address.to_canonical().into()),
        Err(_no_address) => text.parse::<IpNet>().ok().map(|network| network.trunc()),
    }
}

fn page(
    identity: &str,
    scope: Option<&ScopeSummary>,
    stored: &BTreeMap<ScopeId, Position>,
    link: &LinkStatus,
    geo: &GeoFile,
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
        "geo": { "inUse": geo.about(), "lastFailure": geo.failure() },
    })
}
