//! How long a gateway waits for local scopes at a first start.

use std::time::{Duration, Instant};

/// How long a gateway that starts with nothing waits for local scopes once it has all else. They come over the same stream, and its
/// clients should not meet 404 meanwhile; but no damaged one keeps a gateway from serving.
pub(super) const LOCAL_WITHIN: Duration = Duration::from_secs(5);

/// How long a gateway that has all else waits for local scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LocalWait {
    /// Other scopes are missing too, or none.
    NotYet,
    /// Until then.
    Until(Instant),
    /// No longer.
    Over,
}

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

impl LocalWait {
    /// When the wait ends, if one is under way.
    pub(super) fn until(self) -> Option<Instant> {
        match self {
            Self::Until(until) => Some(until),
            Self::NotYet | Self::Over => None,
        }
    }

    /// The wait after a step that ended `now`.
    pub(super) fn after(self, missing: Missing, now: Instant) -> Self {
        match (missing, self) {
            (Missing::Local, Self::NotYet) => Self::Until(now + LOCAL_WITHIN),
            (Missing::Local, begun) => begun,
            (Missing::Scope | Missing::Nothing, _) => Self::NotYet,
        }
    }
}
