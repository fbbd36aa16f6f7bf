//! How long a gateway waits for local scopes at a first start.

use std::time::{Duration, Instant};

/// How long a gateway that starts with nothing waits for local scopes once it has all else. They come over the same stream, and its
/// clients should not meet 404 meanwhile; but no damaged one keeps a gateway from serving.
pub(super) const LOCAL_WITHIN: Duration = Duration::from_secs(5);

/// What is missing before anything is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Nothing, or something was served before.
    Nothing,
    /// A scope of the control plane.
    Scope,
    /// Local scopes only.
    Local,
}

/// Until when local scopes are waited for, after a step that ended `now`: from the first step on after which they alone are missing.
pub(super) fn waited_until(until: Option<Instant>, missing: Missing, now: Instant) -> Option<Instant> {
    match missing {
        Missing::Local => until.or(Some(now + LOCAL_WITHIN)),
        Missing::Scope | Missing::Nothing => None,
    }
}
