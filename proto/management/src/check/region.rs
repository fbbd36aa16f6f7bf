//! Lists of regions that decide where clients are sent.

use hanse_topology::{MAX_REGIONS, Name};

use super::{Verdict, check_distinct, invalid};

/// A list of regions that names one at least. An empty list is refused everywhere: it could be read as *none* and as *all*.
pub(crate) fn check_regions(field: &str, regions: &[Name]) -> Verdict {
    if regions.is_empty() {
        return Err(invalid(field, "it names no region", "name one region or more"));
    }
    check_regions_or_none(field, regions)
}

/// A list of regions that may name none, because nothing is chosen from it: not more than a set of regions holds, and each once.
pub(crate) fn check_regions_or_none(field: &str, regions: &[Name]) -> Verdict {
    if regions.len() > MAX_REGIONS {
        let detail = format!("{} regions are more than {MAX_REGIONS}", regions.len());
        return Err(invalid(field, detail, "leave some out"));
    }
    check_distinct(field, regions)
}
