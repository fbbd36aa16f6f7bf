//! Places: where other regions are reached, and whether they serve.

use std::{net::IpAddr, time::Duration};

use hanse_topology::{Name, dialable, of_no_host};
use prost::Message as _;

use crate::{
    InvalidMessage, runtime,
    sync::{self, Health, PlaceRow},
};

/// The name of the feature: only a publisher and a subscriber that both know it send and take `places`.
pub const PLACES: &str = "places";
/// The most rows of one message: 64 regions in 8 environments. More rows go into the next message.
pub const MAX_PLACE_ROWS: usize = 512;
/// The largest message, encoded: [`MAX_PLACE_ROWS`] usual rows of 500 octets, or some 100 rows that are full of tunnels with long names.
pub const MAX_PLACES_BYTES: usize = 256 << 10;
/// The most rows that a reader keeps, those heard last: eight full messages, and some 10 MB if each row is full.
pub const MAX_KEPT_PLACES: usize = 8 * MAX_PLACE_ROWS;
/// A row that its publisher, heard all this time, did not repeat counts no more. All rows are repeated every 5 s: a few may be lost, and a
/// region that left an environment is not answered for long.
pub const PLACE_ENDS_AFTER: Duration = Duration::from_secs(60);
/// The most addresses of a row, and the most tunnels: with both families, four ways in.
pub const MAX_PLACE_ADDRESSES: usize = 8;

/// What is known of one region, in one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The region.
    pub region: Name,
    /// The environment.
    pub environment: Name,
    /// What the region's agents say of its gateways. `Unspecified`: nothing, or a word of a later release.
    pub health: Health,
    /// Since the agents said so.
    pub age: Duration,
    /// Where its gateways are reached by clients, as they advertise it: at most [`MAX_PLACE_ADDRESSES`], each once.
    pub addresses: Vec<IpAddr>,
    /// Where its gateways take tunnelled requests, `host:port`: at most [`MAX_PLACE_ADDRESSES`], each once.
    pub tunnels: Vec<String>,
    /// How many addresses and tunnels there was no room for.
    pub left_out: u64,
}

impl From<Place> for PlaceRow {
    fn from(place: Place) -> Self {
        let Place { region, environment, health, age, addresses, tunnels, left_out } = place;
        Self {
            region: region.to_string(),
            environment: environment.to_string(),
            health: health.into(),
            age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            addresses: addresses.iter().map(ToString::to_string).collect(),
            tunnels,
            left_out,
        }
    }
}

impl TryFrom<PlaceRow> for Place {
    type Error = InvalidMessage;

    fn try_from(row: PlaceRow) -> Result<Self, InvalidMessage> {
        let health = row.health();
        let PlaceRow { region, environment, health: _, age_ms, addresses, tunnels, left_out } = row;
        let name = |field, text: String| {
            Name::new(text).map_err(|error| InvalidMessage::new(field, error.to_string()))
        };
        check_count("addresses", addresses.len(), MAX_PLACE_ADDRESSES)?;
        check_count("tunnels", tunnels.len(), MAX_PLACE_ADDRESSES)?;
        Ok(Self {
            region: name("region of a place", region)?,
            environment: name("environment of a place", environment)?,
            health,
            age: Duration::from_millis(age_ms),
            addresses: each_once(addresses, |text| address(&text))?,
            tunnels: each_once(tunnels, tunnel)?,
            left_out,
        })
    }
}

/// The rows of a message, in their order. A row that cannot be read is an error of its own: the others count.
pub fn read(
    places: sync::Places,
) -> Result<impl Iterator<Item = Result<Place, InvalidMessage>>, InvalidMessage> {
    check_count("rows", places.rows.len(), MAX_PLACE_ROWS)?;
    let bytes = places.encoded_len();
    if bytes > MAX_PLACES_BYTES {
        let why = format!("{bytes} bytes are more than {MAX_PLACES_BYTES}");
        return Err(InvalidMessage::new("places", why));
    }
    Ok(places.rows.into_iter().map(Place::try_from))
}

/// Whether this resource is the Listener of an internal environment.
pub fn is_internal_listener(resource: &[u8]) -> bool {
    let kind = runtime::Resource::decode(resource).ok().and_then(|resource| resource.kind);
    matches!(kind, Some(runtime::resource::Kind::Listener(listener)) if listener.internal)
}

fn check_count(items: &'static str, count: usize, most: usize) -> Result<(), InvalidMessage> {
    if count <= most {
        return Ok(());
    }
    Err(InvalidMessage::new("places", format!("{count} {items} are more than {most}")))
}

/// Reads each text. One that is there again takes no room of the others: a row has eight of them at most.
fn each_once<T: PartialEq>(
    texts: Vec<String>,
    read: impl Fn(String) -> Result<T, InvalidMessage>,
) -> Result<Vec<T>, InvalidMessage> {
    texts.into_iter().map(read).try_fold(Vec::new(), |mut all, one| {
        let one = one?;
        if !all.contains(&one) {
            all.push(one);
        }
        Ok(all)
    })
}

fn address(text: &str) -> Result<IpAddr, InvalidMessage> {
    let refused = |why: &str| InvalidMessage::new("address of a place", format!("{text:?} {why}"));
    let address: IpAddr = text.parse().map_err(|_| refused("is no IP address"))?;
    of_no_host(address).map_or(Ok(address), |why| Err(refused(why)))
}

fn tunnel(text: String) -> Result<String, InvalidMessage> {
    if dialable(&text).is_some() {
        return Ok(text);
    }
    Err(InvalidMessage::new(
        "tunnel of a place",
        format!("{text:?} is no host and port that others can dial"),
    ))
}

#[cfg(test)]
mod tests {
    use hanse_topology::MAX_LINE_CHARS;

    use super::*;

    fn place() -> Place {
        Place {
            region: Name::new("eu-west").unwrap(),
            environment: Name::new("production").unwrap(),
            health: Health::Down,
            age: Duration::from_millis(1_200),
            addresses: vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
            tunnels: vec!["gateway-1.example:7447".to_owned(), "[2001:db8::7]:7447".to_owned()],
            left_out: 3,
        }
    }

    #[test]
    fn a_row_survives_the_wire() {
        assert_eq!(Place::try_from(PlaceRow::from(place())), Ok(place()));
        let older = PlaceRow { health: 99, ..place().into() };
        assert_eq!(Place::try_from(older).unwrap().health, Health::Unspecified, "a word of a later release");
        let ancient = Place { age: Duration::MAX, ..place() };
        assert_eq!(PlaceRow::from(ancient).age_ms, u64::MAX);
    }

    #[test]
    fn a_row_that_cannot_be_read_takes_no_other_with_it() {
        let check = |message: &str, change: fn(&mut PlaceRow)| {
            let mut bad = PlaceRow::from(place());
            change(&mut bad);
            let rows = vec![bad, place().into()];
            let read: Vec<_> = read(sync::Places { rows }).unwrap().collect();
            assert_eq!(read[0].as_ref().unwrap_err().message, message);
            assert_eq!(read[1], Ok(place()));
        };
        check("region of a place", |row| row.region.clear());
        check("environment of a place", |row| row.environment = "Production".to_owned());
        check("address of a place", |row| row.addresses.push("gateway-1.example".to_owned()));
        check("tunnel of a place", |row| row.tunnels.push("gateway-1.example".to_owned()));
        check("places", |row| row.addresses = vec!["192.0.2.7".to_owned(); MAX_PLACE_ADDRESSES + 1]);
        check("places", |row| row.tunnels = vec!["a:1".to_owned(); MAX_PLACE_ADDRESSES + 1]);
    }

    #[test]
    fn addresses_and_tunnels_are_those_that_lead_to_a_host() {
        for bad in [
            "",
            "gateway-1.example",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "::ffff:192.0.2.7",
            "192.0.2.7:80",
            "fe80::1%eth0",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
        for good in ["192.0.2.7", "127.0.0.2", "2001:db8::7"] {
            assert_eq!(address(good), Ok(good.parse().unwrap()));
        }
        for good in ["a:1", "[::1]:7447", "192.0.2.7:7447"] {
            assert_eq!(tunnel(good.to_owned()).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "a",
            "a:0",
            "0.0.0.0:7447",
            "[::]:7447",
            "http://a:1",
            "a/b:1",
            "u@a:1",
            "[::1:7447",
            "1:2:3",
        ] {
            assert!(tunnel(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_there_twice_counts_once() {
        let Place { addresses, tunnels, .. } = place();
        let mut row = PlaceRow::from(place());
        row.addresses.extend_from_within(..);
        row.tunnels.extend_from_within(..);
        let read = Place::try_from(row).unwrap();
        assert_eq!((read.addresses, read.tunnels), (addresses, tunnels));
    }

    #[test]
    fn an_error_repeats_little_of_a_row() {
        let long = "\u{1}".repeat(MAX_PLACES_BYTES);
        for change in [
            (|row, long| row.region = long) as fn(&mut PlaceRow, String),
            |row, long| row.environment = long,
            |row, long| row.addresses.push(long),
            |row, long| row.tunnels.push(long),
        ] {
            let mut row = PlaceRow::from(place());
            change(&mut row, long.clone());
            let why = Place::try_from(row).unwrap_err().why;
            assert!(why.chars().count() <= MAX_LINE_CHARS, "{} characters", why.chars().count());
        }
    }

    #[test]
    fn a_message_is_taken_whole_or_not_at_all() {
        let count =
            |rows: usize| read(sync::Places { rows: vec![place().into(); rows] }).map(Iterator::count);
        assert_eq!(count(MAX_PLACE_ROWS), Ok(MAX_PLACE_ROWS));
        assert!(count(MAX_PLACE_ROWS + 1).unwrap_err().why.contains("513 rows are more than 512"));
        let large = PlaceRow { region: "x".repeat(MAX_PLACES_BYTES), ..PlaceRow::default() };
        assert!(read(sync::Places { rows: vec![large] }).is_err_and(|error| error.why.contains("262144")));
    }
}
