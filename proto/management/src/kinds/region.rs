//! Region: a place with data planes.

use hanse_topology::{Location, Name, Provider};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::{
    Bound, Bounded, Column, ManagementKind, Problem, ProblemName,
    check::{Verdict, invalid},
};

/// What stands in the region's place in the identities of control nodes.
const CONTROL: &str = "control";

/// The greatest capacity, in requests a second: sums stay far inside 64 bits.
const MAX_CAPACITY: u64 = 1_000_000_000;

/// A place with data planes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct RegionSpec {
    /// Where it lies.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "on_grid")]
    pub location: Option<Location>,
    /// Who runs its machines.
    pub provider: Provider,
    /// How many requests a second its gateways can carry: 1 to 1,000,000,000. Absent: unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
}

/// Reads coordinates to a millionth of a degree, a tenth of a metre: text → number → text is then a fixed point on every
/// node, also where two parsers differ in the last bit of a number.
fn on_grid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Location>, D::Error> {
    const STEPS_PER_DEGREE: f64 = 1e6;
    let snap = |degrees: f64| (degrees * STEPS_PER_DEGREE).round() / STEPS_PER_DEGREE;
    let location = Option::<Location>::deserialize(deserializer)?;
    Ok(location.map(|location| Location {
        latitude: snap(location.latitude),
        longitude: snap(location.longitude),
        ..location
    }))
}

impl ManagementKind for RegionSpec {
    const PLURAL: &'static str = "regions";
    const GLOBAL: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::at("PROVIDER", "/spec/provider"),
        Column::at("COUNTRY", "/spec/location/country"),
        Column::at("CONTINENT", "/spec/location/continent"),
    ];

    fn bounds() -> Vec<Bounded> {
        vec![("RegionSpec", "capacity", Bound::Number(1, MAX_CAPACITY))]
    }

    fn check(&self, name: &Name) -> Verdict {
        if name.as_str() == CONTROL {
            return Err(Problem::new(
                ProblemName::Invalid,
                format!("{CONTROL:?} stands for the control plane in certificates"),
            )
            .at("name")
            .remedy("choose another name for the region"));
        }
        if let Some(capacity) = self.capacity.filter(|capacity| !(1..=MAX_CAPACITY).contains(capacity)) {
            let detail = format!("{capacity} is not between 1 and {MAX_CAPACITY}");
            return Err(invalid("capacity", detail, "give requests a second, or leave it out"));
        }
        let Some(location) = &self.location else { return Ok(()) };
        if !location.in_range() {
            return Err(invalid(
                "location",
                format!("{}, {} is not on earth", location.latitude, location.longitude),
                "give the latitude in -90 to 90 and the longitude in -180 to 180 degrees",
            ));
        }
        match &location.country {
            Some(code) if code.len() != 2 || !code.bytes().all(|byte| byte.is_ascii_uppercase()) => {
                Err(invalid(
                    "location.country",
                    format!("{code:?} is not a country code"),
                    "use the two capital letters of ISO 3166-1, such as \"IE\"",
                ))
            }
            Some(_) | None => Ok(()),
        }
    }
}
