//! Where regions are reached and whether they serve, from what their agents said last. Nothing of it enters the replicated state.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use hanse_link::{HeardRegion, KeptPlaces, rows_of_region};
use hanse_topology::{Name, ScopeId};

/// Puts the rows of the regions that are heard in step with what is heard of them. A region that is not heard keeps its last rows, which
/// age. `is_internal`: whether the value of this key in this scope is the Listener of an internal environment.
pub(crate) fn note(
    places: &KeptPlaces,
    heard: &BTreeMap<Name, HeardRegion>,
    is_internal: impl Fn(&ScopeId, &str) -> bool,
    now: Instant,
) {
    for (region, heard) in heard {
        let is_internal = |environment: &Name| {
            let scope = ScopeId::runtime(region.clone(), environment.clone());
            is_internal(&scope, &format!("listener/{environment}"))
        };
        let rows = rows_of_region(region, heard, is_internal);
        let environments: BTreeSet<Name> = rows.iter().map(|row| row.environment.clone()).collect();
        places.take_own(rows, now);
        // Before, a gateway of another environment may not have been heard yet.
        if heard.settled {
            places.keep_of_region(region, &environments);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hanse_link::HeardGateway;
    use hanse_proto::sync::{Health, Serving};

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn heard(environments: &[&str], ready: bool) -> BTreeMap<Name, HeardRegion> {
        let scopes: Vec<_> = environments.iter().map(|of| format!("runtime/eu-west/{of}")).collect();
        let serving = Serving {
            scopes_total: scopes.len() as u64,
            scopes,
            urls: vec!["https://192.0.2.7".into()],
            internal_urls: vec!["https://10.0.0.7".into()],
            ready,
            ..Serving::default()
        };
        let gateways = vec![HeardGateway { live: Some(true), serving: Some(serving) }];
        let heard = HeardRegion { age: Duration::from_secs(1), gateways, settled: true };
        [(name("eu-west"), heard)].into()
    }

    /// environment, health, age in seconds, address.
    fn rows(places: &KeptPlaces, now: Instant) -> Vec<(String, Health, u64, String)> {
        let row = |row: hanse_proto::places::Place| {
            (row.environment.to_string(), row.health, row.age.as_secs(), row.addresses[0].to_string())
        };
        places.rows(now).into_iter().map(row).collect()
    }

    #[test]
    fn a_region_that_is_not_heard_ages_and_one_that_left_an_environment_is_forgotten_there() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let places = KeptPlaces::started_at(start);
        let is_internal = |scope: &ScopeId, key: &str| {
            *scope == "runtime/eu-west/backoffice".parse().unwrap() && key == "listener/backoffice"
        };
        note(&places, &heard(&["backoffice", "production"], true), is_internal, after(2));
        let row = |environment: &str, health, age, address: &str| {
            (environment.to_owned(), health, age, address.to_owned())
        };
        let both = |health, age| {
            [row("backoffice", health, age, "10.0.0.7"), row("production", health, age, "192.0.2.7")]
        };
        assert_eq!(rows(&places, after(2)), both(Health::Up, 1));
        note(&places, &BTreeMap::new(), is_internal, after(3_602));
        assert_eq!(rows(&places, after(3_602)), both(Health::Up, 3_601), "readers know how old that is");
        note(&places, &heard(&["production"], false), is_internal, after(3_700));
        assert_eq!(rows(&places, after(3_700)), [row("production", Health::Down, 1, "192.0.2.7")]);
    }
}
