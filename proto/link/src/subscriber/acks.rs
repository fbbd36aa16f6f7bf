//! When to acknowledge what.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use hanse_proto::sync;
use hanse_topology::ScopeId;

use crate::ScopeAck;

/// An acknowledgement at least so often, as a proof of life; the lease is fifteen of them.
pub(super) const PROOF_OF_LIFE: Duration = Duration::from_millis(900);
/// Least time between two acknowledgements of one scope: forty a second are enough for people who wait.
const SPACING: Duration = Duration::from_millis(25);

/// What was acknowledged when.
#[derive(Debug, Default)]
pub(super) struct Acks {
    last: BTreeMap<ScopeId, (ScopeAck, Instant)>,
}

impl Acks {
    /// The acknowledgements to send now: what changed, and what was not said for a while.
    pub(super) fn due(
        &mut self,
        scopes: impl Iterator<Item = (ScopeId, ScopeAck)>,
        now: Instant,
    ) -> Vec<sync::Ack> {
        let mut acks = Vec::new();
        let mut last = BTreeMap::new();
        for (scope, ack) in scopes {
            let said = match self.last.get(&scope) {
                Some((before, at)) => {
                    let silence = now.saturating_duration_since(*at);
                    let needed = if *before == ack { PROOF_OF_LIFE } else { SPACING };
                    (silence < needed).then(|| (before.clone(), *at))
                }
                None => None,
            };
            if said.is_none() {
                acks.push(ack.to_message(&scope));
            }
            last.insert(scope, said.unwrap_or((ack, now)));
        }
        self.last = last;
        acks
    }
}

#[cfg(test)]
mod tests {
    use hanse_topology::{Lineage, Position};

    use super::*;

    #[test]
    fn changes_are_said_soon_and_the_rest_every_second() {
        let start = Instant::now();
        let scope: ScopeId = "runtime/eu-west/production".parse().unwrap();
        let mut acks = Acks::default();
        let mut check = |ms, revision, sent: usize| {
            let lineage = Lineage { generation: 1, id: [1; 16], parent: None };
            let effective = Some(Position { lineage, revision });
            let ack = (scope.clone(), ScopeAck { effective, ..Default::default() });
            let due = acks.due([ack].into_iter(), start + Duration::from_millis(ms));
            assert_eq!(due.len(), sent, "at {ms} ms");
        };
        check(0, 1, 1);
        check(10, 1, 0);
        check(20, 2, 0); // too soon
        check(30, 2, 1);
        check(500, 2, 0);
        check(930, 2, 1);
    }
}
