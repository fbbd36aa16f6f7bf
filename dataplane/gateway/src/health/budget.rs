//! How much may be sent again: a share of what is sent, as in linkerd's and Envoy's retry budgets.
//!
//! Without a budget a service that fails under load gets a multiple of that load, and fails for good.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Retries per request over the window, in percent: the default of both linkerd and Envoy.
const RATIO_PERCENT: u64 = 20;
/// Retries a second that are always allowed, so that rare requests have any: linkerd's default.
const MIN_PER_SECOND: u64 = 10;
/// The window is so many slots,
const SLOTS: u64 = 5;
/// of so long each: 10 s in all, linkerd's default, of which the last slot is filling.
const SLOT_MS: u64 = 2_000;
/// Threads are spread over so many cache lines, as an Api's counters are.
const SHARDS: usize = 8;

/// One upstream's.
#[derive(Debug, Default)]
pub struct RetryBudget {
    /// Made with the first request: most upstreams of a large federation see none in most gateways.
    shards: OnceLock<Box<[Shard; SHARDS]>>,
}

/// What some of the threads did.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard {
    requests: Window,
    retries: Window,
}

/// Counts of the last slots of time; each holds its slot's number above 32 bits of count.
#[derive(Debug, Default)]
struct Window([AtomicU64; SLOTS as usize]);

impl RetryBudget {
    /// A request goes out for the first time. `now` is in milliseconds.
    pub fn request(&self, thread: usize, now: u64) {
        self.shard(thread).requests.count(now / SLOT_MS);
    }

    /// Whether one may go out again; if so, that is counted.
    pub fn take(&self, thread: usize, now: u64) -> bool {
        let slot = now / SLOT_MS;
        let own = self.shard(thread);
        let all = || self.shards.get().into_iter().flat_map(|shards| shards.iter());
        let requests: u64 = all().map(|shard| shard.requests.sum(slot)).sum();
        let retries: u64 = all().map(|shard| shard.retries.sum(slot)).sum();
        let allowed = retries < requests * RATIO_PERCENT / 100 + MIN_PER_SECOND * SLOTS * SLOT_MS / 1_000;
        if allowed {
            own.retries.count(slot);
        }
        allowed
    }

    fn shard(&self, thread: usize) -> &Shard {
        &self.shards.get_or_init(Box::default)[thread % SHARDS]
    }
}

impl Window {
    /// Two threads on one shard may lose a count between them; a budget is no bookkeeping.
    fn count(&self, slot: u64) {
        let place = &self.0[(slot % SLOTS) as usize];
        if place.load(Relaxed) >> 32 == slot & u64::from(u32::MAX) {
            place.fetch_add(1, Relaxed);
        } else {
            place.store(slot << 32 | 1, Relaxed);
        }
    }

    fn sum(&self, slot: u64) -> u64 {
        let recent = |held: &u64| {
            let behind = (slot & u64::from(u32::MAX)).wrapping_sub(held >> 32);
            behind < SLOTS
        };
        self.0
            .iter()
            .map(|place| place.load(Relaxed))
            .filter(recent)
            .map(|held| held & u64::from(u32::MAX))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A time with whole slots behind it.
    const NOW: u64 = 100 * SLOTS * SLOT_MS;
    const FLOOR: usize = (MIN_PER_SECOND * SLOTS * SLOT_MS / 1_000) as usize;

    fn granted(budget: &RetryBudget, now: u64) -> usize {
        (0..10_000).filter(|thread| budget.take(*thread, now)).count()
    }

    #[test]
    fn a_floor_and_a_share_may_be_sent_again() {
        let budget = RetryBudget::default();
        assert_eq!(granted(&budget, NOW), FLOOR);
        for thread in 0..1_000 {
            budget.request(thread, NOW);
        }
        assert_eq!(granted(&budget, NOW), 200);
    }

    #[test]
    fn what_is_past_the_window_counts_no_more() {
        let budget = RetryBudget::default();
        for slot in 0..SLOTS {
            budget.request(0, NOW + slot * SLOT_MS);
        }
        assert_eq!(budget.shard(0).requests.sum(NOW / SLOT_MS + SLOTS - 1), SLOTS);
        assert_eq!(budget.shard(0).requests.sum(NOW / SLOT_MS + SLOTS), SLOTS - 1);
        assert_eq!(granted(&budget, NOW), FLOOR);
        assert_eq!(granted(&budget, NOW + (SLOTS - 1) * SLOT_MS), 1, "a fifth of five requests");
        assert_eq!(granted(&budget, NOW + 2 * SLOTS * SLOT_MS), FLOOR);
    }
}
