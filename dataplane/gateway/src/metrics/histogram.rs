//! A histogram of durations that one thread writes and another reads.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds in microseconds: from what a gateway adds to what people still wait for. The last bucket has no bound.
const BOUNDS: [u64; 15] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000,
];

/// Durations, counted.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// A sum of histograms.
#[derive(Debug, Clone, PartialEq)]
pub struct Totals {
    /// Upper bound in seconds and count of each bucket alone.
    pub buckets: Vec<(f64, u64)>,
    /// Of all durations, in seconds.
    pub sum: f64,
    /// How many durations.
    pub count: u64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|&bound| bound < micros);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The sum of several.
    pub fn totals<'a>(histograms: impl Iterator<Item = &'a Self>) -> Totals {
        let bounds = BOUNDS.iter().map(|&micros| micros as f64 / 1e6).chain([f64::INFINITY]);
        let mut totals = Totals { buckets: bounds.map(|bound| (bound, 0)).collect(), sum: 0.0, count: 0 };
        for histogram in histograms {
            for (total, bucket) in totals.buckets.iter_mut().zip(&histogram.buckets) {
                let count = bucket.load(Ordering::Relaxed);
                total.1 += count;
                totals.count += count;
            }
            totals.sum += histogram.micros.load(Ordering::Relaxed) as f64 / 1e6;
        }
        totals
    }
}
