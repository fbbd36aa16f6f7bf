//! What this node's replication does, in numbers.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    metrics::{
        counter::Counter,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// The metrics. Cloning shares them.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    term: Gauge<u64, AtomicU64>,
    is_leader: Gauge<u64, AtomicU64>,
    last_applied: Gauge<u64, AtomicU64>,
    batch_commands: Histogram,
    apply_seconds: Histogram,
    snapshot_builds: Counter,
    snapshot_failures: Counter,
    snapshot_build_seconds: Histogram,
    snapshot_installs: Counter,
}

/// Whether this node's log is damaged. Apart from the replica's other metrics, because there is no replica then.
#[derive(Debug, Clone)]
pub struct DamageMetric(Gauge<u64, AtomicU64>);

impl DamageMetric {
    /// Adds it; undamaged.
    pub fn register(registry: &mut Registry) -> Self {
        let damaged = Gauge::default();
        registry.register(
            "hanse_raft_log_damaged",
            "1 if this node's log or snapshot is damaged: the node serves nothing and has to rejoin",
            damaged.clone(),
        );
        Self(damaged)
    }

    /// Says that it is damaged.
    pub fn set(&self) {
        self.0.set(1);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            term: Gauge::default(),
            is_leader: Gauge::default(),
            last_applied: Gauge::default(),
            batch_commands: Histogram::new(exponential_buckets(1.0, 2.0, 7)), // 1 to 64, where a batch closes
            apply_seconds: Histogram::new(exponential_buckets(0.000_05, 4.0, 9)), // 50 µs to 3.3 s
            snapshot_builds: Counter::default(),
            snapshot_failures: Counter::default(),
            snapshot_build_seconds: Histogram::new(exponential_buckets(0.001, 4.0, 9)), // 1 ms to 66 s
            snapshot_installs: Counter::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("hanse_raft");
        registry.register("term", "Raft's term", self.term.clone());
        registry.register("is_leader", "1 if this node leads", self.is_leader.clone());
        registry.register(
            "last_applied_index",
            "Index of the last log entry applied",
            self.last_applied.clone(),
        );
        registry.register("batch_commands", "Commands per proposed log entry", self.batch_commands.clone());
        registry.register_with_unit(
            "apply",
            "Time to apply a run of committed entries",
            Unit::Seconds,
            self.apply_seconds.clone(),
        );
        registry.register("snapshot_builds", "Snapshots written", self.snapshot_builds.clone());
        registry.register(
            "snapshot_failures",
            "Attempts to write a snapshot that failed; they are repeated",
            self.snapshot_failures.clone(),
        );
        registry.register_with_unit(
            "snapshot_build",
            "Time to write a snapshot",
            Unit::Seconds,
            self.snapshot_build_seconds.clone(),
        );
        registry.register("snapshot_installs", "Snapshots received", self.snapshot_installs.clone());
    }

    pub(crate) fn role(&self, term: u64, is_leader: bool) {
        self.term.set(term);
        self.is_leader.set(is_leader.into());
    }

    pub(crate) fn proposed(&self, commands: usize) {
        self.batch_commands.observe(commands as f64);
    }

    pub(crate) fn applied(&self, count: u64, took: Duration) {
        self.last_applied.set(count.saturating_sub(1));
        self.apply_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn snapshot_built(&self, took: Duration) {
        self.snapshot_builds.inc();
        self.snapshot_build_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn snapshot_failed(&self) {
        self.snapshot_failures.inc();
    }

    #[cfg(test)]
    pub(crate) fn snapshots_failed(&self) -> u64 {
        self.snapshot_failures.get()
    }

    pub(crate) fn snapshot_installed(&self, count: u64) {
        self.last_applied.set(count.saturating_sub(1));
        self.snapshot_installs.inc();
    }
}
