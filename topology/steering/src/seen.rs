//! What is known of the regions, as their agents report it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use hanse_topology::{LEASE, Name};

/// How long a region's report of its health counts: as long as any lease. An older report says that the region's agents are not
/// heard, and no longer how the region is.
pub const MAX_HEALTH_AGE: Duration = LEASE;

/// The regions of which something is known, in one Environment.
pub type Places = BTreeMap<Name, Place>;

/// No region has reported.
pub(crate) static NO_PLACES: Places = Places::new();

/// What is known of one region, in one Environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The last report of the region's agents about its gateways, and its time; `None`: none since this process started.
    pub reported: Option<(ReportedHealth, Duration)>,
    /// Where its gateways are reached, as they advertise it.
    pub addresses: BTreeSet<IpAddr>,
}

/// The health that a region reports of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportedHealth {
    /// A gateway is ready.
    Up,
    /// Its agents are heard, and no gateway is ready.
    Down,
}

/// The health of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It reported so within [`MAX_HEALTH_AGE`].
    Up(Duration),
    /// It reported so within [`MAX_HEALTH_AGE`].
    Down(Duration),
    /// It reported nothing within [`MAX_HEALTH_AGE`]. The age is that of its last report.
    Unknown(Option<Duration>),
}

/// What is known, and the time at which it is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The regions.
    pub places: &'a Places,
    /// Since the start of the clock by which `places` were heard. It must never go back.
    pub now: Duration,
}

impl Seen<'_> {
    /// The health of a region.
    pub fn health(&self, region: &Name) -> Health {
        let Some((reported, at)) = self.places.get(region).and_then(|place| place.reported) else {
            return Health::Unknown(None);
        };
        let age = self.now.saturating_sub(at);
        if age > MAX_HEALTH_AGE {
            return Health::Unknown(Some(age));
        }
        match reported {
            ReportedHealth::Up => Health::Up(age),
            ReportedHealth::Down => Health::Down(age),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_for_a_lease() {
        let check = |reported: Option<(ReportedHealth, u64)>, expected: Health| {
            let name = Name::new("eu-west").unwrap();
            let reported = reported.map(|(health, at)| (health, Duration::from_secs(at)));
            let place = Place { reported, ..Place::default() };
            let places = Places::from([(name.clone(), place)]);
            let seen = Seen { places: &places, now: Duration::from_secs(100) };
            assert_eq!(seen.health(&name), expected);
            assert_eq!(seen.health(&Name::new("us-east").unwrap()), Health::Unknown(None));
        };
        let seconds = Duration::from_secs;
        check(None, Health::Unknown(None));
        check(Some((ReportedHealth::Up, 99)), Health::Up(seconds(1)));
        check(Some((ReportedHealth::Down, 85)), Health::Down(seconds(15)));
        check(Some((ReportedHealth::Down, 84)), Health::Unknown(Some(seconds(16))));
        check(Some((ReportedHealth::Up, 84)), Health::Unknown(Some(seconds(16))));
        // Heard after the time was read.
        check(Some((ReportedHealth::Down, 101)), Health::Down(seconds(0)));
    }
}
