//! How large a resource may be.

use super::Verdict;
use crate::{Problem, ProblemName, Spec};

/// The largest spec, in bytes of JSON: an Api of 25,000 operations of 300 bytes, which every node and gateway holds in memory.
pub const MAX_RESOURCE_BYTES: usize = 8 << 20;

/// A resource may not be larger than a command may.
pub(super) fn check_resource(spec: &Spec) -> Verdict {
    let bytes = spec.json_len();
    if bytes <= MAX_RESOURCE_BYTES {
        return Ok(());
    }
    let detail = format!("{bytes} bytes of JSON are more than a resource may have, {MAX_RESOURCE_BYTES}");
    Err(Problem::new(ProblemName::TooLarge, detail).at("spec").remedy("leave out what it does not need"))
}
