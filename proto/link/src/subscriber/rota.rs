//! Whose turn it is among several publishers, and whether another one is better than the one followed.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use hanse_sync::{Freshness, Standing};

/// How long it is believed of a publisher that was left, or was not to be had, that it is no better: some elections long.
/// In an election no publisher has a quorum. A publisher that was left for that must be a choice again when the next one fails.
const POOR_AT_FIRST: Duration = Duration::from_secs(5);
/// Each time it disappoints again that is believed for twice as long. Up to this it is no alternative to one that is behind
/// or offers nothing, and its turn comes last. Who did not disappoint for so long begins anew.
const POOR_AT_MOST: Duration = Duration::from_secs(10);
/// Up to this it is no alternative to one that is out of contact too: in an outage of days no publisher is fresher, and looking costs
/// the link. It delays only those who follow one that is still cut off when the others have a quorum again, and them by no
/// more than the outage lasted before.
const STALE_AT_MOST: Duration = Duration::from_secs(60);
/// By how much another's contact with the leader must be later to be worth a new link: ages are told once a second.
const FRESHER_BY: Duration = Duration::from_secs(1);

/// The order in which publishers are tried, by what is known of those that disappointed.
#[derive(Debug)]
pub(super) struct Rota {
    turn: usize,
    left: BTreeMap<String, Left>,
    /// Those that are not tried before a time.
    alone: BTreeMap<String, Instant>,
    /// When a publisher that was followed was last seen to have a quorum.
    quorum_seen: Option<Instant>,
}

/// What is known of one that was left, or was not to be had.
#[derive(Debug, Clone, Copy)]
struct Left {
    at: Instant,
    /// When it had last confirmed contact with the leader, if it was left for that.
    confirmed_at: Option<Instant>,
    /// How long all this is believed.
    lasting: Duration,
}

impl Left {
    fn is_poor(&self, now: Instant) -> bool {
        now < self.at + self.lasting.min(POOR_AT_MOST)
    }

    /// Whether it says anything still. If there was a quorum since, this one may be part of it.
    fn holds(&self, quorum_seen: Option<Instant>, now: Instant) -> bool {
        quorum_seen.is_none_or(|at| at <= self.at) && now < self.at + self.lasting
    }
}

impl Rota {
    /// Begins anywhere, so that the subscribers of a region do not all follow the first.
    pub(super) fn starting_at(turn: usize) -> Self {
        Self { turn, left: BTreeMap::new(), alone: BTreeMap::new(), quorum_seen: None }
    }

    /// The next one to try: in turn, those that disappointed lately last, and of these the freshest of those that answer first.
    pub(super) fn next(&mut self, addresses: &[String], now: Instant) -> Option<String> {
        let rank = |address: &str| match self.left.get(address).filter(|left| left.is_poor(now)) {
            None => (0, None),
            Some(Left { confirmed_at: Some(at), .. }) => (1, Some(Reverse(*at))),
            Some(Left { confirmed_at: None, .. }) => (2, None),
        };
        self.alone.retain(|_, until| now < *until);
        let free = self.in_turn(addresses).filter(|index| !self.alone.contains_key(&addresses[*index]));
        let index = free.min_by_key(|index| rank(&addresses[*index]))?;
        self.turn = index + 1;
        Some(addresses[index].clone())
    }

    /// Does not try `address` before that time, though it be the only one.
    pub(super) fn leave_alone(&mut self, address: &str, until: Instant) {
        self.alone.insert(address.to_owned(), until);
    }

    /// When one of those that are left alone may be tried again; `None`: there is none.
    pub(super) fn free_at(&self, addresses: &[String]) -> Option<Instant> {
        addresses.iter().filter_map(|address| self.alone.get(address).copied()).min()
    }

    /// Notes that `address` was not to be had, or that the link to it ended.
    pub(super) fn mark_poor(&mut self, address: &str, now: Instant) {
        self.mark(address, None, now);
    }

    /// Notes that `address` was left for what it said.
    pub(super) fn mark_left(
        &mut self,
        address: &str,
        standing: Standing,
        freshness: Option<Freshness>,
        now: Instant,
    ) {
        let confirmed_at = freshness.filter(|_| is_out_of_contact(standing)).map(|fresh| fresh.confirmed_at);
        self.mark(address, confirmed_at, now);
    }

    fn mark(&mut self, address: &str, confirmed_at: Option<Instant>, now: Instant) {
        self.left.retain(|_, left| now < left.at + left.lasting + POOR_AT_MOST);
        let again = |left: &Left| (left.lasting * 2).min(STALE_AT_MOST);
        let lasting = self.left.get(address).map_or(POOR_AT_FIRST, again);
        self.left.insert(address.to_owned(), Left { at: now, confirmed_at, lasting });
    }

    /// The one to leave `current` for now, if there is one: where `current` is out of contact, one that is known to be fresher or of
    /// which nothing is known; else one that did not disappoint lately.
    pub(super) fn better_than(
        &mut self,
        current: &str,
        standing: Standing,
        freshness: Option<Freshness>,
        addresses: &[String],
        now: Instant,
    ) -> Option<String> {
        if standing == Standing::Good {
            self.quorum_seen = Some(now);
        }
        if !standing.is_poor() {
            return None;
        }
        let is_alone = |other: &str| self.alone.get(other).is_some_and(|until| now < *until);
        let others = || {
            let others = self.in_turn(addresses).map(|index| &addresses[index]);
            others.filter(|other| *other != current && !is_alone(other))
        };
        let left = |other: &str| self.left.get(other);
        let better = match freshness.filter(|_| is_out_of_contact(standing)) {
            None => others().find(|other| !left(other).is_some_and(|left| left.is_poor(now))),
            Some(Freshness { confirmed_at, .. }) => {
                let is_unknown =
                    |other: &str| !left(other).is_some_and(|left| left.holds(self.quorum_seen, now));
                let known = |other: &str| left(other).and_then(|left| left.confirmed_at);
                let freshest = || others().max_by_key(|other| known(other));
                let is_fresher =
                    |other: &&String| known(other).is_some_and(|at| at > confirmed_at + FRESHER_BY);
                others().find(|other| is_unknown(other)).or_else(|| freshest().filter(is_fresher))
            }
        };
        better.cloned()
    }

    fn in_turn(&self, addresses: &[String]) -> impl Iterator<Item = usize> + use<> {
        let count = addresses.len();
        let start = self.turn.checked_rem(count).unwrap_or_default();
        (start..count).chain(0..start)
    }
}

fn is_out_of_contact(standing: Standing) -> bool {
    match standing {
        Standing::Stale | Standing::NoQuorum => true,
        Standing::Waiting | Standing::Good | Standing::Behind | Standing::OffersNothing => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Vec<String> {
        ["a", "b", "c"].map(str::to_owned).to_vec()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Follows one publisher after the other, as a subscriber does.
    struct Walk {
        rota: Rota,
        current: String,
        now: Instant,
    }

    impl Walk {
        fn starting_with(address: &str) -> Self {
            // Long after anything that is confirmed in a test.
            let now = Instant::now() + seconds(10_000);
            Self { rota: Rota::starting_at(0), current: address.to_owned(), now }
        }

        /// The present publisher says that it had contact so many seconds ago. Where that leads.
        fn hears(&mut self, age: u64) -> String {
            let standing = if age > 5 { Standing::Stale } else { Standing::Good };
            let freshness = Some(Freshness { confirmed_at: self.now - seconds(age), quorum: age == 0 });
            let next = self.rota.better_than(&self.current, standing, freshness, &addresses(), self.now);
            if let Some(next) = next {
                self.rota.mark_left(&self.current, standing, freshness, self.now);
                self.current = next;
            }
            self.current.clone()
        }

        fn fails(&mut self) -> String {
            self.rota.mark_poor(&self.current, self.now);
            self.current = self.rota.next(&addresses(), self.now).unwrap();
            self.current.clone()
        }
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
        let better = |rota: &mut Rota, now| rota.better_than("b", Standing::Behind, None, &addresses(), now);
        rota.mark_poor("a", now);
        assert_eq!(rota.next(&addresses(), now).as_deref(), Some("b"));
        assert_eq!(better(&mut rota, now).as_deref(), Some("c"));
        rota.mark_poor("c", now);
        assert_eq!(better(&mut rota, now), None, "all others disappointed: stay");
        rota.mark_poor("b", now);
        assert_eq!(rota.next(&addresses(), now).as_deref(), Some("c"), "all of them did: the next in turn");
        assert!(better(&mut rota, now + POOR_AT_FIRST).is_some());
    }

    #[test]
    fn who_disappoints_again_and_again_is_poor_for_longer() {
        let mut now = Instant::now();
        let mut rota = Rota::starting_at(0);
        let only = ["a".to_owned()];
        let mut lasting = Vec::new();
        for _ in 0..5 {
            rota.mark_poor("a", now);
            let from = now;
            while rota.better_than("b", Standing::Behind, None, &only, now).is_none() {
                now += seconds(1);
            }
            lasting.push((now - from).as_secs());
        }
        assert_eq!(lasting, [5, 10, 10, 10, 10]);
        now += STALE_AT_MOST + POOR_AT_MOST;
        rota.mark_poor("a", now);
        let again = rota.better_than("b", Standing::Behind, None, &only, now + POOR_AT_FIRST);
        assert!(again.is_some(), "it begins anew");
    }

    #[test]
    fn one_that_serves_well_is_not_left() {
        let mut walk = Walk::starting_with("a");
        assert_eq!(walk.hears(0), "a");
        let mut rota = Rota::starting_at(0);
        assert_eq!(rota.better_than("a", Standing::Waiting, None, &addresses(), Instant::now()), None);
    }

    /// The subscriber looks at each publisher once. Then it goes to the freshest and stays there.
    #[test]
    fn where_all_are_out_of_contact_the_freshest_is_followed() {
        let mut walk = Walk::starting_with("a");
        assert_eq!(walk.hears(30), "b", "nothing is known of it");
        assert_eq!(walk.hears(20), "c", "nor of this");
        assert_eq!(walk.hears(25), "b", "it is fresher than this one");
        for _ in 0..4 {
            assert_eq!(walk.hears(20), "b");
            walk.now += seconds(1);
        }
    }

    #[test]
    fn in_an_outage_others_are_looked_at_ever_less_often() {
        let mut walk = Walk::starting_with("a");
        let began = walk.now;
        let mut changes = Vec::new();
        while walk.now < began + seconds(600) {
            // None of them has heard of the leader since.
            let age = 6 + (walk.now - began).as_secs();
            let before = walk.current.clone();
            if walk.hears(age) != before {
                changes.push((walk.now - began).as_secs());
            } else {
                walk.now += seconds(1);
            }
        }
        let in_the_first_minute = changes.iter().filter(|at| **at < 60).count();
        let in_the_last_minutes = changes.iter().filter(|at| **at >= 300).count();
        assert!(in_the_first_minute >= 4, "{changes:?}");
        assert!((4..=15).contains(&in_the_last_minutes), "two others, each once a minute: {changes:?}");
    }

    /// An election drives a subscriber past every publisher. The one that it ends at may be cut off right after.
    #[test]
    fn what_was_seen_before_the_last_quorum_counts_no_more() {
        let mut walk = Walk::starting_with("a");
        assert_eq!((walk.hears(6), walk.hears(6)), ("b".to_owned(), "c".to_owned()));
        assert_eq!(walk.hears(6), "c", "nobody is better");
        walk.now += seconds(2);
        assert_eq!(walk.hears(0), "c", "there is a quorum again");
        walk.now += seconds(6);
        assert_eq!(walk.hears(6), "a", "that this one had none was before");
        assert_eq!(walk.hears(0), "a");
    }

    /// Two of three are gone: the third is all there is, and is not left for them again and again.
    #[test]
    fn those_that_do_not_answer_are_no_reason_to_leave() {
        let mut walk = Walk::starting_with("c");
        assert_eq!(walk.hears(6), "a");
        assert_eq!(walk.fails(), "b", "in turn");
        assert_eq!(walk.fails(), "c", "the one that answers, though it was just left");
        for second in 0..4 {
            walk.now += seconds(1);
            assert_eq!(walk.hears(7 + second), "c");
        }
        walk.now += seconds(2);
        assert_ne!(walk.hears(13), "c", "now and then they are tried again");
    }

    #[test]
    fn one_that_is_left_alone_is_not_tried_before_its_time() {
        let now = Instant::now();
        let mut rota = Rota::starting_at(0);
        let (a, only) = (addresses()[0].clone(), [addresses()[0].clone()]);
        assert_eq!(rota.free_at(&only), None);
        rota.leave_alone(&a, now + seconds(30));
        let early = now + seconds(29);
        assert_eq!(rota.next(&addresses(), now).as_deref(), Some("b"), "another one is free");
        assert_eq!(rota.next(&only, early), None);
        assert_eq!(rota.better_than("b", Standing::Behind, None, &[a.clone(), "b".to_owned()], early), None);
        assert_eq!(rota.free_at(&only), Some(now + seconds(30)));
        assert_eq!(rota.next(&only, now + seconds(30)), Some(a));
    }

    #[test]
    fn the_only_one_is_always_tried() {
        let now = Instant::now();
        let mut rota = Rota::starting_at(0);
        let only = ["a".to_owned()];
        rota.mark_poor("a", now);
        assert_eq!(rota.next(&only, now).as_deref(), Some("a"));
        assert_eq!(rota.better_than("a", Standing::Behind, None, &only, now), None);
    }
}
