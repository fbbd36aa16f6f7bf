//! How long silence is borne.

use std::time::Duration;

/// Connected, and nothing of a scope for so long: the sync is dead though the link is up. Five missed bookmarks.
pub(super) const STALL: Duration = Duration::from_secs(5);
/// The longest silence in the middle of a transfer: a value of 8 MiB, the largest Route, at 140 kbit/s takes 8 minutes; the rest is for
/// what TCP and TLS add.
pub(super) const MAX_STALL: Duration = Duration::from_secs(600);

/// How long a subscriber waits for the next part of a transfer before it gives the link up.
///
/// Only whole messages are seen, and a large value is one message: on a slow link its arrival looks like silence. Each
/// transfer that was given up for silence doubles the patience of the next, so that in the end every value arrives. Carry
/// it from one session to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Patience(Duration);

impl Default for Patience {
    fn default() -> Self {
        Self(STALL)
    }
}

impl Patience {
    /// The longest silence it bears.
    pub fn limit(self) -> Duration {
        self.0
    }

    /// After a transfer that was given up.
    pub(super) fn doubled(self) -> Self {
        Self((self.0 * 2).min(MAX_STALL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_where_the_largest_value_has_arrived_over_a_slow_link() {
        let longest = std::iter::successors(Some(Patience::default()), |patience| Some(patience.doubled()));
        let longest = longest.take(10).last().unwrap().limit();
        let takes = Duration::from_secs_f64(1.05 * 8.0 * f64::from(8 << 20) / 140e3);
        assert!((takes..takes * 2).contains(&longest), "{longest:?} for {takes:?}");
    }
}
