//! From the reports of agents to what is told of them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hanse_link::{
    MAX_CONSUMER_REPORT_BYTES, MAX_FACTS_BYTES, MAX_SERVING_BYTES, SubscriberRecord, TrafficSum,
};
use hanse_proto::{
    nested,
    sync::{AgentLive, Facts, GatewayLive, Heard, Report},
};
use hanse_topology::{Identity, LEASE, Name, Role};
use prost::Message as _;

use super::hearing::{AGENT_BYTES, MAX_VIEW_BYTES};

/// How long an agent or a gateway that is gone stays in the view: so that people see what is missing.
pub(super) const KEPT: Duration = Duration::from_secs(3600);
/// The most that is told of one agent: some five thousand gateways in two environments. The others are counted.
pub(super) const MAX_AGENT_BYTES: usize = 1 << 20;
/// The most that is told of all. While a view changes, an agent that hears it holds rows of before and of after.
pub(super) const MAX_TOLD_BYTES: usize = MAX_VIEW_BYTES / 2;

/// The last report of each agent, read once.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading(BTreeMap<Name, (Instant, Said)>);

/// What an agent said.
#[derive(Debug, Clone, Default)]
struct Said {
    /// As far as the agent knows.
    gateways: Vec<GatewayLive>,
    left_out: u64,
    traffic: Bytes,
}

impl Reading {
    /// What is known of the agents of these records, as seen at `now`.
    pub(super) fn agents(&mut self, records: &[SubscriberRecord], now: Instant) -> BTreeMap<Name, AgentLive> {
        let is_kept = |record: &&SubscriberRecord| {
            record.connected || now.saturating_duration_since(record.last_heard) < KEPT
        };
        let mut before = std::mem::take(&mut self.0);
        let mut agents = records
            .iter()
            .filter(is_kept)
            .map(|record| {
                let name = record.identity.name.clone();
                let said = match (before.remove(&name), &record.report) {
                    (Some(known), Some((_, came))) if known.0 == *came => known,
                    (_, Some((report, came))) => (*came, read(&record.identity, report)),
                    (_, None) => (record.last_heard, Said::default()),
                };
                let live = record.connected && record.is_live(now);
                let gateways = said
                    .1
                    .gateways
                    .iter()
                    .map(|gateway| GatewayLive { live: live && gateway.live, ..gateway.clone() });
                let agent = AgentLive {
                    name: name.to_string(),
                    live,
                    gateways: gateways.collect(),
                    left_out: said.1.left_out,
                };
                self.0.insert(name.clone(), said);
                (name, agent)
            })
            .collect();
        bound(&mut agents, MAX_TOLD_BYTES);
        agents
    }

    /// The requests of all agents that are live in `agents`.
    pub(super) fn traffic(&self, agents: &BTreeMap<Name, AgentLive>) -> TrafficSum {
        let mut sum = TrafficSum::default();
        let live = agents.iter().filter(|(_, agent)| agent.live);
        live.filter_map(|(name, _)| self.0.get(name)).for_each(|(_, said)| sum.add_said(&said.traffic));
        sum
    }
}

/// Keeps to what may be told. The agents with most to tell lose the names of their gateways, and these are counted: agents that say as
/// much as they can crowd out themselves, and no others.
pub(super) fn bound(agents: &mut BTreeMap<Name, AgentLive>, most: usize) {
    let bytes = |agent: &AgentLive| agent.encoded_len() + AGENT_BYTES;
    let mut sizes: Vec<_> = agents.iter().map(|(name, agent)| (bytes(agent), name.clone())).collect();
    let mut total: usize = sizes.iter().map(|(size, _)| size).sum();
    sizes.sort();
    while total > most
        && let Some((size, name)) = sizes.pop()
    {
        if let Some(agent) = agents.get_mut(&name) {
            agent.left_out = agent.left_out.saturating_add(agent.gateways.len() as u64);
            agent.gateways.clear();
            total = total - size + bytes(agent);
        }
    }
}

/// Reads the report of an agent. What of it cannot be read counts as not said.
fn read(agent: &Identity, report: &Report) -> Said {
    let rows = nested::of_row("report.below", &report.below).map_while(Result::ok);
    let heard = rows.filter_map(|heard| nested::read::<Heard>("report.below", heard).ok());
    let gateways: BTreeMap<String, GatewayLive> = heard
        .filter_map(|heard| gateway(agent, &heard))
        .map(|gateway| (gateway.name.clone(), gateway))
        .collect();
    let mut gateways: Vec<_> = gateways.into_values().collect();
    gateways.sort_by_key(|gateway| !gateway.live); // those that are gone are left out first
    let mut left = MAX_AGENT_BYTES;
    let fits = |gateway: &&GatewayLive| {
        let length = gateway.encoded_len();
        let rest = left.checked_sub(length + prost::length_delimiter_len(length) + 1);
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    let named = gateways.iter().take_while(fits).count();
    let left_out = facts(&report.facts, MAX_FACTS_BYTES).left_out + (gateways.len() - named) as u64;
    gateways.truncate(named);
    gateways.sort_by(|one, other| one.name.cmp(&other.name));
    Said { gateways, left_out, traffic: report.traffic.clone().unwrap_or_default() }
}

/// A gateway of an agent, unless it has long been gone. `None`, too: it is no gateway of the agent's region.
fn gateway(agent: &Identity, heard: &Heard) -> Option<GatewayLive> {
    let identity: Identity = heard.identity.parse().ok()?;
    let ago = Duration::from_millis(heard.heard_ms_ago);
    let is_one = identity.role == Role::Gateway && identity.region == agent.region;
    (is_one && (heard.connected || ago < KEPT)).then(|| {
        let said = heard.report.as_ref().map(|report| facts(&report.facts, MAX_CONSUMER_REPORT_BYTES));
        let serving = said.unwrap_or_default().serving;
        let fits = serving.len() <= MAX_SERVING_BYTES;
        GatewayLive {
            name: identity.name.to_string(),
            live: heard.connected && ago < LEASE,
            serving: if fits { serving } else { Bytes::new() },
        }
    })
}

fn facts(facts: &[u8], most: usize) -> Facts {
    let fits = facts.len() <= most;
    fits.then(|| nested::read("facts", facts).ok()).flatten().unwrap_or_default()
}
