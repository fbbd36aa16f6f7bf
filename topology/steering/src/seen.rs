//! What is known of the regions, as their agents told it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use hanse_topology::{LEASE, Name};

/// How long a region's word about its health counts: as long as any lease. After that, silence means that the region's agents are
/// not heard, and not that the region is as it was.
pub const WORD_COUNTS: Duration = LEASE;

/// The regions of which something is known, in one Environment.
pub type Places = BTreeMap<Name, Place>;

/// Of no region is anything known.
pub(crate) static NO_PLACES: Places = Places::new();

/// What is known of one region, in one Environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// What the region's agents last said of its gateways, and when; `None`: nothing since this process started.
    pub word: Option<(Word, Duration)>,
    /// Where its gateways are reached, as they advertise it.
    pub addresses: BTreeSet<IpAddr>,
}

/// What a region says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// A gateway is ready.
    Up,
    /// Its agents are heard, and no gateway is ready.
    Down,
}

/// The health of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It said so within [`WORD_COUNTS`].
    Up(Duration),
    /// It said so within [`WORD_COUNTS`].
    Down(Duration),
    /// It said nothing within [`WORD_COUNTS`]. The age is that of its last word.
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
        let Some((word, at)) = self.places.get(region).and_then(|place| place.word) else {
            return Health::Unknown(None);
        };
        let age = self.now.saturating_sub(at);
        if age > WORD_COUNTS {
            return Health::Unknown(Some(age));
        }
        match word {
            Word::Up => Health::Up(age),
            Word::Down => Health::Down(age),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_counts_for_a_lease() {
        let check = |word: Option<(Word, u64)>, expected: Health| {
            let name = Name::new("eu-west").unwrap();
            let place =
                Place { word: word.map(|(word, at)| (word, Duration::from_secs(at))), ..Place::default() };
            let places = Places::from([(name.clone(), place)]);
            let seen = Seen { places: &places, now: Duration::from_secs(100) };
            assert_eq!(seen.health(&name), expected);
            assert_eq!(seen.health(&Name::new("us-east").unwrap()), Health::Unknown(None));
        };
        let seconds = Duration::from_secs;
        check(None, Health::Unknown(None));
        check(Some((Word::Up, 99)), Health::Up(seconds(1)));
        check(Some((Word::Down, 85)), Health::Down(seconds(15)));
        check(Some((Word::Down, 84)), Health::Unknown(Some(seconds(16))));
        check(Some((Word::Up, 84)), Health::Unknown(Some(seconds(16))));
        // Heard after the time was read.
        check(Some((Word::Down, 101)), Health::Down(seconds(0)));
    }
}
