//! Lists of regions that decide where clients are sent.

use hanse_topology::Name;

use super::{Verdict, check_distinct, invalid};

/// The most regions that one list names: a federation of this size has one in each place that a public cloud has.
pub(crate) const MAX_REGIONS: usize = 64;

/// A list of regions that names one at least. An empty list is refused everywhere: it could be read as *none* and as *all*.
pub(crate) fn check_regions(field: &str, regions: &[Name]) -> Verdict {
    if regions.is_empty() {
        return Err(invalid(field, "it names no region", "name one region or more"));
    }
    if regions.len() > MAX_REGIONS {
        let detail = format!("{} regions are more than {MAX_REGIONS}", regions.len());
        return Err(invalid(field, detail, "leave some out"));
    }
    check_distinct(field, regions)
}
