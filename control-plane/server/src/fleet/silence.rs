//! Whether the fleet was fully seen: which control nodes that do not answer may hide what no other node knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use hanse_topology::{LEASE, Name};

/// A control node that stopped answering is waited for no longer than this: agents find another one sooner, and have no lease any more
/// otherwise.
const WAITED_FOR: Duration = Duration::from_secs(30);

/// An agent, by region and name.
pub(super) type AgentKey = (Name, String);

/// What one control node said of one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    /// Whether the agent had a stream there.
    pub(super) connected: bool,
    /// When it was heard there last.
    pub(super) heard: Instant,
    /// When its last report came there.
    pub(super) reported: Instant,
}

/// What each control node answered last.
#[derive(Debug, Default)]
pub(super) struct LastAnswers(BTreeMap<String, Answer>);

#[derive(Debug)]
struct Answer {
    at: Instant,
    agents: BTreeMap<AgentKey, Word>,
}

impl LastAnswers {
    /// Notes what a node said at that time, unless it has said something since: gatherings may overlap. Bounded by the nodes
    /// and the agents that there ever were.
    pub(super) fn note(&mut self, node: &str, at: Instant, agents: BTreeMap<AgentKey, Word>) {
        if self.0.get(node).is_none_or(|answer| answer.at <= at) {
            self.0.insert(node.to_owned(), Answer { at, agents });
        }
    }

    /// Those of the nodes that were asked in vain, as of `now`, which keep the fleet from being fully seen. `answered` are those that
    /// answered when they were.
    ///
    /// A node that never answered does: what reports to it is not known. Another one does while there is an agent that has a lease and
    /// is not seen: the agent may be with the silent node, and have gateways that no other node knows.
    pub(super) fn hiding(
        &self,
        unanswered: &[String],
        answered: &BTreeSet<String>,
        now: Instant,
    ) -> Vec<String> {
        let agents: BTreeSet<&AgentKey> = self.0.values().flat_map(|answer| answer.agents.keys()).collect();
        let is_missed =
            |agent: &AgentKey| self.has_lease(agent, answered, now) && !self.is_seen(agent, answered);
        let any_missed = agents.into_iter().any(is_missed);
        let hides = |node: &&String| match self.0.get(*node) {
            None => true,
            Some(answer) => any_missed && now < answer.at + WAITED_FOR,
        };
        unanswered.iter().filter(hides).cloned().collect()
    }

    /// Whether the agent was heard no longer than a lease ago. If it was connected to a node when that node spoke last, it was there.
    fn has_lease(&self, agent: &AgentKey, answered: &BTreeSet<String>, now: Instant) -> bool {
        let heard =
            self.words(agent).map(|(node, at, word)| match word.connected && !answered.contains(node) {
                true => at,
                false => word.heard,
            });
        heard.max().is_some_and(|heard| now < heard + LEASE)
    }

    /// Whether an answering node has the agent, and a report of it that is later than anything a silent node said of it.
    fn is_seen(&self, agent: &AgentKey, answered: &BTreeSet<String>) -> bool {
        let (here, silent): (Vec<_>, Vec<_>) =
            self.words(agent).partition(|(node, ..)| answered.contains(*node));
        let silent = silent.into_iter().map(|(_, _, word)| word.heard).max();
        let is_later = |word: &Word| silent.is_none_or(|heard| word.reported > heard);
        here.into_iter().any(|(_, _, word)| word.connected && is_later(word))
    }

    /// What each node said of an agent, and when.
    fn words(&self, agent: &AgentKey) -> impl Iterator<Item = (&String, Instant, &Word)> {
        self.0.iter().filter_map(|(node, answer)| Some((node, answer.at, answer.agents.get(agent)?)))
    }
}

#[cfg(test)]
mod tests;
