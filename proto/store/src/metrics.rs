//! What the store counts.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Counters of one node's store. Cloning shares them.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    /// Transactions kept.
    pub commits: Counter,
    /// Attempts to open or write that failed, to be repeated.
    pub failures: Counter,
    /// What was lost and is to be fetched again: whole files and single scopes.
    pub damaged: Family<Damaged, Counter>,
    /// 1 while what the node learns is kept, 0 while the disk refuses.
    pub writable: Gauge,
}

/// What was damaged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Damaged {
    /// `file`, `scope` or `note`.
    pub what: &'static str,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        let metrics = Self {
            commits: Counter::default(),
            failures: Counter::default(),
            damaged: Family::default(),
            writable: Gauge::default(),
        };
        // An alarm on growth needs the zero before it.
        for what in ["file", "scope", "note"] {
            drop(metrics.damaged.get_or_create(&Damaged { what }));
        }
        metrics
    }
}

impl StoreMetrics {
    /// Registers all of them as `hanse_store_…`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("hanse_store");
        registry.register("commits", "Transactions kept", self.commits.clone());
        registry.register("failures", "Failed attempts to open or write the store", self.failures.clone());
        registry.register("damaged", "What could not be read and is fetched again", self.damaged.clone());
        registry.register("writable", "Whether the disk takes what is learnt", self.writable.clone());
    }

    /// Counts a loss.
    pub fn lost(&self, what: &'static str) {
        self.damaged.get_or_create(&Damaged { what }).inc();
    }
}
