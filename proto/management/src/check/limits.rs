//! How large a resource may be.

use super::Verdict;
use crate::{Problem, ProblemName, Spec};

/// The largest spec, in bytes of JSON: six times GitHub's whole API.
pub const MAX_RESOURCE_BYTES: usize = 1 << 20;

/// A resource may not be larger than what is held in memory by every node and gateway without a thought.
pub(super) fn check_resource(spec: &Spec) -> Verdict {
    let bytes = spec.json_len();
    if bytes <= MAX_RESOURCE_BYTES {
        return Ok(());
    }
    let detail = format!("{bytes} bytes of JSON are more than a resource may have, {MAX_RESOURCE_BYTES}");
    Err(Problem::new(ProblemName::TooLarge, detail).at("spec").remedy("split it into several resources"))
}
