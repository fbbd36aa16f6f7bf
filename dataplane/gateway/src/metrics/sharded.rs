//! Counters that all serving threads count in without waiting for one another.

use std::{
    array,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// Counters are spread over so many cache lines: enough that cores seldom meet on one, few enough that those of ten thousand Apis fit in
/// 5 MB.
const SHARDS: usize = 8;

/// `N` counters, at most eight. They take memory with the first count: most Apis of a large federation see no request in most gateways.
#[derive(Debug, Default)]
pub(super) struct Sharded<const N: usize>(OnceLock<Box<[Shard<N>; SHARDS]>>);

/// Counts on a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
struct Shard<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Shard<N> {
    fn default() -> Self {
        Self(array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> Sharded<N> {
    /// Counts one.
    pub(super) fn count(&self, worker: usize, counter: usize) {
        let shards = self.0.get_or_init(|| Box::new(array::from_fn(|_| Shard::default())));
        shards[worker % SHARDS].0[counter].fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub(super) fn totals(&self) -> [u64; N] {
        let mut totals = [0; N];
        for shard in self.0.get().into_iter().flat_map(|shards| shards.iter()) {
            for (total, count) in totals.iter_mut().zip(&shard.0) {
                *total += count.load(Ordering::Relaxed);
            }
        }
        totals
    }
}
