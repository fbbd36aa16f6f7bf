//! When to renew, and when to try again.

use std::time::{Duration, SystemTime};

use hanse_process::{Shutdown, WallClock, backoff::Backoff};
use rand::Rng as _;

use crate::Validity;

/// First ceiling of the wait between attempts.
const MIN_BACKOFF: Duration = Duration::from_secs(1);
/// Last ceiling: half a life is left, so nothing hurries, yet an issuer that is back after a long outage is found soon.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// The part of a certificate's life over which renewals are spread: gateways that joined together must not all come at
/// once for ever after.
const SPREAD: u32 = 10;

/// Least time between two renewals, for what is issued near the end of its issuer's life is due again at once…
const SPACING: Duration = Duration::from_secs(60);
/// …and up to this much more, so that a region's gateways do not all come in the same second.
const SPACING_SPREAD: Duration = Duration::from_secs(30);

/// Over how long those come whose certificates were spoilt by one and the same event: short, for others may refuse them
/// until they have another.
const SPOILT_SPREAD: Duration = Duration::from_secs(1);

/// The times at which one process asks others for a renewal.
#[derive(Debug)]
pub struct RenewalSchedule {
    clock: WallClock,
    shutdown: Shutdown,
    backoff: Backoff,
    drawn: Option<(Validity, SystemTime)>,
    /// Not before this: it worked just now.
    earliest: Option<SystemTime>,
}

impl RenewalSchedule {
    /// A schedule by this clock, until the shutdown.
    pub fn new(clock: WallClock, shutdown: Shutdown) -> Self {
        let backoff = Backoff::new(MIN_BACKOFF, MAX_BACKOFF);
        Self { clock, shutdown, backoff, drawn: None, earliest: None }
    }

    /// Waits until what is valid for this long should be renewed: at half its life, or up to a tenth of it later, and not soon
    /// after a renewal; or within a second from when `spoilt` resolves. Whether to go on; if not, it is time to stop.
    pub async fn due(&mut self, validity: Validity, spoilt: impl Future<Output = ()>) -> bool {
        let at = match self.drawn {
            Some((drawn_for, at)) if drawn_for == validity => at,
            _ => {
                let late = rand::rng().random_range(Duration::ZERO..=validity.life() / SPREAD);
                validity.half_life() + late
            }
        };
        self.drawn = Some((validity, at));
        let due = async {
            let at = self.earliest.map_or(at, |earliest| earliest.max(at));
            tokio::select! {
                () = self.clock.reaches(at) => {}
                () = spoilt => {
                    let late = rand::rng().random_range(Duration::ZERO..=SPOILT_SPREAD);
                    tokio::time::sleep(late).await;
                }
            }
        };
        tokio::select! {
            () = self.shutdown.wait() => false,
            () = due => true,
        }
    }

    /// It worked.
    pub fn succeeded(&mut self) {
        self.backoff.reset();
        let late = rand::rng().random_range(Duration::ZERO..=SPACING_SPREAD);
        self.earliest = Some(self.clock.now() + SPACING + late);
    }

    /// It did not: waits before the next attempt. Whether to go on.
    pub async fn failed(&mut self) -> bool {
        tokio::select! {
            () = self.shutdown.wait() => false,
            () = self.clock.pause(self.backoff.next()) => true,
        }
    }
}
