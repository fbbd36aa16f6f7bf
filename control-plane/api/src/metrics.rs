//! What the API counts.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// From a read out of memory (0.1 ms) to a write that waits for an election (seconds).
const SECONDS_BUCKETS: [f64; 12] =
    [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// Counters of the operator API.
#[derive(Debug, Clone)]
pub struct ApiMetrics {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram>,
    watches: Gauge,
    body_bytes: Gauge,
    busy: Family<PlaceLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PlaceLabels {
    waited_for: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
    method: String,
}

impl ApiMetrics {
    /// Makes them and adds them to `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS_BUCKETS)),
            watches: Gauge::default(),
            body_bytes: Gauge::default(),
            busy: Family::default(),
        };
        registry.register(
            "hanse_api_requests",
            "Requests to the operator API, by route, method and status",
            metrics.requests.clone(),
        );
        registry.register(
            "hanse_api_request_seconds",
            "Time from a request's head to its answer's head",
            metrics.seconds.clone(),
        );
        registry.register("hanse_api_watches", "Watches open now", metrics.watches.clone());
        registry.register(
            "hanse_api_body_bytes",
            "Bytes of request bodies that have a place now",
            metrics.body_bytes.clone(),
        );
        registry.register(
            "hanse_api_busy",
            "Requests refused because no place became free for them in time, by what they waited for",
            metrics.busy.clone(),
        );
        metrics
    }

    pub(crate) fn answered(&self, route: &str, method: &str, status: u16, took: Duration) {
        let (route, method) = (route.to_owned(), method.to_owned());
        self.seconds
            .get_or_create(&RouteLabels { route: route.clone(), method: method.clone() })
            .observe(took.as_secs_f64());
        self.requests.get_or_create(&RequestLabels { route, method, status }).inc();
    }

    /// A body got a place.
    pub(crate) fn body_held(&self, bytes: usize) {
        self.body_bytes.inc_by(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// It gave the place back.
    pub(crate) fn body_released(&self, bytes: usize) {
        self.body_bytes.dec_by(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// A request got no place in time.
    pub(crate) fn busy(&self, waited_for: &'static str) {
        self.busy.get_or_create(&PlaceLabels { waited_for }).inc();
    }

    /// Counts one watch for as long as the guard lives.
    pub(crate) fn watching(&self) -> WatchGuard {
        self.watches.inc();
        WatchGuard(self.watches.clone())
    }
}

/// One open watch.
pub(crate) struct WatchGuard(Gauge);

impl Drop for WatchGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
