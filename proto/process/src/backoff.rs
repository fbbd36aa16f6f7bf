//! Waiting before trying again.

use std::time::Duration;

use rand::Rng as _;

/// Exponential backoff with full jitter: each wait is drawn evenly from zero to a ceiling that doubles, so that a herd
/// that lost the same peer comes back spread out.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    ceiling: Duration,
}

impl Backoff {
    /// The first ceiling is `min`, the last `max`.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min), ceiling: min }
    }

    /// How long to wait now.
    #[allow(clippy::should_implement_trait)] // never ends, so an Option would only be in the way
    pub fn next(&mut self) -> Duration {
        let wait = rand::rng().random_range(Duration::ZERO..=self.ceiling);
        self.ceiling = self.ceiling.saturating_mul(2).min(self.max);
        wait
    }

    /// The longest that the next wait can be.
    pub fn ceiling(&self) -> Duration {
        self.ceiling
    }

    /// It worked: start small again.
    pub fn reset(&mut self) {
        self.ceiling = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_double_up_to_the_maximum_and_reset() {
        let (min, max) = (Duration::from_millis(100), Duration::from_millis(350));
        let mut backoff = Backoff::new(min, max);
        for ceiling in [100, 200, 350, 350] {
            assert_eq!(backoff.ceiling, Duration::from_millis(ceiling));
            assert!(backoff.next() <= Duration::from_millis(ceiling));
        }
        backoff.reset();
        assert!(backoff.next() <= min);
    }

    #[test]
    fn waits_are_spread() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(1));
        let waits: std::collections::BTreeSet<_> = (0..20).map(|_| backoff.next()).collect();
        assert!(waits.len() > 10, "{waits:?}");
    }
}
