//! What became of every change of live gateways at every agent: pure.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

/// How many agents a verdict names.
const NAMED: usize = 5;

/// Every change, and when which agent showed it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    changes: Vec<Made>,
    /// By agent and change.
    shown: BTreeMap<String, BTreeMap<usize, Instant>>,
}

/// A change that was made.
#[derive(Debug)]
struct Made {
    /// When it was to be made: times count from here.
    due: Instant,
    /// When it was made.
    at: Instant,
}

/// How long the changes took.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::bench::region) struct Took {
    /// Of each change, until the last agent showed it; sorted.
    pub(in crate::bench::region) to_all: Vec<Duration>,
    /// How late a change was made at worst.
    pub(in crate::bench::region) late: Duration,
}

impl Ledger {
    /// Of these agents.
    pub(super) fn new(agents: impl Iterator<Item = String>) -> Self {
        Self { changes: Vec::new(), shown: agents.map(|agent| (agent, BTreeMap::new())).collect() }
    }

    /// The next change, which was to be made when it was `due`, is made now.
    pub(super) fn made(&mut self, due: Instant, at: Instant) {
        self.changes.push(Made { due, at });
    }

    /// An agent shows a change, by its number.
    pub(super) fn shown(&mut self, agent: &str, change: usize, at: Instant) {
        self.shown.entry(agent.to_owned()).or_default().entry(change).or_insert(at);
    }

    /// How long the changes took, if every agent showed each of them.
    pub(super) fn verdict(&self, name: impl Fn(usize) -> String) -> Result<Took> {
        ensure!(!self.changes.is_empty() && !self.shown.is_empty(), "no change, or no agent");
        let mut to_all = Vec::new();
        for (change, made) in self.changes.iter().enumerate() {
            let lacking = self.shown.iter().filter(|(_, shown)| !shown.contains_key(&change));
            let lacking: Vec<&String> = lacking.map(|(agent, _)| agent).collect();
            ensure!(
                lacking.is_empty(),
                "{} agents do not show that {}: {:?}",
                lacking.len(),
                name(change),
                &lacking[..lacking.len().min(NAMED)]
            );
            let last = self.shown.values().filter_map(|shown| shown.get(&change)).max();
            to_all.extend(last.map(|last| last.saturating_duration_since(made.due)));
        }
        to_all.sort_unstable();
        let late = self.changes.iter().map(|made| made.at.saturating_duration_since(made.due)).max();
        Ok(Took { to_all, late: late.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn ledger(began: Instant) -> Ledger {
        let mut ledger = Ledger::new(["a", "b"].map(str::to_owned).into_iter());
        ledger.made(began, began + 3 * MS);
        ledger.made(began + 1_000 * MS, began + 1_000 * MS);
        ledger.shown("a", 0, began + 10 * MS);
        ledger.shown("b", 0, began + 400 * MS);
        ledger.shown("b", 1, began + 1_020 * MS);
        ledger
    }

    #[test]
    fn a_change_takes_until_the_last_agent_shows_it_from_when_it_was_due() {
        let began = Instant::now();
        let mut ledger = ledger(began);
        ledger.shown("a", 1, began + 1_030 * MS);
        ledger.shown("a", 1, began + 1_900 * MS);
        let took = ledger.verdict(|change| change.to_string()).unwrap();
        assert_eq!(took, Took { to_all: vec![30 * MS, 400 * MS], late: 3 * MS });
    }

    #[test]
    fn what_an_agent_does_not_show_and_an_empty_ledger_are_no_figures() {
        let error = ledger(Instant::now()).verdict(|change| format!("change {change}")).unwrap_err();
        assert_eq!(error.to_string(), r#"1 agents do not show that change 1: ["a"]"#);
        let name = |change: usize| change.to_string();
        assert!(Ledger::default().verdict(name).is_err());
        assert!(Ledger::new(["a".to_owned()].into_iter()).verdict(name).is_err());
    }
}
