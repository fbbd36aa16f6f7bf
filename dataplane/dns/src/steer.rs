//! The addresses of a host for a client, also where its policy fails.

use std::{
    collections::HashMap,
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
};

use foldhash::fast::RandomState;
use hanse_process::seeded;
use hanse_steering::{self as steering, Client, Family, Places, Seen, Trace};

use crate::{
    geo::GeoDatabase,
    zones::{Key, ServedHost, Zones},
};

/// What hosts were answered with last, with addresses. It is of one serving thread, so that no query waits for another thread.
#[derive(Debug, Default)]
pub(crate) struct LastAnswers(HashMap<Key, Vec<IpAddr>, RandomState>);

/// The addresses for a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Steered {
    /// Of the regions that answer, so there may be some of the other family. There is none only if no address of any region is known.
    pub(crate) addresses: Vec<IpAddr>,
    /// Whether other clients may get others.
    pub(crate) by_client: bool,
    /// The policy gave no address, or panicked, and something older or plainer is answered.
    pub(crate) fell_back: bool,
}

impl LastAnswers {
    /// The addresses of the host for this client, whose place is looked up in `geo`. Where its policy panics or gives none, the rule `never-empty` gives what was answered
    /// last, or else what is known.
    pub(crate) fn steer(
        &mut self,
        host: &ServedHost,
        seen: Seen<'_>,
        client: &Client,
        geo: Option<&GeoDatabase>,
        trace: &mut impl Trace,
    ) -> Steered {
        let by_policy = catch_unwind(AssertUnwindSafe(|| by_policy(host, seen, client, geo, trace)));
        match by_policy {
            Ok((addresses, by_client)) if !addresses.is_empty() => {
                self.keep(host, &addresses);
                Steered { addresses, by_client, fell_back: false }
            }
            Ok((addresses, _)) if seeded("no-fallback") => {
                Steered { addresses, by_client: false, fell_back: false }
            }
            Ok(_) | Err(_) => {
                let addresses = self.fall_back(host, seen.places, client.family);
                let fell_back = !addresses.is_empty();
                // It holds for this client only: the next one may get the policy's.
                Steered { addresses, by_client: true, fell_back }
            }
        }
    }

    fn fall_back(&self, host: &ServedHost, places: &Places, family: Option<Family>) -> Vec<IpAddr> {
        let last = self.0.get(&host.key).into_iter().flatten().copied().collect();
        steering::fallback(&host.policy, places, family, &last).into_iter().collect()
    }

    fn keep(&mut self, host: &ServedHost, addresses: &Vec<IpAddr>) {
        match self.0.get_mut(&host.key) {
            Some(last) => last.clone_from(addresses),
            None => {
                self.0.insert(host.key.clone(), addresses.clone());
            }
        }
    }

    /// Forgets hosts that are no more.
    pub(crate) fn retain(&mut self, zones: &Zones) {
        let present = zones.host_keys();
        self.0.retain(|key, _| present.contains(key));
    }
}

fn by_policy(
    host: &ServedHost,
    seen: Seen<'_>,
    client: &Client,
    geo: Option<&GeoDatabase>,
    trace: &mut impl Trace,
) -> (Vec<IpAddr>, bool) {
    assert!(!seeded("policy-panics"), "a bug of a policy that a test brings back");
    let spot = geo.filter(|_| host.asks_where).and_then(|geo| geo.spot(client.prefix?));
    let answer = steering::answer(&host.policy, seen, &Client { spot, ..*client }, trace);
    let addresses = if seeded("policy-answers-nothing") { Vec::new() } else { answer.addresses().collect() };
    (addresses, answer.by_client())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use hanse_process::bring_back;

    use super::*;
    use crate::testbed::served_host;

    /// No rule has this name.
    const NONE: &str = "none";
    const PANICS: &str = "policy-panics";
    const NOTHING: &str = "policy-answers-nothing";

    fn steer(last: &mut LastAnswers, host: &ServedHost, bug: &'static str) -> Steered {
        let places = BTreeMap::new();
        let seen = Seen { places: &places, now: Duration::ZERO };
        let client = Client { prefix: None, family: None, spot: None, draw: 7 };
        bring_back(bug, || last.steer(host, seen, &client, None, &mut ()))
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// A host with an address is answered with one, also where the policy fails.
    fn never_empty(bug: &'static str) -> bool {
        let host = served_host("orders.gslb.example.com", &[("eu-west", &["192.0.2.1"])]);
        !steer(&mut LastAnswers::default(), &host, bug).addresses.is_empty()
    }

    #[test]
    fn a_policy_that_panics_or_answers_nothing_leaves_the_last_answer() {
        let host = served_host("orders.gslb.example.com", &[("eu-west", &["192.0.2.1", "2001:db8::1"])]);
        for bug in [PANICS, NOTHING] {
            let mut last = LastAnswers::default();
            let good = steer(&mut last, &host, NONE);
            assert_eq!(good.addresses, addresses(&["192.0.2.1", "2001:db8::1"]));
            assert!(!good.fell_back);
            // What is answered last counts, not what is there now.
            let moved = served_host("orders.gslb.example.com", &[("eu-west", &["192.0.2.9"])]);
            let bad = steer(&mut last, &moved, bug);
            assert_eq!((bad.addresses, bad.by_client, bad.fell_back), (good.addresses, true, true), "{bug}");
            let again = steer(&mut last, &moved, NONE);
            assert_eq!((again.addresses, again.fell_back), (addresses(&["192.0.2.9"]), false), "{bug}");
        }
    }

    #[test]
    fn without_a_last_answer_what_is_known_is_answered() {
        assert!(never_empty(NONE) && never_empty(PANICS) && never_empty(NOTHING));
        assert!(bring_back("no-fallback", || !never_empty(NOTHING)), "the check notices a lost fallback");
        let unknown = served_host("orders.gslb.example.com", &[("eu-west", &[])]);
        let steered = steer(&mut LastAnswers::default(), &unknown, PANICS);
        assert_eq!((steered.addresses, steered.fell_back), (Vec::new(), false), "no address is known at all");
    }

    #[test]
    fn hosts_that_are_gone_are_forgotten() {
        let host = served_host("orders.gslb.example.com", &[("eu-west", &["192.0.2.1"])]);
        let mut last = LastAnswers::default();
        steer(&mut last, &host, NONE);
        last.retain(&Zones::default());
        assert!(last.0.is_empty());
    }
}
