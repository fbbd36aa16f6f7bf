//! What the links count.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// Counters of one node's links. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct LinkMetrics {
    /// Deltas whose end was sent.
    pub deltas_sent: Counter,
    /// Deltas put in force.
    pub deltas_applied: Counter,
    /// Snapshots begun towards subscribers, by reason.
    pub snapshots_sent: Family<Reason, Counter>,
    /// Snapshots put in force, by the reason the publisher gave.
    pub snapshots_applied: Family<Reason, Counter>,
    /// Bookmarks sent.
    pub bookmarks_sent: Counter,
    /// Alarms raised by what a publisher sent, or did not send.
    pub alarms: Family<Reason, Counter>,
    /// Scopes asked for again after a failed transfer or an unequal root.
    pub resyncs: Counter,
    /// Streams to a publisher that were opened.
    pub connections: Counter,
    /// Streams of subscribers that were refused or ended, by reason.
    pub streams_refused: Family<Reason, Counter>,
    /// Hellos with a head of a local scope that is not believed.
    pub heads_disbelieved: Counter,
    /// Streams of subscribers that showed two processes with one identity.
    pub duplicates: Counter,
}

/// Why something happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// In a few words.
    pub reason: String,
}

impl Reason {
    /// A label.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

impl LinkMetrics {
    /// Registers all of them as `hanse_link_…`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("hanse_link");
        registry.register("deltas_sent", "Deltas sent to subscribers", self.deltas_sent.clone());
        registry.register("deltas_applied", "Deltas put in force", self.deltas_applied.clone());
        registry.register("snapshots_sent", "Snapshots sent to subscribers", self.snapshots_sent.clone());
        registry.register("snapshots_applied", "Snapshots put in force", self.snapshots_applied.clone());
        registry.register("bookmarks_sent", "Bookmarks sent to subscribers", self.bookmarks_sent.clone());
        registry.register("alarms", "Alarms about a publisher", self.alarms.clone());
        registry.register("resyncs", "Scopes asked for again", self.resyncs.clone());
        registry.register("connections", "Streams opened to a publisher", self.connections.clone());
        let refused = self.streams_refused.clone();
        registry.register("streams_refused", "Streams of subscribers refused or ended", refused);
        registry.register(
            "heads_disbelieved",
            "Heads of local scopes that subscribers said they hold or were shown, and that are not believed",
            self.heads_disbelieved.clone(),
        );
        registry.register(
            "duplicates",
            "Times that two processes took turns under one identity",
            self.duplicates.clone(),
        );
    }
}
