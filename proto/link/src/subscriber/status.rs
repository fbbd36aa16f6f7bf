//! How a link stands, for people and for readiness.

use std::{collections::BTreeSet, time::Instant};

use hanse_sync::{Freshness, Standing};
use hanse_topology::{Position, ScopeId};

/// How a link to a publisher stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LinkStatus {
    /// The address of the publisher followed; `None` between two.
    pub connected_to: Option<String>,
    /// Since when there is a publisher, or none; `None`: there was none yet.
    pub since: Option<Instant>,
    /// What that publisher calls itself.
    pub publisher: Option<String>,
    /// How fresh it last said it is.
    pub freshness: Option<Freshness>,
    /// What to think of it. Poor, and still connected: none of the others is better.
    pub standing: Option<Standing>,
    /// What the publisher that spoke of the latest state offered last. An offer that rests on no state says nothing.
    pub offered: BTreeSet<ScopeId>,
    /// The state by which it offers that. A relay says the same to its own subscribers.
    pub offered_as_of: Option<Position>,
    /// Why the last link ended, or the last attempt failed.
    pub last_failure: Option<String>,
    /// The last alarm a publisher gave cause for.
    pub last_alarm: Option<String>,
}

impl LinkStatus {
    /// Follows the publisher at this address.
    pub(super) fn connected(&mut self, address: &str, now: Instant) {
        if self.connected_to.is_none() {
            self.since = Some(now);
        }
        self.connected_to = Some(address.to_owned());
    }

    pub(super) fn disconnected(&mut self, reason: String) {
        if self.connected_to.is_some() {
            self.since = Some(Instant::now());
        }
        self.connected_to = None;
        self.publisher = None;
        self.standing = None;
        self.last_failure = Some(reason);
    }
}
