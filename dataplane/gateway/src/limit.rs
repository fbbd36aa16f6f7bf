//! Rate limits: a token bucket per subscription, kept as one number (the generic cell rate algorithm, ITU-T I.371).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The rate of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds a request takes from the budget.
    interval: u64,
    /// Nanoseconds the budget may run ahead of the clock.
    tolerance: u64,
}

impl Rate {
    /// The rate of a plan.
    pub fn new(rate: hanse_runtime::Rate) -> Self {
        let period = u128::from(rate.period_seconds.get()) * u128::from(NANOS_PER_SECOND);
        let interval = u64::try_from(period / u128::from(rate.requests.get())).unwrap_or(u64::MAX / 2).max(1);
        Self { interval, tolerance: interval.saturating_mul(rate.burst.max(1)).min(u64::MAX / 2) }
    }
}

/// A token bucket that any number of cores may draw on.
#[derive(Debug)]
pub struct Bucket {
    rate: Rate,
    /// When, by the bucket's clock, the budget would be full again ("theoretical arrival time").
    full_at: AtomicU64,
}

impl Bucket {
    /// A full bucket.
    pub fn new(rate: Rate) -> Arc<Self> {
        Arc::new(Self { rate, full_at: AtomicU64::new(0) })
    }

    /// Its rate.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes one request out, or says how long to wait until one is there.
    pub fn take(&self, now: Clock) -> Result<(), Duration> {
        let now = now.0;
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let next = full_at.max(now).saturating_add(self.rate.interval);
            let ahead = next - now;
            if ahead > self.rate.tolerance {
                return Err(Duration::from_nanos(ahead - self.rate.tolerance));
            }
            // Relaxed: the number is all there is, nothing else is published by it.
            match self.full_at.compare_exchange_weak(full_at, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(current) => full_at = current,
            }
        }
    }
}

/// A point of time, in nanoseconds since this process first asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clock(u64);

impl Clock {
    /// Now.
    pub fn now() -> Self {
        static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        Self(u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX / 2)) // 292 years
    }

    /// A chosen point, for tests of rules that depend on time.
    pub fn at(since_start: Duration) -> Self {
        Self(u64::try_from(since_start.as_nanos()).unwrap_or(u64::MAX / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(requests: u64, period_seconds: u64, burst: u64) -> Arc<Bucket> {
        let [requests, period_seconds] = [requests, period_seconds].map(|own| own.try_into().unwrap());
        Bucket::new(Rate::new(hanse_runtime::Rate { requests, period_seconds, burst }))
    }

    #[test]
    fn the_burst_passes_and_then_the_rate() {
        let bucket = bucket(60, 60, 3);
        let at = |millis| Clock::at(Duration::from_millis(millis));
        for _ in 0..3 {
            bucket.take(at(10_000)).unwrap();
        }
        assert_eq!(bucket.take(at(10_000)), Err(Duration::from_secs(1)));
        assert_eq!(bucket.take(at(10_400)), Err(Duration::from_millis(600)));
        bucket.take(at(11_000)).unwrap();
        assert!(bucket.take(at(11_000)).is_err());
        // After a long silence the burst is there again, and no more than the burst.
        let passed = (0..10).filter(|_| bucket.take(at(3_600_000)).is_ok()).count();
        assert_eq!(passed, 3);
    }

    #[test]
    fn over_a_minute_no_more_than_rate_and_burst_pass() {
        let bucket = bucket(5_000, 60, 83);
        let passed = (0..60_000u64)
            .filter(|&millis| bucket.take(Clock::at(Duration::from_millis(millis))).is_ok())
            .count();
        assert!((5_000..=5_083).contains(&passed), "{passed}");
    }

    #[test]
    fn cores_share_one_budget() {
        let bucket = bucket(1, 3_600, 100);
        let passed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..1_000).filter(|_| bucket.take(Clock::at(Duration::ZERO)).is_ok()).count()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 100);
    }

    #[test]
    fn extremes_do_not_overflow() {
        bucket(u64::MAX, u64::MAX, u64::MAX).take(Clock::now()).unwrap();
        bucket(1, u64::MAX, u64::MAX).take(Clock::now()).unwrap();
        bucket(u64::MAX, 1, 0).take(Clock::now()).unwrap();
    }
}
