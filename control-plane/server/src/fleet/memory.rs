//! What was last heard of each agent and gateway, whichever node heard it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use hanse_identity::KeyDigest;
use hanse_link::{BootId, Boots, HeardGateway, HeardRegion, MAX_REPORT_BYTES, MAX_REPORTED, ScopeAck};
use hanse_proto::{
    nested,
    sync::{self, Heard},
};
use hanse_state::{
    MintedToken,
    port::{
        AgentStatus, Duplicate, Facts, GatewayStatus, PartialReport, Quarantined, ResponderStatus,
        ScopeStatus,
    },
};
use hanse_topology::{Identity, LEASE, Lineage, LineageOrder, Name, Position, Role};

use super::{facts, loads::Loads, silence::AgentKey};
use crate::reconcile::HeardAgent;

/// How long one that is not heard any more stays listed, so that people see what is missing.
const KEEP: Duration = Duration::from_secs(3_600);
/// What an entry takes in memory beside what was said of it.
const ENTRY_BYTES: usize = 512;
/// How much is remembered of the gateways of one agent: twice what one report can say, so that those that are replaced do not push out
/// those that are there. Beyond it those heard longest ago are forgotten.
const BYTES_PER_AGENT: usize = 2 * (MAX_REPORT_BYTES + MAX_REPORTED * ENTRY_BYTES);
/// Nodes are asked every second; what is older than a few of those no longer says that a connection stands.
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);

/// The memory. Names are unique in a region.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    agents: BTreeMap<AgentKey, Remembered<Agent>>,
    gateways: BTreeMap<AgentKey, Remembered<Gateway>>,
    /// DNS responders are known as gateways are.
    responders: BTreeMap<AgentKey, Remembered<Gateway>>,
    loads: Loads,
}

/// What was heard last of one.
#[derive(Debug)]
struct Remembered<T> {
    at: Instant,
    connected: bool,
    /// The processes of that name, from all nodes and agents that spoke of them.
    boots: Boots,
    what: T,
}

#[derive(Debug)]
struct Agent {
    scopes: Vec<HeardScope>,
    facts: Facts,
    /// Since when it has said the address that it says.
    address_since: Instant,
}

#[derive(Debug)]
struct Gateway {
    agent: String,
    /// What it takes here, about.
    bytes: usize,
    scopes: Vec<HeardScope>,
    facts: Facts,
    key: Option<KeyDigest>,
    /// Whether its agent hears it, as the agent says.
    live: bool,
}

/// Where an agent or a gateway stands in one scope.
#[derive(Debug)]
struct HeardScope {
    effective: Option<Position>,
    /// But for the revision in use: that depends on the history asked for.
    status: ScopeStatus,
}

impl HeardScope {
    fn in_history(&self, lineage: Option<&Lineage>) -> ScopeStatus {
        let effective = self.effective.zip(lineage).and_then(|(at, lineage)| revision_in(lineage, &at));
        ScopeStatus { effective, ..self.status.clone() }
    }
}

/// The revision of `lineage` at this position. `None`: the position is of another history, or of a part of the history before
/// that this one does not continue. Revisions of different histories do not compare.
fn revision_in(lineage: &Lineage, at: &Position) -> Option<u64> {
    match lineage.order(&at.lineage) {
        LineageOrder::Same => Some(at.revision),
        LineageOrder::Greater => {
            let (parent, last) = lineage.parent?;
            (parent == at.lineage.id && at.revision <= last).then_some(at.revision)
        }
        LineageOrder::Lesser | LineageOrder::Conflict => None,
    }
}

impl Memory {
    /// Takes in what nodes say at `now` of their agents. Of two words on one agent or gateway the later one counts.
    pub(crate) fn learn(&mut self, agents: impl IntoIterator<Item = Heard>, now: Instant) {
        let mut heard_of = BTreeSet::new();
        for heard in agents {
            // Identities came from certificates; another node that sends others is not believed.
            let Some(key) = key_of(&heard, Role::Agent) else { continue };
            let report = heard.report.clone().unwrap_or_default();
            let at = ago(now, heard.heard_ms_ago);
            if let Some(traffic) = &report.traffic {
                self.loads.learn(&key, traffic, ago(now, heard.reported_ms_ago));
            }
            let facts = facts::of_agent(&report);
            let known = self.agents.get(&key).map(|known| &known.what);
            let same = known.filter(|known| known.facts.address == facts.address);
            let address_since = same.map_or(at, |known| known.address_since);
            let agent = Agent { scopes: scopes_of(&heard.acks), facts, address_since };
            newer(&mut self.agents, key.clone(), at, heard.connected, &heard.boot_id, agent);
            let (region, agent) = &key;
            for row in nested::of_row("report.below", &report.below).map_while(Result::ok).take(MAX_REPORTED)
            {
                let Ok(below) = nested::read::<Heard>("heard", row) else { continue };
                // An agent speaks for its own region only, and what is no name is nobody's.
                let role = if key_of(&below, Role::Dns).is_some() { Role::Dns } else { Role::Gateway };
                let Some(key) = key_of(&below, role).filter(|(of, _)| of == region) else { continue };
                let is_responder = role == Role::Dns;
                let facts = if is_responder { facts::of_responder } else { facts::of_gateway };
                let scopes = scopes_of(&below.acks);
                let gateway = Gateway {
                    agent: agent.clone(),
                    bytes: row.len() + ENTRY_BYTES + scopes.len() * size_of::<HeardScope>(),
                    scopes,
                    facts: facts(below.report.as_ref()),
                    key: below.key[..].try_into().ok(),
                    live: below.connected,
                };
                // What the agent said has aged since it said it.
                let at = ago(now, below.heard_ms_ago.saturating_add(heard.reported_ms_ago));
                let connected = below.connected && heard.connected;
                let known = if is_responder { &mut self.responders } else { &mut self.gateways };
                newer(known, key, at, connected, &below.boot_id, gateway);
            }
            heard_of.insert(key);
        }
        for known in [&mut self.gateways, &mut self.responders] {
            heard_of.iter().for_each(|(region, agent)| bound_those_of(known, region, agent));
            known.retain(|_, heard| now.saturating_duration_since(heard.at) < KEEP);
        }
        self.agents.retain(|_, heard| now.saturating_duration_since(heard.at) < KEEP);
        let agents = &self.agents;
        self.loads.retain(|agent| agents.contains_key(agent));
    }

    /// What agents said of their traffic.
    pub(super) fn loads(&self) -> &Loads {
        &self.loads
    }

    /// The names that two processes have at once.
    pub(crate) fn duplicates(&self, now: Instant) -> Vec<Duplicate> {
        let agents = self.agents.iter().map(|(key, heard)| ("agent", key, &heard.boots));
        let gateways = self.gateways.iter().map(|(key, heard)| ("gateway", key, &heard.boots));
        let duplicate = |(role, (region, name), boots): (_, &AgentKey, &Boots)| {
            let seen = boots.twins(now)?;
            let (name, region) = (name.clone(), region.clone());
            Some(Duplicate { name, region, role, seen_ms_ago: ms_since(seen, now) })
        };
        let responders = self.responders.iter().map(|(key, heard)| ("dns", key, &heard.boots));
        agents.chain(gateways).chain(responders).filter_map(duplicate).collect()
    }

    /// The agents that have more gateways than their report names.
    pub(crate) fn partial(&self, now: Instant) -> Vec<PartialReport> {
        let partial = self.agents.iter().filter(|(_, heard)| heard.what.facts.left_out > 0);
        let report = |((region, agent), heard): (&AgentKey, &Remembered<Agent>)| PartialReport {
            agent: agent.clone(),
            region: region.clone(),
            left_out: heard.what.facts.left_out,
            heard_ms_ago: ms_since(heard.at, now),
        };
        partial.map(report).collect()
    }

    /// Every agent with its gateways, ordered by region and name, with ages as of `now` and revisions of `lineage`.
    pub(crate) fn recall(&self, now: Instant, lineage: Option<&Lineage>) -> Vec<AgentStatus> {
        self.agents
            .iter()
            .map(|((region, name), heard)| AgentStatus {
                name: name.clone(),
                region: region.clone(),
                connected: still_connected(heard, now),
                heard_ms_ago: ms_since(heard.at, now),
                scopes: in_history(&heard.what.scopes, lineage),
                gateways: self.gateways_of(region, name, now, lineage),
                facts: heard.what.facts.clone(),
            })
            .collect()
    }

    fn gateways_of(
        &self,
        region: &Name,
        agent: &str,
        now: Instant,
        lineage: Option<&Lineage>,
    ) -> Vec<GatewayStatus> {
        self.gateways
            .iter()
            .filter(|((its_region, _), heard)| its_region == region && heard.what.agent == agent)
            .map(|((region, name), heard)| GatewayStatus {
                name: name.clone(),
                region: region.clone(),
                connected: still_connected(heard, now),
                heard_ms_ago: ms_since(heard.at, now),
                scopes: in_history(&heard.what.scopes, lineage),
                facts: heard.what.facts.clone(),
                key: heard.what.key,
            })
            .collect()
    }

    /// Every responder, ordered by region and name, with ages as of `now`.
    pub(super) fn responders(&self, now: Instant) -> Vec<ResponderStatus> {
        let responder = |((region, name), heard): (&AgentKey, &Remembered<Gateway>)| ResponderStatus {
            name: name.clone(),
            region: region.clone(),
            agent: heard.what.agent.clone(),
            connected: still_connected(heard, now),
            heard_ms_ago: ms_since(heard.at, now),
            said: heard.what.facts.responder.clone().unwrap_or_default(),
        };
        self.responders.iter().map(responder).collect()
    }

    /// The agents that are remembered, with ages as of `now`.
    pub(crate) fn heard_agents(&self, now: Instant) -> BTreeMap<Identity, HeardAgent> {
        let heard = |((region, name), heard): (&AgentKey, &Remembered<Agent>)| {
            let identity = Identity::agent(Name::new(name).ok()?, region.clone());
            let agent = HeardAgent {
                heard_ago: now.saturating_duration_since(heard.at),
                address: heard.what.facts.address.clone(),
                address_for: now.saturating_duration_since(heard.what.address_since),
            };
            Some((identity, agent))
        };
        self.agents.iter().filter_map(heard).collect()
    }

    /// The regions of which an agent was heard within [`LEASE`], with their gateways. `settled`: see [`HeardRegion`].
    pub(crate) fn heard_regions(&self, now: Instant, settled: bool) -> BTreeMap<Name, HeardRegion> {
        let age = |heard: &Remembered<Agent>| now.saturating_duration_since(heard.at);
        let mut regions = BTreeMap::<Name, HeardRegion>::new();
        for ((region, _), heard) in self.agents.iter().filter(|(_, heard)| age(heard) <= LEASE) {
            let new = || HeardRegion { age: Duration::MAX, gateways: Vec::new(), settled };
            let known = regions.entry(region.clone()).or_insert_with(new);
            known.age = known.age.min(age(heard));
        }
        for ((region, _), heard) in &self.gateways {
            let Some(known) = regions.get_mut(region) else { continue };
            let agent = self.agents.get(&(region.clone(), heard.what.agent.clone()));
            let is_spoken_for = agent.is_some_and(|agent| age(agent) <= LEASE);
            let serving = Some(&heard.what.facts.serving).filter(|serving| !serving.is_empty());
            known.gateways.push(HeardGateway {
                live: is_spoken_for.then_some(heard.what.live),
                serving: serving.and_then(|serving| nested::read("serving", serving).ok()),
            });
        }
        regions
    }

    /// The join tokens that agents say they made.
    pub(crate) fn minted_tokens(&self) -> Vec<(Identity, MintedToken)> {
        let of_agent = |((region, name), agent): (&AgentKey, &Remembered<Agent>)| {
            let agent_name = Name::new(name).ok()?;
            let identity = Identity::agent(agent_name, region.clone());
            let tokens = agent.what.facts.minted_tokens.iter().cloned();
            let tokens = tokens.filter_map(|token| MintedToken::from_proto(token).ok());
            Some(tokens.map(|token| (identity.clone(), token)).collect::<Vec<_>>())
        };
        self.agents.iter().filter_map(of_agent).flatten().collect()
    }

    /// The keys that agents reported gateways of this name with, each once.
    pub(crate) fn keys_of(&self, region: &Name, gateway: &str) -> Vec<KeyDigest> {
        let heard = self.gateways.get(&(region.clone(), gateway.to_owned()));
        let of_region = self.agents.iter().filter(|((of, _), _)| of == region);
        let revoked = of_region.flat_map(|(_, agent)| &agent.what.facts.revoked_gateways);
        let keys: BTreeSet<KeyDigest> = heard
            .and_then(|heard| heard.what.key)
            .into_iter()
            .chain(revoked.filter(|of| of.name == gateway).filter_map(|of| of.key[..].try_into().ok()))
            .collect();
        keys.into_iter().collect()
    }
}

/// Forgets those of an agent's gateways, or of its responders, that were heard longest ago, where there is too much of them.
fn bound_those_of(known: &mut BTreeMap<AgentKey, Remembered<Gateway>>, region: &Name, agent: &str) {
    let of_agent = |((its_region, _), heard): &(&AgentKey, &Remembered<Gateway>)| {
        its_region == region && heard.what.agent == agent
    };
    let all = || known.iter().filter(of_agent);
    let mut bytes: usize = all().map(|(_, heard)| heard.what.bytes).sum();
    if bytes <= BYTES_PER_AGENT {
        return;
    }
    let mut by_age: Vec<_> = all().map(|(key, heard)| (heard.at, heard.what.bytes, key.clone())).collect();
    by_age.sort_unstable_by(|one, other| other.cmp(one));
    while bytes > BYTES_PER_AGENT
        && let Some((_, size, key)) = by_age.pop()
    {
        bytes -= size;
        known.remove(&key);
    }
}

/// Keeps the later of the two. One that says the same thing later also counts: it is a proof of life.
fn newer<T>(
    map: &mut BTreeMap<AgentKey, Remembered<T>>,
    key: AgentKey,
    at: Instant,
    connected: bool,
    boot: &[u8],
    what: T,
) {
    let known = map.remove(&key);
    let mut boots = known.as_ref().map(|known| known.boots.clone()).unwrap_or_default();
    if let Ok(Some(boot)) = BootId::of_message(boot) {
        boots.heard(boot, at);
    }
    let heard = match known {
        Some(known) if known.at > at => Remembered { boots, ..known },
        Some(_) | None => Remembered { at, connected, boots, what },
    };
    map.insert(key, heard);
}

fn still_connected<T>(heard: &Remembered<T>, now: Instant) -> bool {
    heard.connected && now.saturating_duration_since(heard.at) < CONNECTED_WITHIN
}

/// The moment so many milliseconds before `now`; long ago is as long ago as can be told.
pub(super) fn ago(now: Instant, ms: u64) -> Instant {
    now.checked_sub(Duration::from_millis(ms)).or_else(|| now.checked_sub(KEEP)).unwrap_or(now)
}

fn ms_since(at: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX)
}

fn in_history(scopes: &[HeardScope], lineage: Option<&Lineage>) -> Vec<ScopeStatus> {
    scopes.iter().map(|scope| scope.in_history(lineage)).collect()
}

/// Where one stands in each scope, by its Acks; what cannot be read is left out.
fn scopes_of(acks: &[u8]) -> Vec<HeardScope> {
    let read = |ack: Result<&[u8], _>| {
        let ack = ack.ok().filter(|ack| ack.len() <= ScopeAck::MAX_PASSED_ON_BYTES)?;
        let (scope, ack) = ScopeAck::of_message(nested::read("heard.acks", ack).ok()?).ok()?;
        let status = ScopeStatus {
            quarantined: ack.quarantine.named().iter().map(quarantined).collect(),
            quarantined_total: ack.quarantine.total(),
            ..ScopeStatus::at(scope, None)
        };
        Some(HeardScope { effective: ack.effective, status })
    };
    nested::of_row("heard.acks", acks).filter_map(read).collect()
}

/// What one of this role goes by; `None`: it is of another role, or that is no identity.
pub(super) fn key_of(heard: &Heard, role: Role) -> Option<AgentKey> {
    let identity: Identity = heard.identity.parse().ok()?;
    (identity.role == role).then_some(())?;
    Some((identity.region?, identity.name.to_string()))
}

fn quarantined(said: &sync::Quarantined) -> Quarantined {
    Quarantined {
        key: said.key.clone(),
        received: said.received.to_vec(),
        last_good: !said.effective.is_empty(),
        field: said.field.clone(),
        reason: said.reason.clone(),
        current: false,
    }
}

#[cfg(test)]
mod tests;
