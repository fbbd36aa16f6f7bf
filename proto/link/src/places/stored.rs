//! What a node was told of places, on its disk.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hanse_process::Shutdown;
use hanse_proto::{
    places::{MAX_KEPT_PLACES, Place},
    store,
    sync::Health,
};
use hanse_store::Store;
use prost::Message as _;
use tokio::time::sleep;
use tracing::error;

use super::KeptPlaces;

const FACT: &str = "places";
/// Between two writes. Ages change all the time, and the disk is for a node that starts without its publishers: then a minute is little.
const WRITE_EVERY: Duration = Duration::from_secs(60);
/// What an earlier process was told: where regions are reached. Of their health nothing is known.
pub fn kept_places(store: &Store) -> KeptPlaces {
    let kept = KeptPlaces::default();
    let Some(bytes) = store.fact(FACT) else { return kept };
    match store::KeptPlaces::decode(bytes) {
        Ok(fact) => kept.take_own(restored(fact, unix_ms()), Instant::now()),
        Err(error) => {
            error!(%error, "where regions are reached cannot be read; a publisher has to say it again")
        }
    }
    kept
}

/// Keeps what is known of places in the store, at most once a minute.
pub async fn keep_places(store: Store, places: KeptPlaces, shutdown: Shutdown) {
    let mut seen = places.seen();
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            changed = seen.changed() => if changed.is_err() { return },
        }
        store.set_fact(FACT, Some(fact_of(places.rows(Instant::now()), unix_ms()).encode_to_vec().into()));
        tokio::select! { () = shutdown.wait() => return, () = sleep(WRITE_EVERY) => {} }
    }
}

fn fact_of(rows: Vec<Place>, written_ms: u64) -> store::KeptPlaces {
    store::KeptPlaces { written_ms, rows: rows.into_iter().map(Into::into).collect() }
}

/// A row that cannot be read is left out: its region is told again.
fn restored(fact: store::KeptPlaces, now_ms: u64) -> impl Iterator<Item = Place> {
    let ago = Duration::from_millis(now_ms.saturating_sub(fact.written_ms));
    let rows = fact.rows.into_iter().take(MAX_KEPT_PLACES).filter_map(|row| Place::try_from(row).ok());
    rows.map(move |place| Place { health: Health::Unspecified, age: place.age.saturating_add(ago), ..place })
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use hanse_topology::Name;

    use super::*;

    fn place(health: Health) -> Place {
        Place {
            region: Name::new("eu-west").unwrap(),
            environment: Name::new("production").unwrap(),
            health,
            age: Duration::from_secs(2),
            addresses: vec!["192.0.2.7".parse().unwrap()],
            tunnels: vec!["192.0.2.7:7447".to_owned()],
            left_out: 1,
        }
    }

    #[test]
    fn after_a_restart_addresses_are_known_and_no_health() {
        let mut fact = fact_of(vec![place(Health::Down)], 10_000);
        fact.rows.push(hanse_proto::sync::PlaceRow { region: "No Name".into(), ..Default::default() });
        let read = |now| restored(fact.clone(), now).collect::<Vec<_>>();
        let aged = |age| vec![Place { age: Duration::from_secs(age), ..place(Health::Unspecified) }];
        assert_eq!(read(70_000), aged(62));
        assert_eq!(read(9_000), aged(2), "the clock went back");
    }
}
