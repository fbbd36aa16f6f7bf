//! What a relay knows of its region, with the order in which it changed: pure.

use std::{collections::BTreeMap, sync::Arc};

use hanse_proto::sync::{AgentLive, RegionPart, Traffic};
use hanse_topology::Name;
use prost::Message as _;

use super::{hearing::RegionView, limit::Limit};

/// A part is closed when it has so many octets: small beside what a message may have, large beside the envelope.
const PART_BYTES: usize = 256 << 10;

/// What is known, and when each agent changed last.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    version: u64,
    agents: BTreeMap<Name, Line>,
    traffic: Traffic,
    traffic_changed: u64,
}

/// An agent. One that was forgotten leaves its line behind: as many as the region ever had agents.
#[derive(Debug, Clone)]
struct Line {
    changed: u64,
    agent: Option<Arc<AgentLive>>,
}

impl Ledger {
    /// Up to where all was noted that this version has.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// These are the agents now. Whether that is news.
    pub(super) fn set_agents(&mut self, mut agents: BTreeMap<Name, AgentLive>) -> bool {
        let next = self.version + 1;
        for (name, line) in &mut self.agents {
            let now = agents.remove(name);
            if now.as_ref() != line.agent.as_deref() {
                *line = Line { changed: next, agent: now.map(Arc::new) };
                self.version = next;
            }
        }
        for (name, agent) in agents {
            self.agents.insert(name, Line { changed: next, agent: Some(Arc::new(agent)) });
            self.version = next;
        }
        self.version == next
    }

    /// This is the traffic now. Whether that is news.
    pub(super) fn set_traffic(&mut self, traffic: Traffic) -> bool {
        if self.traffic == traffic {
            return false;
        }
        self.version += 1;
        (self.traffic, self.traffic_changed) = (traffic, self.version);
        true
    }

    /// What is known.
    pub(super) fn view(&self) -> RegionView {
        let agents = self.agents.iter();
        let agents = agents.filter_map(|(name, line)| Some((name.clone(), line.agent.clone()?))).collect();
        RegionView { agents, traffic: self.traffic.clone() }
    }

    /// What is known of one agent.
    pub(super) fn agent(&self, name: &Name) -> Option<Arc<AgentLive>> {
        self.agents.get(name)?.agent.clone()
    }

    /// What changed after version `seen`, as far as the limit lets it through; without `seen`, all there is.
    pub(super) fn since(&self, seen: Option<u64>, limit: &Limit<'_>) -> Vec<RegionPart> {
        let is_news = |changed: u64| seen.is_none_or(|seen| changed > seen);
        let mut parts = Vec::new();
        let mut part = RegionPart { whole: seen.is_none(), ..RegionPart::default() };
        let mut length = 0;
        for (name, line) in self.agents.iter().filter(|(_, line)| is_news(line.changed)) {
            let agent = line.agent.as_ref().map(|agent| limit.agent(agent));
            let octets = agent.as_ref().map_or(name.as_str().len(), |agent| agent.encoded_len());
            if length > 0 && length + octets > PART_BYTES {
                parts.push(RegionPart { more: true, ..std::mem::take(&mut part) });
                length = 0;
            }
            length += octets;
            match agent {
                Some(agent) => part.agents.push(agent),
                None if seen.is_some() => part.forgotten.push(name.to_string()),
                None => {} // who asks anew knows of none
            }
        }
        part.traffic = is_news(self.traffic_changed).then(|| limit.traffic(&self.traffic));
        if !parts.is_empty() || part != RegionPart::default() {
            parts.push(part);
        }
        parts
    }
}
