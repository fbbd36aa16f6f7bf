//! `/region`: what the agent knows of its region, for people and programs.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use axum::{Json, Router, routing::get};
use hanse_link::TRAFFIC_SPAN;
use hanse_local::Directory;
use hanse_proto::{
    nested,
    sync::{AgentLive, GatewayLive, Serving, TrafficRow},
};
use hanse_topology::{Identity, Name};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{Told, Watched, hearing::RegionView, watch::Heard};

/// What an agent knows of its region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionPage {
    /// The region.
    pub region: String,
    /// The agent that was asked.
    pub agent: String,
    /// The relay that it heard this from; itself, if it is one; absent: it has heard none, and knows its own gateways only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay: Option<String>,
    /// Since the relay was heard last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// Why a relay said nothing more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    /// The agents: first the one that was asked, then by name.
    pub agents: Vec<AgentShown>,
    /// Requests of the last ten seconds: by environment and host, and after them the rests.
    pub traffic: Vec<TrafficShown>,
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentShown {
    /// Its name.
    pub name: String,
    /// Whether the relay hears it.
    pub live: bool,
    /// The gateways that it admitted, by name; gone ones for an hour.
    pub gateways: Vec<GatewayShown>,
    /// How many there was no room for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

/// A gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayShown {
    /// Its name.
    pub name: String,
    /// Whether its agent hears it, and the relay the agent.
    pub live: bool,
    /// Whether it takes traffic.
    pub ready: bool,
    /// Why it takes none, as it said last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_ready: Option<String>,
    /// The scopes that it serves.
    pub scopes: Vec<String>,
    /// How many it serves, where not all are named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes_total: Option<u64>,
    /// Where clients reach it.
    pub urls: Vec<String>,
}

/// Requests for one host pattern.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficShown {
    /// The environment; absent: those that have no row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The host pattern of a Route, `*` for any; absent: those that have no row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// On the average of ten seconds.
    pub requests_per_second: f64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What the page is made of. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) own: Identity,
    pub(crate) told: Told,
    pub(crate) watched: Watched,
    pub(crate) directory: watch::Receiver<Arc<Directory>>,
}

/// The page of the admin port.
pub(crate) fn pages(shown: Shown) -> Router {
    Router::new().route("/region", get(async move || Json(shown.page(Instant::now()))))
}

impl Shown {
    /// As seen at `now`.
    pub(super) fn page(&self, now: Instant) -> RegionPage {
        let name = &self.own.name;
        let is_relay = self.directory.borrow().get(name).is_some_and(|own| own.relay);
        let heard = match is_relay {
            true => {
                Heard { relay: Some(name.clone()), at: Some(now), view: self.told.view(), last_failure: None }
            }
            false => self.watched.read(),
        };
        page(&self.own, self.told.agent(name), self.told.view(), heard, now)
    }
}

/// What was heard, with what the agent knows itself in place of what a relay knows of it.
fn page(
    own: &Identity,
    itself: Option<Arc<AgentLive>>,
    alone: RegionView,
    heard: Heard,
    now: Instant,
) -> RegionPage {
    let Heard { relay, at, view, last_failure } = heard;
    // It may have been a relay before, and have heard others: they tell it no more.
    let RegionView { agents, traffic } = match relay {
        Some(_) => view,
        None => RegionView { agents: BTreeMap::new(), ..alone },
    };
    let mut traffic: Vec<_> = traffic.rows.iter().map(traffic_shown).collect();
    traffic.sort_by(|one, other| place(one).cmp(&place(other)));
    let others: BTreeMap<Name, Arc<AgentLive>> =
        agents.into_iter().filter(|(name, _)| *name != own.name).collect();
    RegionPage {
        region: own.region.as_ref().map(ToString::to_string).unwrap_or_default(),
        agent: own.name.to_string(),
        relay: relay.map(|relay| relay.to_string()),
        age_seconds: at.map(|at| now.saturating_duration_since(at).as_secs()),
        last_failure,
        agents: itself.iter().chain(others.values()).map(|agent| agent_shown(agent)).collect(),
        traffic,
    }
}

/// Rests come last.
fn place(row: &TrafficShown) -> impl Ord + use<'_> {
    (row.environment.is_none(), &row.environment, row.host.is_none(), &row.host)
}

fn agent_shown(agent: &AgentLive) -> AgentShown {
    AgentShown {
        name: agent.name.clone(),
        live: agent.live,
        gateways: agent.gateways.iter().map(gateway_shown).collect(),
        left_out: agent.left_out,
    }
}

fn gateway_shown(gateway: &GatewayLive) -> GatewayShown {
    let said =
        (!gateway.serving.is_empty()).then(|| nested::read::<Serving>("serving", &gateway.serving).ok());
    let said = said.flatten();
    let not_ready = match &said {
        Some(serving) => Some(serving.not_ready.clone()).filter(|why| !why.is_empty()),
        None => Some("it has not said what it serves".to_owned()),
    };
    let Serving { scopes, scopes_total, urls, .. } = said.unwrap_or_default();
    GatewayShown {
        name: gateway.name.clone(),
        live: gateway.live,
        ready: gateway.live && not_ready.is_none(),
        not_ready,
        scopes_total: Some(scopes_total).filter(|total| *total > scopes.len() as u64),
        scopes,
        urls,
    }
}

fn traffic_shown(row: &TrafficRow) -> TrafficShown {
    let said = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    TrafficShown {
        environment: said(&row.environment),
        host: said(&row.host),
        requests_per_second: row.requests as f64 / TRAFFIC_SPAN.as_secs_f64(),
    }
}
