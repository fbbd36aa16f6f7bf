//! When to renew, and when to try again.

use std::time::{Duration, SystemTime};

use hanse_process::{Shutdown, WallClock, backoff::Backoff};
use rand::Rng as _;

use crate::Validity;

/// The waits around renewals of one kind.
#[derive(Debug)]
pub(super) struct Waits {
    /// The part of a certificate's life over which renewals are spread: gateways that joined together must not all come at
    /// once for ever after. `None`: they are not.
    spread: Option<u32>,
    /// Over how long those come whose certificates were spoilt by one and the same event.
    spoilt_spread: Duration,
    /// Least time between two renewals, for what is issued near the end of its issuer's life is due again at once…
    spacing: Duration,
    /// …and up to this much more, so that a region's gateways do not all come in the same second.
    spacing_spread: Duration,
    /// First and last ceiling of the wait between attempts.
    backoff: (Duration, Duration),
    /// Between attempts for mere age, if that is another.
    unhurried: Option<Duration>,
}

/// Of those whose issuers are there all the time. Half a life is left, so nothing hurries, yet an issuer that is back after a
/// long outage is found soon. What is spoilt comes soon, for others may refuse it until there is another.
pub(super) const STEADY: Waits = Waits {
    spread: Some(10),
    spoilt_spread: Duration::from_secs(1),
    spacing: Duration::from_secs(60),
    spacing_spread: Duration::from_secs(30),
    backoff: (Duration::from_secs(1), Duration::from_secs(30)),
    unhurried: None,
};

/// Of those whose issuer's key, the root's, an operator brings by hand. An operator who replaces the root waits for every
/// renewal, so attempts follow quickly. For mere age they are a minute apart: the key is absent for years, and the
/// documentation tells operators to leave it in place for two minutes.
pub(super) const BY_HAND: Waits = Waits {
    spread: None,
    spoilt_spread: Duration::ZERO,
    spacing: Duration::ZERO,
    spacing_spread: Duration::ZERO,
    backoff: (Duration::from_millis(200), Duration::from_secs(5)),
    unhurried: Some(Duration::from_secs(60)),
};

/// Why a renewal is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// It is past half its life.
    Age,
    /// What is held is of less use than another would be.
    Spoilt,
}

/// The times at which one process asks others for a renewal.
#[derive(Debug)]
pub(super) struct RenewalSchedule {
    waits: Waits,
    clock: WallClock,
    shutdown: Shutdown,
    backoff: Backoff,
    drawn: Option<(Validity, SystemTime)>,
    /// Not before this: it worked just now.
    earliest: Option<SystemTime>,
}

impl RenewalSchedule {
    /// A schedule by this clock, until the shutdown.
    pub(super) fn new(waits: Waits, clock: WallClock, shutdown: Shutdown) -> Self {
        let backoff = Backoff::new(waits.backoff.0, waits.backoff.1);
        Self { waits, clock, shutdown, backoff, drawn: None, earliest: None }
    }

    /// Waits until what is valid for this long should be renewed: at half its life, or somewhat later, and not soon after a
    /// renewal; or soon after `spoilt` resolves. `None`: it is time to stop.
    pub(super) async fn due(&mut self, validity: Validity, spoilt: impl Future<Output = ()>) -> Option<Due> {
        let at = match self.drawn {
            Some((drawn_for, at)) if drawn_for == validity => at,
            _ => {
                let most = self.waits.spread.map_or(Duration::ZERO, |part| validity.life() / part);
                validity.half_life() + up_to(most)
            }
        };
        self.drawn = Some((validity, at));
        let due = async {
            let at = self.earliest.map_or(at, |earliest| earliest.max(at));
            tokio::select! {
                biased; // what is both old and spoilt hurries
                () = spoilt => {
                    tokio::time::sleep(up_to(self.waits.spoilt_spread)).await;
                    Due::Spoilt
                }
                () = self.clock.reaches(at) => Due::Age,
            }
        };
        tokio::select! {
            () = self.shutdown.wait() => None,
            due = due => Some(due),
        }
    }

    /// It worked.
    pub(super) fn succeeded(&mut self) {
        self.backoff.reset();
        self.earliest = Some(self.clock.now() + self.waits.spacing + up_to(self.waits.spacing_spread));
    }

    /// It did not: waits before the next attempt. Whether to go on.
    pub(super) async fn failed(&mut self, hurries: bool) -> bool {
        let wait = match self.waits.unhurried {
            Some(wait) if !hurries => wait,
            _ => self.backoff.next(),
        };
        tokio::select! {
            () = self.shutdown.wait() => false,
            () = self.clock.pause(wait) => true,
        }
    }
}

fn up_to(most: Duration) -> Duration {
    rand::rng().random_range(Duration::ZERO..=most)
}
