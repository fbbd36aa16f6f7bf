//! Which requests may be sent again, and where they have been.

use hanse_runtime::MAX_ATTEMPTS;
use http::Method;

use super::Endpoint;

/// The endpoints a request has been to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tried {
    places: [u16; 1 + MAX_ATTEMPTS as usize],
    count: usize,
    passed_over: usize,
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

    /// The last one was passed over: the request was not sent there, and nothing was asked of it.
    pub fn pass_over(&mut self) {
        self.passed_over += 1;
    }

    /// How many they are, with those passed over.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// How often the request has been sent, or was to be.
    pub const fn sent(&self) -> usize {
        self.count - self.passed_over
    }

    /// Whether there is room for another.
    pub const fn has_room(&self) -> bool {
        self.count < self.places.len()
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
