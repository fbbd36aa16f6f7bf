//! Where the agent's own region is reached and whether it serves, from what the agent knows of the region: also without a control plane.
//! Of other regions it knows what control nodes tell. Row by row the younger word wins.

use std::time::{Duration, Instant};

use hanse_link::{HeardRegion, KeptPlaces, Replicas, rows_of_region};
use hanse_process::Shutdown;
use hanse_proto::places::is_internal_listener;
use hanse_topology::{LEASE, Name, ScopeId};

use crate::region::Shown;

/// How often the region is looked at when nothing in it changes: the word on it stays young.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Least time between two looks: as between two looks at what was heard.
const LOOK_SPACING: Duration = Duration::from_millis(250);

/// Keeps the rows of the own region young. A clone takes the place of one that ended.
#[derive(Clone)]
pub(crate) struct OwnPlaces {
    region: Name,
    shown: Shown,
    places: KeptPlaces,
    replicas: Replicas,
    started: Instant,
}

impl OwnPlaces {
    /// The agent has just started.
    pub(crate) fn new(region: &Name, shown: Shown, places: KeptPlaces, replicas: Replicas) -> Self {
        Self { region: region.clone(), shown, places, replicas, started: Instant::now() }
    }

    /// Looks at the region until the shutdown, when something changes and every second.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let (mut heard, mut told) = self.shown.changed();
        loop {
            self.look(Instant::now());
            tokio::select! {
                () = shutdown.wait() => return,
                Ok(()) = heard.changed() => {}
                Ok(()) = told.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            tokio::select! { () = shutdown.wait() => return, () = tokio::time::sleep(LOOK_SPACING) => {} }
        }
    }

    fn look(&self, now: Instant) {
        let heard = HeardRegion {
            age: Duration::ZERO,
            gateways: self.shown.gateways(now),
            settled: now.saturating_duration_since(self.started) > LEASE,
        };
        let is_internal = |environment: &Name| {
            let scope = ScopeId::runtime(self.region.clone(), environment.clone());
            self.replicas.read(|replicas| {
                let listener =
                    replicas.get(&scope).and_then(|held| held.get(&format!("listener/{environment}")));
                listener.is_some_and(|listener| is_internal_listener(listener))
            })
        };
        self.places.take_own(rows_of_region(&self.region, &heard, is_internal), now);
    }
}

#[cfg(test)]
mod tests {
    use hanse_process::bring_back;
    use hanse_proto::{
        nested,
        places::Place,
        runtime::{Listener, Resource, resource::Kind},
        sync::{AgentLive, GatewayLive, Health, Serving},
    };
    use hanse_topology::{Identity, Lineage, Position};
    use prost::Message as _;

    use super::*;
    use crate::region::{Told, Watched};

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    /// An agent that hears one gateway, which is ready or not, and no control plane.
    fn own(ready: bool) -> OwnPlaces {
        let serving = Serving {
            scopes: vec!["runtime/eu-west/backoffice".into(), "runtime/eu-west/production".into()],
            scopes_total: 2,
            urls: vec!["https://192.0.2.7".into(), "https://gateway.example".into()],
            internal_urls: vec!["https://10.0.0.7:8443".into()],
            tunnels: vec!["192.0.2.7:7447".into()],
            ready,
            ..Serving::default()
        };
        let gateway = GatewayLive { name: "g".into(), live: true, serving: nested::to_bytes(&serving) };
        let agent = AgentLive { name: "a".into(), live: true, gateways: vec![gateway], left_out: 0 };
        let told = Told::knowing([(name("a"), agent)].into());
        let own = Identity::agent(name("a"), name("eu-west"));
        let shown = Shown { own, told, watched: Watched::default() };
        let replicas = Replicas::new();
        let internal = Listener { internal: true, ..Listener::default() };
        let listener = Resource { kind: Some(Kind::Listener(internal)), requires: Vec::new() };
        let value = vec![("listener/backoffice".into(), listener.encode_to_vec().into())];
        let to = Position { lineage: Lineage { generation: 1, id: [1; 16], parent: None }, revision: 1 };
        let scope = ScopeId::runtime(name("eu-west"), name("backoffice"));
        replicas.update(&scope, |replica| replica.advance(to, value, Vec::new())).unwrap();
        OwnPlaces::new(&name("eu-west"), shown, KeptPlaces::default(), replicas)
    }

    fn shown(places: &KeptPlaces, now: Instant) -> Vec<(String, Health, Vec<String>)> {
        let row = |row: Place| {
            let addresses = row.addresses.iter().map(ToString::to_string).collect();
            (row.environment.to_string(), row.health, addresses)
        };
        places.rows(now).into_iter().map(row).collect()
    }

    #[test]
    fn without_a_control_plane_the_own_region_is_known() {
        let check = |ready, after, health| {
            let own = own(ready);
            let now = own.started + after;
            own.look(now);
            let expected = [
                ("backoffice".to_owned(), health, vec!["10.0.0.7".to_owned()]),
                ("production".to_owned(), health, vec!["192.0.2.7".to_owned()]),
            ];
            assert_eq!(shown(&own.places, now), expected);
        };
        let started = Duration::from_secs(1);
        check(true, started, Health::Up);
        check(false, started, Health::Unspecified);
        check(false, LEASE + started, Health::Down);
    }

    /// A control node's word on the own region, which was on its way for 3 s, comes after the agent's own.
    fn own_word_stays() -> bool {
        let own = own(true);
        let now = own.started + LEASE * 2;
        own.look(now);
        let mut late: Vec<Place> = own.places.rows(now);
        for row in &mut late {
            (row.health, row.age) = (Health::Down, Duration::from_secs(3));
        }
        own.places.take(late, now);
        shown(&own.places, now).iter().all(|(_, health, _)| *health == Health::Up)
    }

    #[test]
    fn of_two_words_on_the_own_region_the_younger_counts() {
        assert!(own_word_stays());
        assert!(!bring_back("old-places-win", own_word_stays), "the check notices the bug");
    }
}
