//! Requests by environment and host pattern, as gateways count them, agents sum them and relays sum those: pure.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use bytes::Bytes;
use hanse_proto::{
    nested,
    sync::{Traffic, TrafficRow},
};
use hanse_topology::Name;
use prost::Message as _;

/// The time that is counted, and how often: what a person who looks at requests per second waits for.
pub const TRAFFIC_SPAN: Duration = Duration::from_secs(10);
/// The most that one node says of its traffic, encoded: 256 rows of a hundred octets, and the rests.
pub const MAX_TRAFFIC_BYTES: usize = 32 << 10;
/// Hosts that are named, those with the most requests; the others are summed by environment.
const MAX_NAMED: usize = 256;
/// Environments whose rest is told; the others are summed. Regions have a few environments each.
const MAX_RESTS: usize = 64;
/// The longest row of a rest: the name of an environment (63), the number, and three tags with their lengths.
const REST_BYTES: usize = 80;
/// What is left of the bytes for rows that are named.
const NAMED_BYTES: usize = MAX_TRAFFIC_BYTES - (MAX_RESTS + 1) * REST_BYTES;
/// The longest host pattern: a DNS name and `*.`.
const MAX_HOST_BYTES: usize = 255;

/// Requests of some gateways. The order in which they are added does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrafficSum(BTreeMap<Place, u64>);

/// An environment and a host pattern. An empty one is a rest.
type Place = (Box<str>, Box<str>);

impl TrafficSum {
    /// Adds requests for a host pattern of an environment.
    pub fn add(&mut self, environment: &str, host: &str, requests: u64) {
        let sum = self.0.entry((environment.into(), host.into())).or_default();
        *sum = sum.saturating_add(requests);
    }

    /// Adds a Traffic that a node said. One that cannot be read, or is larger than [`MAX_TRAFFIC_BYTES`], is left out.
    pub fn add_said(&mut self, traffic: &[u8]) {
        let fits = traffic.len() <= MAX_TRAFFIC_BYTES;
        let traffic = fits.then(|| nested::read::<Traffic>("report.traffic", traffic).ok()).flatten();
        self.add_all(traffic.unwrap_or_default());
    }

    /// Adds rows that a node said. Rows whose environment or host is no name are left out.
    pub fn add_all(&mut self, traffic: Traffic) {
        for TrafficRow { environment, host, requests } in traffic.rows {
            let is_environment = environment.is_empty() || Name::new(&environment).is_ok();
            let is_host = host.len() <= MAX_HOST_BYTES && host.bytes().all(|byte| byte.is_ascii_graphic());
            if is_environment && is_host {
                self.add(&environment, &host, requests);
            }
        }
    }

    /// The rows, no more than may be said: hosts with the most requests, and the rests.
    pub fn to_message(&self) -> Traffic {
        let rows = self.0.iter().filter(|(_, requests)| **requests > 0);
        let (mut hosts, rests): (Vec<_>, Vec<_>) = rows.partition(|((_, host), _)| !host.is_empty());
        hosts.sort_by_key(|(_, requests)| Reverse(**requests)); // of equal ones the first by name
        let mut left = NAMED_BYTES;
        let fits = |(place, requests): &&(&Place, &u64)| {
            let length = row(place, **requests).encoded_len();
            let rest = left.checked_sub(length + prost::length_delimiter_len(length) + 1);
            left = rest.unwrap_or(left);
            rest.is_some()
        };
        let named = hosts.iter().take(MAX_NAMED).take_while(fits).count();
        let mut sums = BTreeMap::<&str, u64>::new();
        for ((environment, _), requests) in hosts.split_off(named).into_iter().chain(rests) {
            let sum = sums.entry(environment).or_default();
            *sum = sum.saturating_add(*requests);
        }
        let of_others = sums.remove("").unwrap_or_default();
        let mut rests: Vec<(&str, u64)> = sums.into_iter().collect();
        rests.sort_by_key(|(_, requests)| Reverse(*requests));
        let beyond = rests.split_off(rests.len().min(MAX_RESTS));
        let of_others = beyond.iter().fold(of_others, |sum, (_, requests)| sum.saturating_add(*requests));
        rests.extend((of_others > 0).then_some(("", of_others)));
        let rests = rests
            .into_iter()
            .map(|(environment, requests)| row(&(environment.into(), Box::default()), requests));
        let mut rows: Vec<_> =
            hosts.into_iter().map(|(place, requests)| row(place, *requests)).chain(rests).collect();
        rows.sort_by(|one, other| (&one.environment, &one.host).cmp(&(&other.environment, &other.host)));
        Traffic { rows }
    }
}

/// The traffic for the next report of a stream on which `said` was said last: nothing, if that is the same.
pub(crate) fn if_news(traffic: Option<Bytes>, said: &mut Option<Bytes>) -> Option<Bytes> {
    if traffic == *said {
        return None;
    }
    said.clone_from(&traffic);
    traffic
}

fn row((environment, host): &Place, requests: u64) -> TrafficRow {
    TrafficRow { environment: environment.to_string(), host: host.to_string(), requests }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(rows: &[(&str, &str, u64)]) -> TrafficSum {
        let mut sum = TrafficSum::default();
        rows.iter().for_each(|(environment, host, requests)| sum.add(environment, host, *requests));
        sum
    }

    fn rows(traffic: &Traffic) -> Vec<(&str, &str, u64)> {
        traffic.rows.iter().map(|row| (&*row.environment, &*row.host, row.requests)).collect()
    }

    #[test]
    fn traffic_is_said_when_it_changes() {
        let mut said = None;
        let mut next = |traffic: &'static [u8]| if_news(Some(traffic.into()), &mut said);
        assert_eq!(next(b""), Some(Bytes::new()), "first on a stream, also when there is none");
        assert_eq!((next(b""), next(b"one")), (None, Some("one".into())));
        assert_eq!((next(b"one"), next(b"")), (None, Some(Bytes::new())));
        assert_eq!(if_news(None, &mut None), None, "of one that has no traffic");
    }

    #[test]
    fn equal_places_are_summed_and_places_without_requests_are_not_told() {
        let mut all = sum(&[("production", "*", 1), ("production", "a.example", 2), ("sandbox", "*", 0)]);
        let said = sum(&[("production", "*", 5), ("production", "", 3), ("staging", "*", u64::MAX)]);
        let said = nested::to_bytes(&said.to_message());
        all.add_said(&said);
        all.add_said(&said);
        let told = [
            ("production", "", 6),
            ("production", "*", 11),
            ("production", "a.example", 2),
            ("staging", "*", u64::MAX),
        ];
        assert_eq!(rows(&all.to_message()), told);
    }

    #[test]
    fn what_cannot_be_read_counts_as_not_said() {
        let bad = |environment: &str, host: &str| {
            let row = TrafficRow { environment: environment.into(), host: host.into(), requests: 1 };
            nested::to_bytes(&Traffic { rows: vec![row] })
        };
        let mut all = TrafficSum::default();
        for said in [
            bad("no name", "*"),
            bad("production", "a\nb"),
            bad("production", &"a".repeat(MAX_HOST_BYTES + 1)),
            vec![0xff].into(),
            vec![0; MAX_TRAFFIC_BYTES + 2].into(),
        ] {
            all.add_said(&said);
        }
        assert_eq!(all, TrafficSum::default());
        all.add_said(&bad("production", &"a".repeat(MAX_HOST_BYTES)));
        assert_ne!(all, TrafficSum::default());
    }

    #[test]
    fn hosts_with_the_most_requests_are_named_and_the_rest_is_summed() {
        let mut all = TrafficSum::default();
        for n in 0..300_u64 {
            let environment = if n % 2 == 0 { "even" } else { "odd" };
            all.add(environment, &format!("{n:03}.example"), n + 1);
        }
        let message = all.to_message();
        assert_eq!(message.rows.len(), MAX_NAMED + 2);
        let rest = |environment| -> u64 {
            let of = message.rows.iter().find(|row| row.environment == environment && row.host.is_empty());
            of.unwrap().requests
        };
        // Those with 1 to 44 requests.
        let sum_of = |first: u64| (first..=44).step_by(2).sum::<u64>();
        assert_eq!((rest("even"), rest("odd")), (sum_of(1), sum_of(2)));
        let total: u64 = message.rows.iter().map(|row| row.requests).sum();
        assert_eq!(total, (1..=300).sum::<u64>(), "nothing is lost");
    }

    #[test]
    fn the_longest_names_fit_and_nothing_is_lost() {
        let mut all = TrafficSum::default();
        let long = |n: u64, length: usize| format!("{n:0length$}");
        for environment in 0..200 {
            for host in 0..10 {
                all.add(&format!("e{}", long(environment, 62)), &long(host, MAX_HOST_BYTES), u64::MAX >> 12);
            }
        }
        let message = all.to_message();
        assert!(message.encoded_len() <= MAX_TRAFFIC_BYTES, "{}", message.encoded_len());
        let total: u64 = message.rows.iter().map(|row| row.requests).sum();
        assert_eq!(total, (u64::MAX >> 12) * 2_000);
        assert!(message.rows.iter().any(|row| (&*row.environment, &*row.host) == ("", "")));
        let mut again = TrafficSum::default();
        again.add_said(&nested::to_bytes(&message));
        assert_eq!(again.to_message(), message, "a sum of what was told is the same");
    }
}
