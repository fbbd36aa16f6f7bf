//! The motto: what an operator sees of the command and of the fact that the test release brings. No other release has it.

use std::collections::BTreeMap;

use axum::response::Response;
use hanse_management::manifest;
use hanse_state::{CommandBody, Version};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::{
    call::Call,
    convergence::gateways,
    members::{regional, server},
    openapi::refusal,
    rejection::{Rejection, bad_request},
    routes::{Route, json},
};

/// The motto, and how the nodes feel about it.
#[derive(Debug, Serialize, ToSchema)]
struct Motto {
    /// As the last `PUT` set it.
    motto: String,
    /// What each node says of itself, by identity. A node of an earlier release says nothing.
    moods: BTreeMap<String, String>,
}

/// What a `PUT` sets.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewMotto {
    /// Any text.
    motto: String,
}

/// The routes of this file.
pub(crate) fn routes() -> Vec<Route> {
    vec![routes!(motto), routes!(set_motto)]
}

/// The motto, and how the nodes feel about it
#[utoipa::path(get, path = "/v1/motto", tag = "federation", extensions(("x-hanse-access" = json!("federation"))),
    responses((status = 200, body = Motto, description = "The motto")))]
async fn motto(call: Call) -> Result<Response, Rejection> {
    let fleet = call.api.fleet.fleet().await;
    let state = call.current();
    let group = call.api.replicated.group();
    let nodes = group.nodes.iter();
    let nodes = nodes.filter_map(|node| Some((server(&node.name), &fleet.nodes.get(&node.id)?.mood)));
    let agents = fleet.agents.iter();
    let agents = agents.map(|agent| (regional(&agent.name, "agent", &agent.region), &agent.facts.mood));
    let gateways = gateways(&fleet.agents).into_iter().map(|view| view.gateway);
    let gateways = gateways.map(|one| (regional(&one.name, "gateway", &one.region), &one.facts.mood));
    let moods = nodes.chain(agents).chain(gateways).map(|(identity, mood)| (identity, mood.clone()));
    let answer = Motto { motto: state.motto().to_owned(), moods: moods.collect() };
    Ok(json(StatusCode::OK, state.revision(), &answer))
}

/// Sets the motto
#[utoipa::path(put, path = "/v1/motto", tag = "federation", extensions(("x-hanse-access" = json!("admin"))), operation_id = "setMotto",
    request_body(content = NewMotto, description = "The motto"),
    responses((status = 200, description = "The revision at which it is set"), refusal::Upgrade))]
async fn set_motto(mut call: Call) -> Result<Response, Rejection> {
    let read = |bytes: &[u8]| {
        let read = NewMotto::deserialize(&manifest::json_value(bytes)?);
        read.map_err(|error| bad_request(format!("the request has no motto: {error}")).at("body: motto"))
    };
    let NewMotto { motto } = call.parse(read).await?;
    let accepted = call.propose_body(CommandBody::SetMotto(motto)).await?;
    Ok(json(StatusCode::OK, accepted.revision, &accepted.revision))
}

/// A seeded bug: a node judges what it is about to propose by the newest version that it knows, and not by the one in force.
pub(crate) fn seeded(in_force: Version) -> Version {
    let is_seeded = std::env::var("HANSE_SEEDED_BUG").is_ok_and(|bug| bug == "newer-before-finalize");
    if is_seeded { Version::KNOWN } else { in_force }
}
