//! Requests by environment and host pattern, for what a region knows of its traffic.
//!
//! A request counts for a pattern of the Route that answers it. So clients cannot make up rows.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use hanse_link::TrafficSum;
use hanse_proto::sync::Traffic;
use hanse_runtime::HostPattern;
use hanse_topology::Name;

use super::sharded::Sharded;
use crate::weak::WeakMap;

/// An environment and a host pattern in it.
type HostOf = (Option<Name>, HostPattern);

/// Requests for one host pattern of an environment.
#[derive(Debug, Default)]
pub struct HostStats(Sharded<1>);

impl HostStats {
    /// Counts one answered request.
    pub fn count(&self, worker: usize) {
        self.0.count(worker, 0);
    }

    fn total(&self) -> u64 {
        let [total] = self.0.totals();
        total
    }
}

/// The counters of all host patterns that Routes have. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct HostCounters(Arc<Mutex<WeakMap<HostOf, HostStats>>>);

impl HostCounters {
    /// That of a pattern, at zero where no Route of the environment has it.
    pub fn of(&self, environment: Option<&Name>, pattern: &HostPattern) -> Arc<HostStats> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (environment.cloned(), pattern.clone());
        known.get(&key).unwrap_or_else(|| {
            let new = Arc::new(HostStats::default());
            known.insert(key, &new);
            new
        })
    }

    fn totals(&self) -> HashMap<HostOf, u64> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.entries().map(|(key, stats)| (key.clone(), stats.total())).collect()
    }
}

/// The requests between two looks at the counters.
#[derive(Debug, Clone)]
pub struct TrafficWindow {
    counters: HostCounters,
    before: HashMap<HostOf, u64>,
}

impl TrafficWindow {
    /// One that begins now.
    pub fn new(counters: HostCounters) -> Self {
        let before = counters.totals();
        Self { counters, before }
    }

    /// The requests since it began. The next one begins.
    pub fn turn(&mut self) -> Traffic {
        let now = self.counters.totals();
        let mut sum = TrafficSum::default();
        for ((environment, pattern), total) in &now {
            let before =
                self.before.get(&(environment.clone(), pattern.clone())).copied().unwrap_or_default();
            // A pattern that no Route had meanwhile counts from zero again: a counter that fell. Requests up to the time when the last Route
            // left are lost, and so are some where the new counter has passed the old one.
            let requests = total.checked_sub(before).unwrap_or(*total);
            let host = match pattern {
                HostPattern::Any => "*".to_owned(),
                HostPattern::Exact(_) | HostPattern::Suffix(_) => pattern.to_string(),
            };
            sum.add(environment.as_ref().map_or("", Name::as_str), &host, requests);
        }
        self.before = now;
        sum.to_message()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_what_was_counted_in_it() {
        let counters = HostCounters::default();
        let environment = Name::new("production").unwrap();
        let of = |text: &str| {
            let pattern = HostPattern::parse(text).unwrap_or(HostPattern::Any);
            counters.of(Some(&environment), &pattern)
        };
        let (any, exact) = (of("*"), of("a.example"));
        any.count(0);
        let mut window = TrafficWindow::new(counters.clone());
        let rows = |traffic: Traffic| -> Vec<(String, u64)> {
            traffic
                .rows
                .into_iter()
                .map(|row| (format!("{}/{}", row.environment, row.host), row.requests))
                .collect()
        };
        assert_eq!(rows(window.turn()), []);
        (0..20).for_each(|worker| any.count(worker));
        of("*").count(3);
        exact.count(1);
        of("*.example.com").count(0); // nothing holds it
        assert_eq!(rows(window.turn()), [("production/*".into(), 21), ("production/a.example".into(), 1)]);
        assert_eq!(rows(window.turn()), []);
        // The counter goes with the last Route that has the pattern, and comes back at zero.
        drop(any);
        let any = of("*");
        any.count(0);
        assert_eq!(rows(window.turn()), [("production/*".into(), 1)]);
    }
}
