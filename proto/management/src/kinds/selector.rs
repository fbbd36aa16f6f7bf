//! Selectors of regions, as kinds have them.

use std::fmt;

use hanse_topology::RegionSelector;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use crate::{
    Problem, ProblemName,
    check::{Verdict, check_distinct},
    column::{or, pairs, text_of},
};

/// Reads a mapping only: a list of names, which is a likely mistake, is told what to write.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RegionSelector, D::Error> {
    struct Expected;
    impl<'de> de::Visitor<'de> for Expected {
        type Value = RegionSelector;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a selector such as {names: [eu-west]} or {labels: {tier: edge}}")
        }
        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<RegionSelector, A::Error> {
            RegionSelector::deserialize(de::value::MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_map(Expected)
}

/// Reads one that may be absent.
pub(super) fn read_some<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<RegionSelector>, D::Error> {
    read(deserializer).map(Some)
}

/// Names each region once, and has labels that can be.
pub(super) fn check(field: &str, selector: &RegionSelector) -> Verdict {
    check_distinct(&format!("{field}.names"), &selector.names)?;
    selector.labels.check().map_err(|error| {
        Problem::new(ProblemName::Invalid, error.to_string())
            .at(format!("spec.{field}.labels"))
            .remedy("change the label")
    })
}

/// The regions that a selector picks.
pub(super) fn shown(selector: &Value) -> String {
    let said = [text_of(&selector["names"]), pairs(&selector["labels"])];
    or(said.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(","), "all")
}
