//! When a request to an upstream is sent again.

use std::time::Duration;

use hanse_proto::runtime;
use http::StatusCode;

use crate::Unusable;

/// The most further tries that an Upstream may ask for: each multiplies what a failing service gets.
pub const MAX_ATTEMPTS: u32 = 5;
/// Further tries where an upstream says nothing: past two endpoints that are down.
const DEFAULT_ATTEMPTS: u32 = 2;
/// The answers that may be followed by another try: those of a proxy that had no answer itself, or had no room.
const STATUSES: [u32; 3] = [502, 503, 504];

/// When a request is sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// At most so often after the first time.
    pub attempts: usize,
    /// For one try of a request that may be repeated.
    pub per_try_timeout: Option<Duration>,
    /// After a connection that did not come about.
    pub connect_failure: bool,
    /// After a connection that broke before the head of an answer was there.
    pub reset_before_response: bool,
    statuses: Vec<u16>,
}

impl Default for RetryPolicy {
    /// What an endpoint that stops or restarts does to requests; its answers are the service's own business.
    fn default() -> Self {
        Self {
            attempts: DEFAULT_ATTEMPTS as usize,
            per_try_timeout: None,
            connect_failure: true,
            reset_before_response: true,
            statuses: Vec::new(),
        }
    }
}

impl RetryPolicy {
    /// What an upstream says.
    pub(crate) fn new(retry: &runtime::Retry) -> Result<Self, Unusable> {
        if retry.attempts > MAX_ATTEMPTS {
            return Err(Unusable::new("attempts", format!("{} is more than {MAX_ATTEMPTS}", retry.attempts)));
        }
        if let Some(other) = retry.statuses.iter().find(|status| !STATUSES.contains(status)) {
            return Err(Unusable::new("statuses", format!("{other} is none of 502, 503 and 504")));
        }
        let each = retry.per_try_timeout_ms;
        Ok(Self {
            attempts: retry.attempts as usize, // at most 5
            per_try_timeout: (each > 0).then(|| Duration::from_millis(each)),
            connect_failure: retry.connect_failure,
            reset_before_response: retry.reset_before_response,
            statuses: retry.statuses.iter().map(|status| *status as u16).collect(), // at most 504
        })
    }

    /// Whether an answer of that status may be followed by another try.
    #[inline]
    pub fn has_status(&self, status: StatusCode) -> bool {
        self.statuses.contains(&status.as_u16())
    }

    /// Whether anything that a request came to, once sent, may be followed by another try.
    #[inline]
    pub fn repeats(&self) -> bool {
        self.attempts > 0 && (self.reset_before_response || !self.statuses.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_means_the_defaults_and_no_attempt_means_none() {
        let silent = RetryPolicy::default();
        assert!(silent.repeats() && silent.connect_failure && !silent.has_status(StatusCode::BAD_GATEWAY));
        let check = |retry: runtime::Retry| RetryPolicy::new(&retry);
        let none = check(runtime::Retry { reset_before_response: true, ..Default::default() }).unwrap();
        assert!(!none.repeats());
        let some = check(runtime::Retry { attempts: 5, statuses: vec![503], ..Default::default() }).unwrap();
        assert_eq!(some.attempts, 5);
        assert!(some.has_status(StatusCode::SERVICE_UNAVAILABLE) && !some.connect_failure);
        let field = |retry| check(retry).unwrap_err().field;
        assert_eq!(field(runtime::Retry { attempts: 6, ..Default::default() }), "attempts");
        assert_eq!(field(runtime::Retry { statuses: vec![500], ..Default::default() }), "statuses");
    }
}
