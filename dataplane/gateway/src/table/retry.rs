//! When a request to an upstream is sent again.

use std::time::Duration;

use hanse_proto::runtime;
use http::{Method, StatusCode};

use super::Endpoint;

/// The most further tries, whatever an upstream says: each multiplies what a failing service gets.
const MAX_ATTEMPTS: usize = 5;
/// Further tries where an upstream says nothing: past two endpoints that are down.
const DEFAULT_ATTEMPTS: usize = 2;

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

/// The endpoints a request has been to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tried {
    places: [u16; 1 + MAX_ATTEMPTS],
    count: usize,
}

impl Default for RetryPolicy {
    /// What an endpoint that stops or restarts does to requests; its answers are the service's own business.
    fn default() -> Self {
        Self {
            attempts: DEFAULT_ATTEMPTS,
            per_try_timeout: None,
            connect_failure: true,
            reset_before_response: true,
            statuses: Vec::new(),
        }
    }
}

impl RetryPolicy {
    pub(super) fn new(retry: Option<&runtime::Retry>) -> Self {
        let Some(retry) = retry else { return Self::default() };
        let each = retry.per_try_timeout_ms;
        Self {
            attempts: usize::try_from(retry.attempts).map_or(MAX_ATTEMPTS, |own| own.min(MAX_ATTEMPTS)),
            per_try_timeout: (each > 0).then(|| Duration::from_millis(each)),
            connect_failure: retry.connect_failure,
            reset_before_response: retry.reset_before_response,
            statuses: retry.statuses.iter().filter_map(|status| u16::try_from(*status).ok()).collect(),
        }
    }

    /// Whether an answer of that status may be followed by another try.
    pub fn has_status(&self, status: StatusCode) -> bool {
        self.statuses.contains(&status.as_u16())
    }

    /// Whether anything that a request came to, once sent, may be followed by another try.
    pub fn repeats(&self) -> bool {
        self.attempts > 0 && (self.reset_before_response || !self.statuses.is_empty())
    }
}

impl Tried {
    /// One more.
    pub fn add(&mut self, endpoint: &Endpoint) {
        if let Some(place) = self.places.get_mut(self.count) {
            *place = endpoint.place;
            self.count += 1;
        }
    }

    /// Whether it is among them.
    pub fn contains(&self, endpoint: &Endpoint) -> bool {
        self.places[..self.count].contains(&endpoint.place)
    }

    /// How often the request has been sent, or was to be.
    pub const fn count(&self) -> usize {
        self.count
    }
}

/// Whether doing it twice is doing it once (RFC 9110 §9.2.2).
pub fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_means_the_defaults_and_no_attempt_means_none() {
        let silent = RetryPolicy::new(None);
        assert!(silent.repeats() && silent.connect_failure && !silent.has_status(StatusCode::BAD_GATEWAY));
        let none =
            RetryPolicy::new(Some(&runtime::Retry { reset_before_response: true, ..Default::default() }));
        assert!(!none.repeats());
        let many = RetryPolicy::new(Some(&runtime::Retry {
            attempts: 99,
            statuses: vec![503],
            ..Default::default()
        }));
        assert_eq!(many.attempts, MAX_ATTEMPTS);
        assert!(many.has_status(StatusCode::SERVICE_UNAVAILABLE) && !many.connect_failure);
    }

    #[test]
    fn post_and_patch_are_not_idempotent() {
        for (method, idempotent) in [
            ("GET", true),
            ("PUT", true),
            ("DELETE", true),
            ("POST", false),
            ("PATCH", false),
            ("get", false),
        ] {
            assert_eq!(is_idempotent(&method.parse().unwrap()), idempotent, "{method}");
        }
    }
}
