//! Where a region lies, and which regions something runs in.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Labels, Name};

/// The most regions that one list names, that serve an Environment, and that are candidates of a host: more than public clouds have
/// places. A set of them is one word of a machine, in which each DNS query narrows them.
pub const MAX_REGIONS: usize = 64;

/// The percent of a region that gets all of the clients that are led to it.
pub const WHOLE_PERCENT: u8 = 100;

/// A place on earth, for geo routing and for people.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Location {
    /// Degrees north, −90 to 90 (WGS 84).
    #[schema(minimum = -90, maximum = 90)]
    pub latitude: f64,
    /// Degrees east, −180 to 180 (WGS 84).
    #[schema(minimum = -180, maximum = 180)]
    pub longitude: f64,
    /// Two-letter country code (ISO 3166-1 alpha-2), upper case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 2, max_length = 2, pattern = "^[A-Z]{2}$")]
    pub country: Option<String>,
    /// The continent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continent: Option<Continent>,
}

/// Continents by the two-letter codes geo databases use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Continent {
    /// Africa.
    Af,
    /// Antarctica.
    An,
    /// Asia.
    As,
    /// Europe.
    Eu,
    /// North America.
    Na,
    /// Oceania.
    Oc,
    /// South America.
    Sa,
}

impl Continent {
    /// Every continent.
    const ALL: [Self; 7] = [Self::Af, Self::An, Self::As, Self::Eu, Self::Na, Self::Oc, Self::Sa];

    /// The code: `EU`, for example.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Af => "AF",
            Self::An => "AN",
            Self::As => "AS",
            Self::Eu => "EU",
            Self::Na => "NA",
            Self::Oc => "OC",
            Self::Sa => "SA",
        }
    }

    /// The one with this code; `None`: there is none.
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|continent| continent.code() == code)
    }
}

/// Who runs a region's machines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// A public cloud.
    #[default]
    Cloud,
    /// The company's own data centre.
    OnPrem,
}

/// Whether an environment, or an address that a gateway listens on, may be reached from outside the company.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Exposure {
    /// Only from inside.
    Internal,
    /// From anywhere.
    #[default]
    External,
}

impl Exposure {
    /// Both, the one that more clients may use first.
    pub const ALL: [Self; 2] = [Self::External, Self::Internal];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::External => "external",
        }
    }

    /// Whether an environment of this exposure is served to clients that came by an address of that one: an internal environment at
    /// internal addresses only.
    pub const fn is_served_at(self, address: Self) -> bool {
        match (self, address) {
            (Self::Internal, Self::External) => false,
            (Self::External, _) | (Self::Internal, Self::Internal) => true,
        }
    }
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which regions something runs in: those named, or those whose labels match; empty means every region there is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegionSelector {
    /// Regions by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Name>,
    /// Regions by labels: all pairs must match.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

impl RegionSelector {
    /// Whether the region of that name and those labels is picked.
    pub fn picks(&self, name: &Name, labels: &Labels) -> bool {
        if self.names.is_empty() && self.labels.is_empty() {
            return true;
        }
        self.names.contains(name) || (!self.labels.is_empty() && labels.contains_all(&self.labels))
    }

    /// Whether it picks every region, present and future.
    pub fn is_everywhere(&self) -> bool {
        self.names.is_empty() && self.labels.is_empty()
    }
}

impl Location {
    /// Whether latitude and longitude are numbers within their ranges.
    pub fn in_range(&self) -> bool {
        (-90.0..=90.0).contains(&self.latitude) && (-180.0..=180.0).contains(&self.longitude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_pick_by_name_or_labels_and_empty_picks_all() {
        let eu = Name::new("eu-west").unwrap();
        let labels: Labels = [("tier", "edge")].into_iter().collect();
        let check = |json: &str, picked: bool| {
            let selector: RegionSelector = serde_json::from_str(json).unwrap();
            assert_eq!(selector.picks(&eu, &labels), picked, "{json}");
        };
        check("{}", true);
        check(r#"{"names":["eu-west"]}"#, true);
        check(r#"{"names":["us-east"]}"#, false);
        check(r#"{"labels":{"tier":"edge"}}"#, true);
        check(r#"{"labels":{"tier":"core"}}"#, false);
        check(r#"{"names":["us-east"],"labels":{"tier":"edge"}}"#, true);
    }

    #[test]
    fn a_continent_has_one_code_everywhere() {
        for continent in Continent::ALL {
            assert_eq!(Continent::of_code(continent.code()), Some(continent));
            assert_eq!(serde_json::to_value(continent).unwrap(), continent.code());
        }
        assert_eq!(Continent::of_code("eu"), None);
    }

    #[test]
    fn a_location_lies_on_earth() {
        assert!(Location { latitude: 53.3, longitude: -6.2, ..Location::default() }.in_range());
        assert!(!Location { latitude: 91.0, ..Location::default() }.in_range());
        assert!(!Location { longitude: f64::NAN, ..Location::default() }.in_range());
    }
}
