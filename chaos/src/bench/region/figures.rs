//! The figures of one region, and what its local scopes hold.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::live::Took;
use crate::{bench::ms, percentile};

/// The resources of each local scope.
const RESOURCES: usize = 10;
/// The bytes of each: a Route with some operations has about as many.
const RESOURCE_BYTES: usize = 250;

/// What is measured of a region. Where one way of measuring has no such figure, there is none.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Figures {
    pub(super) agents: usize,
    /// Of an agent that is neither relay nor holder: one to a control node, and two to each relay, to follow it and to watch the region.
    pub(super) streams_per_agent: usize,
    /// Of the relay that has most: those that it serves, and its own as of any agent.
    pub(super) streams_per_relay: usize,
    /// Of an agent that is no relay: the growth of the process that runs them, divided.
    pub(super) memory_per_agent_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory_per_relay_bytes: Option<u64>,
    /// Of all agents together.
    pub(super) memory_total_bytes: u64,
    /// Sent and received while nothing changes.
    pub(super) idle_bytes_per_second_per_agent: f64,
    pub(super) idle_bytes_per_second_per_relay: f64,
    /// From a wish at a holder until every agent holds it.
    pub(super) change_to_all_p50_ms: f64,
    pub(super) change_to_all_p99_ms: f64,
    /// From when a gateway comes or goes until every agent shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) live_to_all_p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) live_to_all_max_ms: Option<f64>,
    /// How late a gateway came or went at worst. The two figures before count it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) live_late_ms: Option<f64>,
    /// As of a local change, of one right after a relay was killed.
    pub(super) relay_killed_change_to_all_ms: f64,
    /// From the kill until every agent follows three relays again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) relay_replaced_ms: Option<f64>,
    /// From the start of all agents until each follows all relays.
    pub(super) restarted_linked_ms: f64,
    /// From the wishes of all holders after that until every agent holds them.
    pub(super) restarted_change_to_all_ms: f64,
}

impl Figures {
    /// Notes how long changes took.
    pub(super) fn note_changes(&mut self, mut took: Vec<Duration>) {
        took.sort_unstable();
        self.change_to_all_p50_ms = ms(percentile(&took, 50));
        self.change_to_all_p99_ms = ms(percentile(&took, 99));
    }

    /// Notes how long changes of live gateways took.
    pub(super) fn note_live(&mut self, Took { to_all, late }: &Took) {
        self.live_to_all_p50_ms = Some(ms(percentile(to_all, 50)));
        self.live_to_all_max_ms = Some(ms(percentile(to_all, 100)));
        self.live_late_ms = Some(ms(*late));
    }
}

/// The content of a local scope after a change. A change is of one resource.
pub(super) fn content(change: u64) -> Vec<(Arc<str>, Bytes)> {
    (0..RESOURCES)
        .map(|number| {
            let last = if number == 0 { change } else { 0 };
            (Arc::from(format!("route/default/{number}")), Bytes::from(format!("{last:0RESOURCE_BYTES$}")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_of_one_resource() {
        let (before, after) = (content(1), content(2));
        let differ = before.iter().zip(&after).filter(|(before, after)| before != after);
        assert_eq!((before.len(), differ.count()), (RESOURCES, 1));
        assert!(before.iter().all(|(_, value)| value.len() == RESOURCE_BYTES));
    }
}
