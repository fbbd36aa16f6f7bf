//! Whose turn it is among several publishers.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long a publisher that was left, or was not to be had, is no alternative to another. Long enough that a
/// subscriber who finds all of them stale stays with one, short enough that it finds the first to recover.
const POOR_FOR: Duration = Duration::from_secs(30);

/// The order in which publishers are tried: in turn, those that disappointed lately last.
#[derive(Debug)]
pub(super) struct Rota {
    turn: usize,
    poor: BTreeMap<String, Instant>,
}

impl Rota {
    /// Begins anywhere, so that the subscribers of a region do not all follow the first.
    pub(super) fn starting_at(turn: usize) -> Self {
        Self { turn, poor: BTreeMap::new() }
    }

    /// The next one to try.
    pub(super) fn next(&mut self, addresses: &[String], now: Instant) -> Option<String> {
        let count = addresses.len();
        let start = self.turn.checked_rem(count)?;
        let in_turn = || (start..count).chain(0..start);
        let index = in_turn().find(|index| !self.is_poor(&addresses[*index], now)).unwrap_or(start);
        self.turn = index + 1;
        Some(addresses[index].clone())
    }

    /// Notes that `address` was left or was not to be had.
    pub(super) fn mark_poor(&mut self, address: &str, now: Instant) {
        self.poor.retain(|_, since| now.saturating_duration_since(*since) < POOR_FOR);
        self.poor.insert(address.to_owned(), now);
    }

    /// Whether there is another than `current` that did not disappoint lately.
    pub(super) fn has_alternative(&self, current: &str, addresses: &[String], now: Instant) -> bool {
        addresses.iter().any(|address| address != current && !self.is_poor(address, now))
    }

    fn is_poor(&self, address: &str, now: Instant) -> bool {
        self.poor.get(address).is_some_and(|since| now.saturating_duration_since(*since) < POOR_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Vec<String> {
        ["a", "b", "c"].map(str::to_owned).to_vec()
    }

    #[test]
    fn they_take_turns() {
        let now = Instant::now();
        let mut rota = Rota::starting_at(4);
        let order: Vec<_> = (0..4).filter_map(|_| rota.next(&addresses(), now)).collect();
        assert_eq!(order, ["b", "c", "a", "b"]);
        assert_eq!(rota.next(&[], now), None);
    }

    #[test]
    fn the_poor_come_last_and_are_no_alternative() {
        let now = Instant::now();
        let mut rota = Rota::starting_at(0);
        rota.mark_poor("a", now);
        assert_eq!(rota.next(&addresses(), now).as_deref(), Some("b"));
        assert!(rota.has_alternative("b", &addresses(), now));
        rota.mark_poor("c", now);
        assert!(!rota.has_alternative("b", &addresses(), now), "all others disappointed: stay");
        rota.mark_poor("b", now);
        assert_eq!(rota.next(&addresses(), now).as_deref(), Some("c"), "all of them did: the next in turn");
        assert!(rota.has_alternative("b", &addresses(), now + POOR_FOR));
    }

    #[test]
    fn the_only_one_is_always_tried() {
        let now = Instant::now();
        let mut rota = Rota::starting_at(0);
        let only = ["a".to_owned()];
        rota.mark_poor("a", now);
        assert_eq!(rota.next(&only, now).as_deref(), Some("a"));
        assert!(!rota.has_alternative("a", &only, now));
    }
}
