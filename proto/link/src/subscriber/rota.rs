//! Whose turn it is among several publishers.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long a publisher that was left, or was not to be had, is no alternative to another at first: some elections long.
/// In an election nobody has a quorum, and whoever was left for that must not be out of the question when the next one fails.
const POOR_AT_FIRST: Duration = Duration::from_secs(5);
/// Each time it disappoints again it is none for twice as long, up to this: long enough that a subscriber who finds all of
/// them stale mostly stays with one, short enough that one cut off right after an election is left within seconds all the
/// same. Who did not disappoint for so long begins anew.
const POOR_AT_MOST: Duration = Duration::from_secs(10);

/// The order in which publishers are tried: in turn, those that disappointed lately last.
#[derive(Debug)]
pub(super) struct Rota {
    turn: usize,
    poor: BTreeMap<String, Poor>,
}

/// One that disappointed.
#[derive(Debug, Clone, Copy)]
struct Poor {
    until: Instant,
    lasting: Duration,
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
        self.poor.retain(|_, poor| now < poor.until + POOR_AT_MOST);
        let again = |poor: &Poor| (poor.lasting * 2).min(POOR_AT_MOST);
        let lasting = self.poor.get(address).map_or(POOR_AT_FIRST, again);
        self.poor.insert(address.to_owned(), Poor { until: now + lasting, lasting });
    }

    /// Whether there is another than `current` that did not disappoint lately.
    pub(super) fn has_alternative(&self, current: &str, addresses: &[String], now: Instant) -> bool {
        addresses.iter().any(|address| address != current && !self.is_poor(address, now))
    }

    fn is_poor(&self, address: &str, now: Instant) -> bool {
        self.poor.get(address).is_some_and(|poor| now < poor.until)
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
        assert!(rota.has_alternative("b", &addresses(), now + POOR_AT_FIRST));
    }

    /// An election drives a subscriber past everybody; whoever it ends at may be cut off right after it.
    #[test]
    fn after_an_election_the_others_are_soon_an_alternative_again() {
        let now = Instant::now();
        let mut rota = Rota::starting_at(0);
        rota.mark_poor("a", now);
        rota.mark_poor("b", now + Duration::from_secs(1));
        let later = now + Duration::from_secs(6);
        assert!(!rota.has_alternative("c", &addresses(), later - POOR_AT_FIRST / 2));
        assert!(rota.has_alternative("c", &addresses(), later));
    }

    #[test]
    fn who_disappoints_again_and_again_is_poor_for_longer() {
        let mut now = Instant::now();
        let mut rota = Rota::starting_at(0);
        let mut lasting = Vec::new();
        for _ in 0..5 {
            rota.mark_poor("a", now);
            let from = now;
            while !rota.has_alternative("b", &["a".to_owned()], now) {
                now += Duration::from_secs(1);
            }
            lasting.push((now - from).as_secs());
        }
        assert_eq!(lasting, [5, 10, 10, 10, 10]);
        now += POOR_AT_MOST;
        rota.mark_poor("a", now);
        assert!(rota.has_alternative("b", &["a".to_owned()], now + POOR_AT_FIRST), "it begins anew");
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
