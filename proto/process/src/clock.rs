//! The wall clock: what certificates and tokens are judged by. Timers and leases go by monotonic time and never ask it.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::watch;

/// How often a wait looks at the clock: a machine that was suspended, or whose clock was set, is noticed within this.
const LOOK: Duration = Duration::from_secs(60);

/// A source of wall time: the system's, or a simulated one that stands still until its [`ClockHand`] moves it. Cloning
/// shares it.
#[derive(Clone, Default)]
pub struct WallClock(Option<watch::Receiver<SystemTime>>);

/// Moves a simulated clock.
#[derive(Debug)]
pub struct ClockHand(watch::Sender<SystemTime>);

impl ClockHand {
    /// Moves the clock on, and wakes every task that waits for a time.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now += by);
    }
}

impl WallClock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that shows `start` until it is moved.
    pub fn simulated(start: SystemTime) -> (Self, ClockHand) {
        let (hand, shown) = watch::channel(start);
        (Self(Some(shown)), ClockHand(hand))
    }

    /// The time.
    pub fn now(&self) -> SystemTime {
        self.0.as_ref().map_or_else(SystemTime::now, |shown| *shown.borrow())
    }

    /// The time as whole milliseconds since 1970.
    pub fn unix_ms(&self) -> u64 {
        u64::try_from(self.since_epoch().as_millis()).unwrap_or(u64::MAX)
    }

    /// The time as whole seconds since 1970.
    pub fn unix_seconds(&self) -> u64 {
        self.since_epoch().as_secs()
    }

    /// The time since 1970.
    pub fn since_epoch(&self) -> Duration {
        self.now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    /// Returns once the clock shows `time` or later.
    pub async fn reaches(&self, time: SystemTime) {
        while let Ok(left) = time.duration_since(self.now()) {
            if left.is_zero() {
                return;
            }
            self.pause(left.min(LOOK)).await;
        }
    }

    /// Sleeps for `wait`, which a simulated clock's move cuts short: a task that pauses between two attempts finds that much
    /// time may have passed.
    pub async fn pause(&self, wait: Duration) {
        match self.0.clone() {
            None => tokio::time::sleep(wait).await,
            Some(mut shown) => {
                shown.mark_unchanged();
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    // An error says that nothing can move it any more.
                    Ok(()) = shown.changed() => {}
                }
            }
        }
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "WallClock(simulated)" } else { "WallClock(system)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::soon;

    #[tokio::test]
    async fn a_move_wakes_whoever_waits_for_that_time() {
        let start = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let (clock, hand) = WallClock::simulated(start);
        soon(clock.reaches(start)).await;
        let waiting = tokio::spawn({
            let clock = clock.clone();
            async move { clock.reaches(start + Duration::from_secs(7200)).await }
        });
        for _ in 0..2 {
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished(), "it is {:?}", clock.now());
            hand.advance(Duration::from_secs(3600));
        }
        soon(waiting).await.unwrap();
        assert_eq!(clock.unix_seconds(), 1_007_200);
        assert_eq!(clock.unix_ms(), 1_007_200_000);
    }

    #[tokio::test]
    async fn the_system_moves_by_itself() {
        let clock = WallClock::system();
        soon(clock.reaches(clock.now() + Duration::from_millis(5))).await;
        assert!(clock.now() <= SystemTime::now());
    }
}
