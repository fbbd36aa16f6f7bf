//! `/region`: what the agent knows of its region, for people and programs.

use std::time::{Duration, Instant};

use axum::{Json, Router, routing::get};
use hanse_link::{HeardGateway, RegionSource as _, TRAFFIC_SPAN, TrafficSum};
use hanse_proto::{
    nested,
    sync::{AgentLive, GatewayLive, Serving, TrafficRow},
};
use hanse_runtime::is_public_url;
use hanse_topology::{Identity, LEASE, Name, ScopeId};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{Told, Watched, hearing::RegionView, views::Heard};

/// What an agent knows of its region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionPage {
    /// The region.
    pub region: String,
    /// The agent that was asked.
    pub agent: String,
    /// The relays that it asks, without itself, by name. Without any, it knows what it hears itself.
    pub relays: Vec<RelayShown>,
    /// The agents: first the one that was asked, then by name.
    pub agents: Vec<AgentShown>,
    /// Requests of the last ten seconds: by environment and host, and after them the rests.
    pub traffic: Vec<TrafficShown>,
}

/// A relay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RelayShown {
    /// Its name.
    pub name: String,
    /// Since it was heard last; absent: it has not been heard. After 15 s no gateway is live by its word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// Why it said nothing more; absent: the relay is heard, or is asked for the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentShown {
    /// Its name.
    pub name: String,
    /// Whether a relay hears it, or the agent that was asked.
    pub live: bool,
    /// The gateways that it heard in the last hour, by name.
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
    /// Whether its agent hears it, and a relay the agent.
    pub live: bool,
    /// Whether it takes traffic; absent: it has not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// Why it takes none, as it said last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_ready: Option<String>,
    /// The scopes that it serves.
    pub scopes: Vec<String>,
    /// How many it serves, where not all are named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes_total: Option<u64>,
    /// Where clients reach its external entries.
    pub urls: Vec<String>,
    /// Where they reach its internal ones, which serve internal environments too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub internal_urls: Vec<String>,
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
}

/// The page of the admin port.
pub(crate) fn pages(shown: Shown) -> Router {
    Router::new().route("/region", get(async move || Json(shown.page(Instant::now()))))
}

impl Shown {
    /// What is known as of `now`.
    pub(super) fn view(&self, now: Instant) -> RegionView {
        let own = self.told.view();
        self.watched.with(|views| views.merged((&self.own.name, &own), now))
    }

    /// What is known of the region's gateways as of `now`. Of an agent that is not live, nothing is known where no relay was heard for as
    /// long as that takes to notice: it may be this agent that is cut off.
    pub(crate) fn gateways(&self, now: Instant) -> Vec<HeardGateway> {
        let is_cut_off = self.watched.with(|views| views.asked().next().is_some())
            && self.age(now).is_none_or(|age| age > LEASE);
        let view = self.view(now);
        let gateways = |agent: &AgentLive| {
            let is_spoken_for = agent.live || !is_cut_off;
            let heard = |gateway: &GatewayLive| HeardGateway {
                live: is_spoken_for.then_some(gateway.live),
                serving: read(gateway).filter(|_| !gateway.serving.is_empty()),
            };
            agent.gateways.iter().map(heard).collect::<Vec<_>>()
        };
        view.agents.values().flat_map(|agent| gateways(agent)).collect()
    }

    /// Fires when the region may be known otherwise than before.
    pub(crate) fn changed(&self) -> (watch::Receiver<u64>, watch::Receiver<()>) {
        (self.told.changed(), self.watched.told())
    }

    /// Since any relay was heard last; `None`: none was.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        let last = self.watched.with(|views| views.asked().filter_map(|(_, heard)| heard.at()).max());
        last.map(|at| now.saturating_duration_since(at))
    }

    pub(super) fn page(&self, now: Instant) -> RegionPage {
        let relay = |(name, heard): (&Name, &Heard)| RelayShown {
            name: name.to_string(),
            age_seconds: heard.at().map(|at| now.saturating_duration_since(at).as_secs()),
            last_failure: heard.last_failure.as_deref().map(line),
        };
        let relays = self.watched.with(|views| views.asked().map(relay).collect());
        page(&self.own, relays, &self.view(now))
    }
}

fn page(own: &Identity, relays: Vec<RelayShown>, view: &RegionView) -> RegionPage {
    let mut sum = TrafficSum::default();
    sum.add_all(view.traffic.clone());
    let mut traffic: Vec<_> = sum.to_message().rows.iter().map(traffic_shown).collect();
    traffic.sort_by(|one, other| place(one).cmp(&place(other)));
    let (itself, others): (Vec<_>, Vec<_>) = view.agents.iter().partition(|(name, _)| **name == own.name);
    RegionPage {
        region: own.region.as_ref().map(ToString::to_string).unwrap_or_default(),
        agent: own.name.to_string(),
        relays,
        agents: itself.into_iter().chain(others).map(|(_, agent)| agent_shown(agent)).collect(),
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

/// Whether a gateway takes traffic. `None`: it has not said so in a way that this agent can read.
pub(super) fn ready(gateway: &GatewayLive) -> Option<bool> {
    let said = read(gateway).filter(|said| said.ready || !said.not_ready.is_empty())?;
    Some(gateway.live && said.ready)
}

fn read(gateway: &GatewayLive) -> Option<Serving> {
    nested::read("serving", &gateway.serving).ok()
}

/// What a gateway says is data: only names of scopes, URLs and text of one line are shown.
fn gateway_shown(gateway: &GatewayLive) -> GatewayShown {
    let Serving { mut scopes, scopes_total, mut urls, mut internal_urls, not_ready, .. } =
        read(gateway).unwrap_or_default();
    scopes.retain(|scope| scope.parse::<ScopeId>().is_ok());
    urls.retain(|url| is_public_url(url));
    internal_urls.retain(|url| is_public_url(url));
    GatewayShown {
        name: gateway.name.clone(),
        live: gateway.live,
        ready: ready(gateway),
        not_ready: Some(line(&not_ready)).filter(|why| !why.is_empty()),
        scopes_total: Some(scopes_total).filter(|total| *total > scopes.len() as u64),
        scopes,
        urls,
        internal_urls,
    }
}

/// Text without what ends a line or moves a cursor.
fn line(text: &str) -> String {
    text.chars().map(|char| if is_safe(char) { char } else { '\u{fffd}' }).collect()
}

/// Marks of direction let a line read as another one.
fn is_safe(char: char) -> bool {
    !char.is_control()
        && !matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn traffic_shown(row: &TrafficRow) -> TrafficShown {
    let said = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    TrafficShown {
        environment: said(&row.environment),
        host: said(&row.host),
        requests_per_second: row.requests as f64 / TRAFFIC_SPAN.as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use hanse_proto::sync::Traffic;
    use serde_json::{Value, json};

    use super::*;

    fn shown(serving: &[u8], live: bool) -> Value {
        let gateway = GatewayLive { name: "g".into(), live, serving: serving.to_vec().into() };
        serde_json::to_value(gateway_shown(&gateway)).unwrap()
    }

    #[test]
    fn a_gateway_is_ready_not_ready_or_has_not_said() {
        let serving = |ready: bool, not_ready: &str| {
            nested::to_bytes(&Serving { ready, not_ready: not_ready.into(), ..Serving::default() })
        };
        let of = |serving: &[u8], live| shown(serving, live)["ready"].clone();
        assert_eq!(of(&serving(true, ""), true), true);
        assert_eq!(of(&serving(true, ""), false), false, "it is gone");
        assert_eq!(of(&serving(false, "no configuration yet"), true), false);
        assert_eq!(of(b"", true), Value::Null, "an earlier release says nothing");
        assert_eq!(of(&[0xff], true), Value::Null);
    }

    #[test]
    fn what_a_gateway_says_cannot_change_what_an_operator_reads() {
        let text = |text: &str| text.to_owned();
        let serving = Serving {
            scopes: vec![text("runtime/eu-west/production"), text("\u{1b}[2J")],
            scopes_total: 2,
            urls: vec![
                text("https://a.example"),
                text("javascript:alert(1)"),
                text("https://a.example/path"),
            ],
            internal_urls: vec![text("https://10.0.0.7"), text("\u{1b}[2J")],
            not_ready: text("no\n\u{1b}[31mgateway-9 ready\u{202e}"),
            ready: false,
            tunnels: Vec::new(),
        };
        let wanted = json!({
            "name": "g", "live": true, "ready": false,
            "notReady": "no\u{fffd}\u{fffd}[31mgateway-9 ready\u{fffd}",
            "scopes": ["runtime/eu-west/production"], "scopesTotal": 2, "urls": ["https://a.example"],
            "internalUrls": ["https://10.0.0.7"],
        });
        assert_eq!(shown(&nested::to_bytes(&serving), true), wanted);

        let own = Identity::agent(Name::new("a").unwrap(), Name::new("eu-west").unwrap());
        let row =
            |host: &str| TrafficRow { environment: "production".into(), host: host.into(), requests: 5 };
        let traffic = Traffic { rows: vec![row("\u{1b}[2J"), row("*")] };
        let agent = |text: &str| {
            let name = Name::new(text).unwrap();
            (name, Arc::new(AgentLive { name: text.into(), ..AgentLive::default() }))
        };
        let agents = BTreeMap::from(["0", "a", "b"].map(agent));
        let page = page(&own, Vec::new(), &RegionView { agents, traffic });
        assert_eq!(page.traffic.iter().map(|row| row.host.as_deref()).collect::<Vec<_>>(), [Some("*")]);
        let names: Vec<_> = page.agents.iter().map(|agent| &*agent.name).collect();
        assert_eq!(names, ["a", "0", "b"], "its own gateways come first");
    }
}
