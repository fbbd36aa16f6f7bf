//! Where regions are reached and whether they serve, as this node was told: soft state, beside the scopes.

mod rows;
mod stored;
mod telling;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use hanse_process::seeded;
use hanse_proto::{
    places::{MAX_KEPT_PLACES, PLACE_ENDS_AFTER, Place},
    sync::Health,
};
use hanse_topology::Name;
use parking_lot::Mutex;
use tokio::sync::watch;

pub use rows::{HeardGateway, HeardRegion, rows_of_region};
pub use stored::{keep_places, kept_places};
pub(crate) use telling::{Learns, PlacesTeller};

/// How much earlier than its start the clock of a process begins. Older words count as if they were of that time: they say where a region
/// is reached, and nothing of its health.
const CLOCK_BEGINS_BEFORE: Duration = Duration::from_secs(24 * 3_600);
/// The longest time between two messages of a publisher in which it counts as heard: twice the time in which it repeats all rows.
const HEARD_FOR: Duration = Duration::from_secs(10);

/// What is known of the regions, by environment and region.
pub type PlacesByEnvironment = BTreeMap<Name, BTreeMap<Name, SeenPlace>>;

/// What is known of one region, in one environment. Of two words the greater one counts: the younger one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeenPlace {
    /// When the region's agents said so, by [`KeptPlaces::clock`].
    pub said: Duration,
    /// What they say of its gateways. `Unspecified`: nothing is known.
    pub health: Health,
    /// Where its gateways are reached by clients.
    pub addresses: Vec<IpAddr>,
    /// Where its gateways take tunnelled requests, `host:port`.
    pub tunnels: Vec<String>,
    /// How many addresses and tunnels there was no room for.
    pub left_out: u64,
}

/// What a node was told of places. Cloning shares it.
#[derive(Clone)]
pub struct KeptPlaces(Arc<Shared>);

struct Shared {
    /// When the process started, by the machine's clock.
    started: Instant,
    held: Mutex<Held>,
    seen: watch::Sender<Arc<PlacesByEnvironment>>,
    /// Fires when a row says something else than before: not when only its age is another.
    changed: watch::Sender<u64>,
}

impl fmt::Debug for KeptPlaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeptPlaces").field(&*self.0.seen.borrow()).finish()
    }
}

impl Default for KeptPlaces {
    fn default() -> Self {
        Self::started_at(Instant::now())
    }
}

impl KeptPlaces {
    /// Knows nothing yet. Its clock is that of a process that started then.
    pub fn started_at(started: Instant) -> Self {
        let (seen, changed) = (watch::Sender::default(), watch::Sender::default());
        Self(Arc::new(Shared { started, held: Mutex::default(), seen, changed }))
    }

    /// The time by which words are dated: it never goes back, and begins a day before the process started.
    pub fn clock(&self, at: Instant) -> Duration {
        CLOCK_BEGINS_BEFORE + at.saturating_duration_since(self.0.started)
    }

    /// What is known, and news of it.
    pub fn seen(&self) -> watch::Receiver<Arc<PlacesByEnvironment>> {
        self.0.seen.subscribe()
    }

    /// Fires when a row says something else than before.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Takes in the rows of a message that a publisher sent, and that came at `now`.
    pub fn take(&self, rows: impl IntoIterator<Item = Place>, now: Instant) {
        let now = self.clock(now);
        self.note(|held| {
            held.hear(now);
            held.take(rows, now)
        });
    }

    /// Takes in rows that this node knows by itself, at `now`. That says nothing of rows which publishers told.
    pub fn take_own(&self, rows: impl IntoIterator<Item = Place>, now: Instant) {
        let now = self.clock(now);
        self.note(|held| held.take(rows, now));
    }

    /// Forgets the rows of a region that is heard, but for those of these environments: it serves no others any more.
    pub fn keep_of_region(&self, region: &Name, environments: &BTreeSet<Name>) {
        self.note(|held| {
            let before = held.rows.len();
            held.rows.retain(|(environment, of), _| of != region || environments.contains(environment));
            if held.rows.len() < before { Taken::News } else { Taken::Nothing }
        });
    }

    fn note(&self, take: impl FnOnce(&mut Held) -> Taken) {
        let mut held = self.0.held.lock();
        let taken = take(&mut held);
        if taken == Taken::Nothing {
            return;
        }
        self.0.seen.send_replace(Arc::new(held.seen()));
        if taken == Taken::News {
            self.0.changed.send_modify(|version| *version += 1);
        }
    }

    /// What is known, as of `now`.
    pub fn rows(&self, now: Instant) -> Vec<Place> {
        let now = self.clock(now);
        told(&self.0.seen.borrow(), now, |_, _, _| true)
    }
}

impl SeenPlace {
    /// Whether the other says the same, at whatever time.
    fn says_as(&self, other: &Self) -> bool {
        let Self { said: _, health, addresses, tunnels, left_out } = self;
        (*health, addresses, tunnels, *left_out)
            == (other.health, &other.addresses, &other.tunnels, other.left_out)
    }
}

/// The rows that are asked for, as of `now`.
fn told(
    seen: &PlacesByEnvironment,
    now: Duration,
    is_asked: impl Fn(&Name, &Name, &SeenPlace) -> bool,
) -> Vec<Place> {
    let all = seen
        .iter()
        .flat_map(|(environment, of)| of.iter().map(move |(region, seen)| (environment, region, seen)));
    let all = all.filter(|(environment, region, seen)| is_asked(environment, region, seen));
    let place = |(environment, region, seen): (&Name, &Name, &SeenPlace)| {
        let SeenPlace { said, health, addresses, tunnels, left_out } = seen.clone();
        let (region, environment) = (region.clone(), environment.clone());
        Place { region, environment, health, age: now.saturating_sub(said), addresses, tunnels, left_out }
    };
    all.map(place).collect()
}

/// The rows, and for how long publishers were heard.
#[derive(Debug, Default)]
struct Held {
    /// By environment and region.
    rows: BTreeMap<(Name, Name), Row>,
    /// How long publishers were heard, in sum. Silence does not count: a row that no publisher could repeat stays.
    heard: Duration,
    /// When the last message came.
    last: Option<Duration>,
}

/// What came of rows that were taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Taken {
    /// All was known.
    Nothing,
    /// Regions said again what they had said.
    Again,
    /// A row says something else.
    News,
}

#[derive(Debug)]
struct Row {
    place: SeenPlace,
    /// `heard`, when a publisher said the row last.
    repeated: Duration,
}

impl Held {
    /// A publisher is heard.
    fn hear(&mut self, now: Duration) {
        let silence = self.last.map_or(Duration::ZERO, |last| now.saturating_sub(last));
        self.heard += silence.min(HEARD_FOR);
        self.last = Some(now);
    }

    fn take(&mut self, rows: impl IntoIterator<Item = Place>, now: Duration) -> Taken {
        let mut taken = Taken::Nothing;
        for Place { region, environment, health, age, addresses, tunnels, left_out } in rows {
            let place = SeenPlace { said: now.saturating_sub(age), health, addresses, tunnels, left_out };
            let repeated = self.heard;
            match self.rows.get_mut(&(environment.clone(), region.clone())) {
                Some(held) => {
                    held.repeated = repeated;
                    if place > held.place || (seeded("old-places-win") && place != held.place) {
                        taken =
                            taken.max(if place.says_as(&held.place) { Taken::Again } else { Taken::News });
                        held.place = place;
                    }
                }
                None => {
                    self.rows.insert((environment, region), Row { place, repeated });
                    taken = Taken::News;
                }
            }
        }
        let before = self.rows.len();
        let heard = self.heard;
        self.rows.retain(|_, row| heard - row.repeated <= PLACE_ENDS_AFTER);
        self.bound();
        if self.rows.len() < before { Taken::News } else { taken }
    }

    /// Forgets the rows that were heard longest ago, where there are too many.
    fn bound(&mut self) {
        let Some(surplus) = self.rows.len().checked_sub(MAX_KEPT_PLACES).filter(|surplus| *surplus > 0)
        else {
            return;
        };
        let mut by_age: Vec<_> =
            self.rows.iter().map(|(key, row)| (row.repeated, row.place.said, key.clone())).collect();
        by_age.sort_unstable();
        for (_, _, key) in by_age.into_iter().take(surplus) {
            self.rows.remove(&key);
        }
    }

    fn seen(&self) -> PlacesByEnvironment {
        let mut seen = PlacesByEnvironment::new();
        for ((environment, region), row) in &self.rows {
            seen.entry(environment.clone()).or_default().insert(region.clone(), row.place.clone());
        }
        seen
    }
}

#[cfg(test)]
mod tests;
