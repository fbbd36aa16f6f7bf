//! What a relay knows of its region, with the order in which it changed: pure.

use std::{collections::BTreeMap, sync::Arc, vec};

use hanse_proto::sync::{AgentLive, RegionPart, Traffic};
use hanse_topology::Name;
use prost::Message as _;

use super::{hearing::RegionView, limit::Limit};

/// A part is closed when it has so many octets: small beside what a message may have, large beside the envelope.
const PART_BYTES: usize = 256 << 10;
/// Agents that are gone and whose names are kept, so that it can be said that they are forgotten. With more, all are dropped, and peers
/// that have not heard of them are told the whole view.
pub(super) const MAX_FORGOTTEN: usize = 1_000;

/// What is known, and when each agent changed last.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    version: u64,
    agents: BTreeMap<Name, Line>,
    traffic: Traffic,
    traffic_changed: u64,
    /// Who heard all up to an earlier version may hold agents that have no line any more.
    since: u64,
}

/// An agent. One that was forgotten leaves its line behind for a while.
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
        if self.agents.values().filter(|line| line.agent.is_none()).count() > MAX_FORGOTTEN {
            self.agents.retain(|_, line| line.agent.is_some());
            self.since = self.version;
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

    /// What changed after version `seen`, as far as these environments let it through; without `seen`, all there is.
    pub(super) fn since(&self, seen: Option<u64>, environments: Vec<String>) -> News {
        let seen = seen.filter(|seen| *seen >= self.since);
        let is_news = |changed: u64| seen.is_none_or(|seen| changed > seen);
        let news = self.agents.iter().filter(|(_, line)| is_news(line.changed));
        // Who asks anew knows of none that was forgotten.
        let news = news.filter(|(_, line)| seen.is_some() || line.agent.is_some());
        let agents: Vec<_> = news.map(|(name, line)| (name.clone(), line.agent.clone())).collect();
        let traffic = is_news(self.traffic_changed).then(|| self.traffic.clone());
        let over = seen.is_some() && agents.is_empty() && traffic.is_none();
        News { whole: seen.is_none(), agents: agents.into_iter(), traffic, environments, over }
    }
}

/// What is to be told, as parts. Each is made when the one before was taken: until then it shares the rows of the ledger.
#[derive(Debug)]
pub(super) struct News {
    whole: bool,
    agents: vec::IntoIter<(Name, Option<Arc<AgentLive>>)>,
    traffic: Option<Traffic>,
    environments: Vec<String>,
    over: bool,
}

impl Iterator for News {
    type Item = RegionPart;

    fn next(&mut self) -> Option<RegionPart> {
        if self.over {
            return None;
        }
        let limit = Limit(&self.environments);
        let mut part = RegionPart { whole: std::mem::take(&mut self.whole), ..RegionPart::default() };
        let mut length = 0;
        while length < PART_BYTES
            && let Some((name, agent)) = self.agents.next()
        {
            match agent {
                Some(agent) => {
                    let agent = limit.agent(&agent);
                    length += agent.encoded_len();
                    part.agents.push(agent);
                }
                None => {
                    length += name.as_str().len();
                    part.forgotten.push(name.to_string());
                }
            }
        }
        part.more = self.agents.len() > 0;
        self.over = !part.more;
        if self.over {
            part.traffic = self.traffic.take().map(|traffic| limit.traffic(&traffic));
        }
        Some(part)
    }
}
