//! `/places`: where regions are reached and whether they serve, as a node was told. For people and programs.

use std::{net::IpAddr, time::Instant};

use axum::{Json, Router, routing::get};
use hanse_link::KeptPlaces;
use hanse_proto::{places::Place, sync::Health};
use hanse_topology::LEASE;
use serde::{Deserialize, Serialize};

/// What is known of one region, in one environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlaceShown {
    /// The environment.
    pub environment: String,
    /// The region.
    pub region: String,
    /// `up`, `down`, or `unknown`: its agents said nothing of it for 15 s, or too little.
    pub health: String,
    /// Since its agents said something of it.
    pub age_seconds: u64,
    /// Where clients reach its gateways.
    pub addresses: Vec<IpAddr>,
    /// Where its gateways take tunnelled requests.
    pub tunnels: Vec<String>,
    /// How many addresses and tunnels there was no room for.
    pub left_out: u64,
}

/// The page of the admin port.
pub(crate) fn pages(places: KeptPlaces) -> Router {
    let shown = async move || {
        let rows = places.rows(Instant::now());
        Json(rows.into_iter().map(PlaceShown::from).collect::<Vec<_>>())
    };
    Router::new().route("/places", get(shown))
}

impl From<Place> for PlaceShown {
    fn from(place: Place) -> Self {
        let Place { region, environment, health, age, addresses, tunnels, left_out } = place;
        let health = match health {
            Health::Up if age <= LEASE => "up",
            Health::Down if age <= LEASE => "down",
            Health::Up | Health::Down | Health::Unspecified => "unknown",
        };
        Self {
            environment: environment.to_string(),
            region: region.to_string(),
            health: health.to_owned(),
            age_seconds: age.as_secs(),
            addresses,
            tunnels,
            left_out,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hanse_topology::Name;

    use super::*;

    #[test]
    fn an_old_word_says_nothing_of_health() {
        let check = |health: Health, age: u64, expected: &str| {
            let name = |text| Name::new(text).unwrap();
            let (region, environment) = (name("eu-west"), name("production"));
            let (age, addresses) = (Duration::from_secs(age), vec!["192.0.2.7".parse().unwrap()]);
            let place =
                Place { region, environment, health, age, addresses, tunnels: Vec::new(), left_out: 0 };
            let shown = PlaceShown::from(place);
            assert_eq!((&*shown.health, shown.addresses.len()), (expected, 1));
        };
        check(Health::Up, 15, "up");
        check(Health::Up, 16, "unknown");
        check(Health::Down, 15, "down");
        check(Health::Down, 16, "unknown");
        check(Health::Unspecified, 0, "unknown");
    }
}
