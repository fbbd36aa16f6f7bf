//! What one subscriber is told of places: pure.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use hanse_proto::{
    places::{MAX_PLACE_ROWS, MAX_PLACES_BYTES},
    sync::{PlaceRow, Places},
};
use hanse_topology::{Name, ScopeId};
use prost::Message as _;
use tokio::sync::watch;

use super::{KeptPlaces, PlacesByEnvironment, SeenPlace, told};

/// How often all rows are repeated: three times in the time for which a region's word on its health counts.
const REPEAT_EVERY: Duration = Duration::from_secs(5);
/// The most octets beside a row in a message: its tag and its length.
const ROW_OVERHEAD: usize = 1 + 5;

/// The environments of which a subscriber may learn places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Learns {
    /// All: it may learn what DNS answers, and a host of any environment may be in it.
    All,
    /// Those that it is offered scopes of.
    Environments(BTreeSet<Name>),
}

impl Learns {
    /// What one may learn that is offered these scopes.
    pub(crate) fn of(offered: &[ScopeId]) -> Self {
        if offered.iter().any(|scope| matches!(scope, ScopeId::Dns { .. })) {
            return Self::All;
        }
        Self::Environments(offered.iter().filter_map(ScopeId::environment).cloned().collect())
    }

    fn covers(&self, environment: &Name) -> bool {
        match self {
            Self::All => true,
            Self::Environments(environments) => environments.contains(environment),
        }
    }
}

/// Tells one subscriber: rows that changed at once, and all of them now and then.
#[derive(Debug)]
pub(crate) struct PlacesTeller {
    places: KeptPlaces,
    learns: Learns,
    /// What was known when it was told last.
    told: Arc<PlacesByEnvironment>,
    /// When all is repeated; `None`: at once.
    repeat_at: Option<Instant>,
}

impl PlacesTeller {
    /// Nothing was told yet, and nothing may be learnt.
    pub(crate) fn new(places: KeptPlaces) -> Self {
        let learns = Learns::Environments(BTreeSet::new());
        Self { places, learns, told: Arc::default(), repeat_at: None }
    }

    /// Fires when a row changed.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.places.changed()
    }

    /// The subscriber may learn this from now on. What is new of it is told at once.
    pub(crate) fn limit(&mut self, learns: Learns) {
        if self.learns != learns {
            (self.learns, self.repeat_at) = (learns, None);
        }
    }

    /// When all is repeated next.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.repeat_at
    }

    /// The messages that are due.
    pub(crate) fn next(&mut self, now: Instant) -> Vec<Places> {
        let seen = self.places.0.seen.borrow().clone();
        let repeats = self.repeat_at.is_none_or(|at| now >= at);
        let is_due = |environment: &Name, region: &Name, seen: &SeenPlace| {
            self.learns.covers(environment) && (repeats || !is_said(&self.told, environment, region, seen))
        };
        let rows = told(&seen, self.places.clock(now), is_due);
        let mut messages = in_messages(rows.into_iter().map(PlaceRow::from));
        if repeats {
            self.repeat_at = Some(now + REPEAT_EVERY);
            // A message without rows says that this publisher is heard, and repeats none. One that knows nothing says nothing.
            if messages.is_empty() && !seen.is_empty() {
                messages.push(Places::default());
            }
        }
        self.told = seen;
        messages
    }
}

/// Whether a row says what was told, but for its age.
fn is_said(told: &PlacesByEnvironment, environment: &Name, region: &Name, seen: &SeenPlace) -> bool {
    told.get(environment).and_then(|of| of.get(region)).is_some_and(|told| told.says_as(seen))
}

/// Rows in as few messages as hold them.
fn in_messages(rows: impl Iterator<Item = PlaceRow>) -> Vec<Places> {
    let mut messages: Vec<Places> = Vec::new();
    let mut left = 0;
    for row in rows {
        let bytes = row.encoded_len() + ROW_OVERHEAD;
        match messages.last_mut().filter(|message| message.rows.len() < MAX_PLACE_ROWS && bytes <= left) {
            Some(message) => message.rows.push(row),
            None => {
                messages.push(Places { rows: vec![row] });
                left = MAX_PLACES_BYTES;
            }
        }
        left = left.saturating_sub(bytes);
    }
    messages
}

#[cfg(test)]
mod tests;
