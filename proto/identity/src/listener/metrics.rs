//! What listeners count.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Why a listener ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The listener was full, and no connection could be closed in its favour.
    Full,
    /// The listener was full, and another connection took its place.
    Evicted,
    /// Its peer has too many.
    PeerFull,
    /// No ClientHello came in time.
    NoHello,
    /// The handshake took too long.
    SlowHandshake,
    /// The handshake failed.
    BadHandshake,
    /// No request came in time.
    NoRequest,
    /// The head of a request came in part only.
    HalfHead,
    /// No request for long.
    Idle,
    /// The client did not take an answer.
    Untaken,
}

impl Ended {
    const ALL: [Self; 10] = [
        Self::Full,
        Self::Evicted,
        Self::PeerFull,
        Self::NoHello,
        Self::SlowHandshake,
        Self::BadHandshake,
        Self::NoRequest,
        Self::HalfHead,
        Self::Idle,
        Self::Untaken,
    ];

    /// The label in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Evicted => "evicted",
            Self::PeerFull => "peer-full",
            Self::NoHello => "no-hello",
            Self::SlowHandshake => "slow-handshake",
            Self::BadHandshake => "bad-handshake",
            Self::NoRequest => "no-request",
            Self::HalfHead => "half-head",
            Self::Idle => "idle",
            Self::Untaken => "untaken",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Face {
    listener: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FaceAndReason {
    listener: &'static str,
    reason: &'static str,
}

/// The counters of a process's listeners, by listener. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct ListenerMetrics {
    connections: Family<Face, Gauge>,
    max_connections: Family<Face, Gauge>,
    accepted: Family<Face, Counter>,
    closed: Family<FaceAndReason, Counter>,
    late_answers: Family<Face, Counter>,
}

impl ListenerMetrics {
    /// Counters in `registry`, as `hanse_listener_…`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("hanse_listener");
        registry.register("connections", "Connections open", metrics.connections.clone());
        registry.register("max_connections", "Connections taken at most", metrics.max_connections.clone());
        registry.register("accepted_connections", "Connections accepted", metrics.accepted.clone());
        registry.register(
            "closed_connections",
            "Connections that the listener closed, by reason; docs/limits.md explains them",
            metrics.closed.clone(),
        );
        registry.register(
            "late_answers",
            "Requests given up because their answer took too long",
            metrics.late_answers.clone(),
        );
        metrics
    }

    /// Those of one listener.
    pub(super) fn of(&self, listener: &'static str, max_connections: usize) -> FaceMetrics {
        let face = Face { listener };
        let most = i64::try_from(max_connections).unwrap_or(i64::MAX);
        self.max_connections.get_or_create(&face).set(most);
        FaceMetrics {
            connections: self.connections.get_or_create(&face).clone(),
            accepted: self.accepted.get_or_create(&face).clone(),
            // All of them from the beginning: a rule on a counter that is not there yet never fires.
            closed: Ended::ALL.map(|ended| {
                self.closed.get_or_create(&FaceAndReason { listener, reason: ended.as_str() }).clone()
            }),
            late_answers: self.late_answers.get_or_create(&face).clone(),
        }
    }
}

/// The counters of one listener.
#[derive(Debug, Clone)]
pub(super) struct FaceMetrics {
    pub(super) connections: Gauge,
    pub(super) accepted: Counter,
    closed: [Counter; Ended::ALL.len()],
    pub(super) late_answers: Counter,
}

/// Counts a connection as open until it is dropped, also with the task that served it.
pub(super) struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl FaceMetrics {
    /// A connection is open for as long as this is held.
    pub(super) fn open(&self) -> Open {
        self.connections.inc();
        Open(self.connections.clone())
    }

    /// Counts a connection that the listener ended.
    pub(super) fn ended(&self, why: Ended) {
        self.closed[why as usize].inc();
    }

    #[cfg(test)]
    pub(super) fn count(&self, why: Ended) -> u64 {
        self.closed[why as usize].get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_by_their_place() {
        for (place, ended) in Ended::ALL.into_iter().enumerate() {
            assert_eq!(ended as usize, place);
        }
    }

    #[test]
    fn every_reason_is_shown_before_it_happens() {
        let mut registry = Registry::default();
        let metrics = ListenerMetrics::register(&mut registry).of("api", 7);
        metrics.ended(Ended::Evicted);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "hanse_listener_max_connections{listener=\"api\"} 7",
            "hanse_listener_closed_connections_total{listener=\"api\",reason=\"evicted\"} 1",
            "hanse_listener_closed_connections_total{listener=\"api\",reason=\"idle\"} 0",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
