//! Limits on answers, so that a responder is no amplifier: with a forged source address, answers go to a victim that never asked.
//!
//! Each network has a budget for each kind of answer. Beyond it every second answer is an empty one with TC: the forger gains nothing by it,
//! and a client that is real asks again over TCP. Answers over TCP and to clients with a good cookie need no limit: their address is proven.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

/// Entries that a network and kind may be in. A lookup reads no more of them, and the oldest of eight is seldom in use.
const WAYS: usize = 8;
/// Of so many answers beyond the budget one is sent, empty and with TC: enough for a client to hear of it within its retries.
const SLIP: u32 = 2;
/// One network is one budget. Name servers commonly count by these prefixes, since one party usually holds all addresses of one.
const V4_PREFIX: u32 = 24;
const V6_PREFIX: u32 = 56;

/// A network that has a budget: a /24 of IPv4 or a /56 of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(IpAddr);

impl Network {
    /// The network of a client.
    pub fn of(client: IpAddr) -> Self {
        Self(match client.to_canonical() {
            IpAddr::V4(address) => {
                let mask = u32::MAX << (u32::BITS - V4_PREFIX);
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX << (u128::BITS - V6_PREFIX);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
        })
    }
}

/// Kinds of answers, with a budget each: random names must not use up the budget of names that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It has records.
    Records,
    /// The name or the type does not exist.
    Negative,
    /// A refusal or a failure.
    Error,
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Send it.
    Send,
    /// Send it empty, with TC.
    Truncate,
    /// Send nothing.
    Drop,
}

/// The budgets. Its memory is fixed: of the entries that a network may be in, the one that was not used for longest makes place.
#[derive(Debug)]
pub struct Limiter {
    /// The part of a second that an answer costs.
    cost: Duration,
    sets: Vec<[Option<Entry>; WAYS]>,
    hasher: RandomState,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    network: Network,
    kind: Kind,
    /// When `budget` was reckoned.
    at: Duration,
    /// What is left of a second.
    budget: Duration,
    /// Answers beyond the budget since the entry was made. An answer within the budget does not reset it: slightly above the rate, each answer
    /// beyond the budget comes behind one within it.
    beyond: u32,
}

/// What can be saved up.
const FULL: Duration = Duration::from_secs(1);

impl Limiter {
    /// A budget of `rate` answers a second, of which one second may be saved up, for about `entries` networks and kinds at a time.
    pub fn new(rate: NonZeroU32, entries: usize) -> Self {
        let sets = entries.div_ceil(WAYS).next_power_of_two();
        // Which networks share a set is random, so an attacker cannot aim at one. To push out a network, and so give it a full budget again,
        // takes queries from about as many forged networks as there are entries.
        Self { cost: FULL / rate.get(), sets: vec![[None; WAYS]; sets], hasher: RandomState::new() }
    }

    /// Counts an answer over UDP to a client without a good cookie. `now` is any time that only goes forward.
    pub fn judge(&mut self, network: Network, kind: Kind, now: Duration) -> Verdict {
        let cost = self.cost;
        let entry = self.entry(network, kind, now);
        entry.budget = (entry.budget + now.saturating_sub(entry.at).min(FULL)).min(FULL);
        entry.at = entry.at.max(now);
        match entry.budget.checked_sub(cost) {
            Some(left) => {
                entry.budget = left;
                Verdict::Send
            }
            None => {
                entry.beyond = entry.beyond.wrapping_add(1);
                if entry.beyond.is_multiple_of(SLIP) { Verdict::Truncate } else { Verdict::Drop }
            }
        }
    }

    fn entry(&mut self, network: Network, kind: Kind, now: Duration) -> &mut Entry {
        let sets = self.sets.len();
        let set = &mut self.sets[self.hasher.hash_one((network, kind)) as usize & (sets - 1)];
        let known =
            |entry: &Option<Entry>| entry.is_some_and(|entry| entry.network == network && entry.kind == kind);
        let oldest = |set: &[Option<Entry>; WAYS]| {
            let times = set.iter().enumerate().map(|(at, entry)| (entry.map(|entry| entry.at), at));
            times.min().map_or(0, |(_, at)| at)
        };
        let at = set.iter().position(known).unwrap_or_else(|| {
            let at = oldest(set);
            set[at] = None;
            at
        });
        set[at].get_or_insert(Entry { network, kind, at: now, budget: FULL, beyond: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 10;

    fn limiter(rate: u32, entries: usize) -> Limiter {
        Limiter::new(NonZeroU32::new(rate).unwrap(), entries)
    }

    fn network(address: &str) -> Network {
        Network::of(address.parse().unwrap())
    }

    fn verdicts(limiter: &mut Limiter, network: Network, kind: Kind, now: u64, answers: usize) -> String {
        let letter = |verdict| match verdict {
            Verdict::Send => 's',
            Verdict::Truncate => 't',
            Verdict::Drop => '-',
        };
        (0..answers).map(|_| letter(limiter.judge(network, kind, Duration::from_millis(now)))).collect()
    }

    #[test]
    fn beyond_the_budget_every_second_answer_is_truncated() {
        let mut limiter = limiter(RATE, 64);
        let home = network("192.0.2.1");
        let mut judge = |now, answers| verdicts(&mut limiter, home, Kind::Records, now, answers);
        assert_eq!(judge(0, 15), "ssssssssss-t-t-");
        assert_eq!(judge(0, 1), "t");
        assert_eq!(judge(100, 3), "s-t", "a tenth of a second brings one answer");
        assert_eq!(judge(150, 2), "-t");
        assert_eq!(judge(60_000, 12), "ssssssssss-t", "no more than a second is saved up");
        assert_eq!(judge(0, 1), "-", "a time that goes back brings nothing");
    }

    #[test]
    fn a_little_above_the_rate_every_second_answer_beyond_it_is_truncated() {
        for interval in [50, 80, 95] {
            let mut limiter = limiter(RATE, 64);
            let home = network("192.0.2.1");
            let mut judge = |turn: u64| verdicts(&mut limiter, home, Kind::Records, turn * interval, 1);
            let all: String = (0..400).map(&mut judge).collect();
            let beyond: String = all.chars().filter(|verdict| *verdict != 's').collect();
            assert!(beyond.len() > 5, "{all}");
            assert_eq!(beyond, "-t".repeat(beyond.len())[..beyond.len()], "{all}");
        }
    }

    #[test]
    fn a_network_and_a_kind_have_a_budget_each() {
        let mut limiter = limiter(1, 64);
        let mut judge = |address: &str, kind| verdicts(&mut limiter, network(address), kind, 0, 1);
        assert_eq!(judge("192.0.2.1", Kind::Records), "s");
        assert_eq!(judge("192.0.2.200", Kind::Records), "-", "of one /24");
        assert_eq!(judge("::ffff:192.0.2.7", Kind::Records), "t", "also as a mapped address");
        assert_eq!(judge("192.0.3.1", Kind::Records), "s");
        assert_eq!(judge("192.0.2.1", Kind::Negative), "s");
        assert_eq!(judge("192.0.2.1", Kind::Error), "s");
        assert_eq!(judge("2001:db8:0:ff::1", Kind::Records), "s");
        assert_eq!(judge("2001:db8:0:1::1", Kind::Records), "-", "of one /56");
        assert_eq!(judge("2001:db8:0:100::1", Kind::Records), "s");
    }

    #[test]
    fn a_network_that_asks_all_the_time_gets_its_rate() {
        let mut limiter = limiter(RATE, 64);
        let home = network("192.0.2.1");
        let times = (0..50_000).map(|turn| Duration::from_micros(100) * turn);
        let sent = times.filter(|now| limiter.judge(home, Kind::Records, *now) == Verdict::Send).count();
        assert_eq!(sent, 10 + 49, "what is saved up, and ten in each of five seconds");
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let mut limiter = limiter(1, WAYS);
        let of = |third: u64| network(&format!("10.0.{third}.1"));
        for third in 0..8 {
            assert_eq!(verdicts(&mut limiter, of(third), Kind::Records, third, 1), "s");
        }
        assert_eq!(verdicts(&mut limiter, of(8), Kind::Records, 8, 1), "s");
        assert_eq!(limiter.sets.len() * WAYS, WAYS);
        assert_eq!(verdicts(&mut limiter, of(7), Kind::Records, 9, 1), "-", "a younger one is still known");
        assert_eq!(verdicts(&mut limiter, of(0), Kind::Records, 10, 1), "s", "the oldest was forgotten");
    }
}
