//! What answers know of other regions, as the region's agents tell it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};
use hanse_link::{KeptPlaces, PlacesByEnvironment, SeenPlace};
use hanse_process::Shutdown;
use hanse_proto::sync::Health;
use hanse_steering::{Place, Places, ReportedHealth};
use hanse_topology::Name;

/// By environment.
type ByEnvironment = BTreeMap<Name, Places>;

/// What is known, in the form that policies read. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct SeenPlaces {
    kept: KeptPlaces,
    in_use: Arc<ArcSwap<ByEnvironment>>,
}

/// What is known, and the time at which it is looked at.
#[derive(Debug, Default)]
pub(crate) struct PlacesNow {
    pub(crate) seen: Arc<ByEnvironment>,
    /// By the clock by which reports are dated.
    pub(crate) now: Duration,
}

impl SeenPlaces {
    /// With what is known now.
    pub(crate) fn new(kept: KeptPlaces) -> Self {
        let in_use = Arc::new(ArcSwap::from_pointee(by_environment(&kept.seen().borrow())));
        Self { kept, in_use }
    }

    /// What is known.
    pub(crate) fn load(&self) -> Guard<Arc<ByEnvironment>> {
        self.in_use.load()
    }

    /// The time by the clock by which reports are dated.
    pub(crate) fn clock(&self, at: Instant) -> Duration {
        self.kept.clock(at)
    }

    /// What is known, as it is looked at `now`.
    pub(crate) fn now(&self, now: Instant) -> PlacesNow {
        PlacesNow { seen: self.in_use.load_full(), now: self.clock(now) }
    }

    /// Takes up what is told, until the shutdown.
    pub(crate) async fn follow(self, shutdown: Shutdown) {
        let mut seen = self.kept.seen();
        loop {
            let read = by_environment(&seen.borrow_and_update());
            self.in_use.store(Arc::new(read));
            tokio::select! {
                () = shutdown.wait() => return,
                changed = seen.changed() => if changed.is_err() { return },
            }
        }
    }
}

fn by_environment(seen: &PlacesByEnvironment) -> ByEnvironment {
    let places = |of: &BTreeMap<Name, SeenPlace>| {
        of.iter().map(|(region, seen)| (region.clone(), place(seen))).collect()
    };
    seen.iter().map(|(environment, of)| (environment.clone(), places(of))).collect()
}

fn place(seen: &SeenPlace) -> Place {
    let reported = match seen.health {
        Health::Up => Some(ReportedHealth::Up),
        Health::Down => Some(ReportedHealth::Down),
        Health::Unspecified => None,
    };
    Place {
        reported: reported.map(|health| (health, seen.said)),
        addresses: seen.addresses.iter().copied().collect(),
    }
}
