//! A place on earth.

use hanse_proto::runtime;
use hanse_topology::Continent;

use crate::Unusable;

/// Millionths of a degree from the equator to a pole.
const MAX_LATITUDE_E6: i32 = 90_000_000;
/// Millionths of a degree to the other side of the earth.
const MAX_LONGITUDE_E6: i32 = 180_000_000;

/// A place on earth. Coordinates are integers, so that each consumer finds the same distances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// Millionths of a degree north (WGS 84): −90,000,000 to 90,000,000.
    pub latitude_e6: i32,
    /// Millionths of a degree east (WGS 84): −180,000,000 to 180,000,000.
    pub longitude_e6: i32,
    /// Two capital letters (ISO 3166-1 alpha-2), if it is known.
    pub country: Option<Box<str>>,
    /// The continent, if it is known.
    pub continent: Option<Continent>,
}

impl Spot {
    pub(crate) fn new(spot: runtime::Spot) -> Result<Self, Unusable> {
        let runtime::Spot { latitude_e6, longitude_e6, country, continent } = spot;
        let degrees = |field: &str, value: i32, most: i32| match (-most..=most).contains(&value) {
            true => Ok(value),
            false => Err(Unusable::new(field, format!("{value} is none from -{most} to {most}"))),
        };
        let is_country = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase());
        if !country.is_empty() && !is_country {
            return Err(Unusable::new("country", format!("{country:?} is not two capital letters")));
        }
        let of_code = |code: &String| {
            let reason = || format!("{code:?} is none of AF, AN, AS, EU, NA, OC and SA");
            Continent::of_code(code).ok_or_else(|| Unusable::new("continent", reason()))
        };
        Ok(Self {
            latitude_e6: degrees("latitude_e6", latitude_e6, MAX_LATITUDE_E6)?,
            longitude_e6: degrees("longitude_e6", longitude_e6, MAX_LONGITUDE_E6)?,
            country: Some(country.into_boxed_str()).filter(|country| !country.is_empty()),
            continent: Some(continent).filter(|code| !code.is_empty()).as_ref().map(of_code).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spot_is_on_earth() {
        let dublin = || runtime::Spot {
            latitude_e6: 53_349_800,
            longitude_e6: -6_260_300,
            country: "IE".to_owned(),
            continent: "EU".to_owned(),
        };
        let read = Spot::new(dublin()).unwrap();
        assert_eq!((read.country.as_deref(), read.continent), (Some("IE"), Some(Continent::Eu)));
        let bare = runtime::Spot { country: String::new(), continent: String::new(), ..dublin() };
        let bare = Spot::new(bare).unwrap();
        assert_eq!((bare.country, bare.continent), (None, None));
        let check = |field: &str, spot: runtime::Spot| {
            assert_eq!(Spot::new(spot.clone()).unwrap_err().field, field, "{spot:?}");
        };
        check("latitude_e6", runtime::Spot { latitude_e6: 90_000_001, ..dublin() });
        check("latitude_e6", runtime::Spot { latitude_e6: i32::MIN, ..dublin() });
        check("longitude_e6", runtime::Spot { longitude_e6: -180_000_001, ..dublin() });
        check("country", runtime::Spot { country: "ie".to_owned(), ..dublin() });
        check("country", runtime::Spot { country: "IRL".to_owned(), ..dublin() });
        check("continent", runtime::Spot { continent: "eu".to_owned(), ..dublin() });
    }
}
