//! Which requests may be sent again, and where they have been.

use hanse_runtime::MAX_ATTEMPTS;
use http::Method;

use super::Endpoint;

/// The endpoints a request has been to, and those that it passed over.
#[derive(Debug, Clone, Default)]
pub struct Tried {
    places: [u16; 1 + MAX_ATTEMPTS as usize],
    sent: usize,
    /// They are denied: the request was not sent there, and never will be.
    passed_over: Vec<u16>,
}

impl Tried {
    /// One more.
    pub fn add(&mut self, endpoint: &Endpoint) {
        if let Some(place) = self.places.get_mut(self.sent) {
            *place = endpoint.place;
        }
        self.sent += 1;
    }

    /// Whether the request was sent there.
    pub fn contains(&self, endpoint: &Endpoint) -> bool {
        self.places.iter().take(self.sent).any(|place| *place == endpoint.place)
    }

    /// The endpoint that was added last is passed over: it is denied, so the request was not sent there.
    pub fn pass_over(&mut self, endpoint: &Endpoint) {
        self.sent = self.sent.saturating_sub(1);
        self.passed_over.push(endpoint.place);
    }

    /// Whether the request passed it over.
    pub fn has_passed_over(&self, endpoint: &Endpoint) -> bool {
        self.passed_over.contains(&endpoint.place)
    }

    /// Whether the request passed over any.
    pub fn has_met_denial(&self) -> bool {
        !self.passed_over.is_empty()
    }

    /// How often the request has been sent, or is about to be.
    pub const fn sent(&self) -> usize {
        self.sent
    }
}

/// Asks like GET, with the question in a body (draft-ietf-httpbis-safe-method-w-body, section 2).
const QUERY: &str = "QUERY";

/// Whether doing it twice is doing it once (RFC 9110 §9.2.2).
pub fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    ) || method.as_str() == QUERY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn post_and_patch_are_not_idempotent() {
        for (method, idempotent) in [
            ("GET", true),
            ("PUT", true),
            ("DELETE", true),
            ("QUERY", true),
            ("query", false),
            ("POST", false),
            ("PATCH", false),
            ("get", false),
        ] {
            assert_eq!(is_idempotent(&method.parse().unwrap()), idempotent, "{method}");
        }
    }
}
