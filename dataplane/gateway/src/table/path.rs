//! A request's path in the form that is matched.
//!
//! Matching works on the *canonical* path: percent-encoded octets are decoded, so that no spelling of a path escapes the
//! operation that guards it, except `%2F` and `%25`, which keep meaning data and not structure. What is forwarded is the
//! path as the client wrote it; canonical and written path have the same number of segments.

use std::borrow::Cow;

pub use hanse_runtime::BadPath;
use hanse_runtime::canonical_request;

/// A request's path.
#[derive(Debug, Clone)]
pub struct RequestPath<'a> {
    written: &'a str,
    canonical: Cow<'a, [u8]>,
}

impl<'a> RequestPath<'a> {
    /// Checks the path of a request target.
    pub fn parse(written: &'a str) -> Result<Self, BadPath> {
        Ok(Self { written, canonical: canonical_request(written)? })
    }

    /// The canonical path.
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// The path as written from the `/` after its first `segments` segments; empty if it ends there.
    pub fn written_after(&self, segments: usize) -> &'a str {
        after(self.written.as_bytes(), segments).map_or("", |at| &self.written[at..])
    }
}

/// A canonical path, likewise.
pub fn canonical_after(path: &[u8], segments: usize) -> &[u8] {
    after(path, segments).map_or(b"", |at| &path[at..])
}

/// Where the `/` after the first `segments` segments is.
fn after(path: &[u8], segments: usize) -> Option<usize> {
    if segments == 0 {
        return Some(0);
    }
    let mut slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.nth(segments).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_cut_from_both_forms_of_the_path() {
        let path = RequestPath::parse("/%6Frders;x/v1/a%2Fb/").unwrap();
        let check = |segments: usize, written: &str, canonical: &str| {
            assert_eq!(path.written_after(segments), written);
            assert_eq!(canonical_after(path.canonical(), segments), canonical.as_bytes());
        };
        check(0, "/%6Frders;x/v1/a%2Fb/", "/orders;x/v1/a%2Fb/");
        check(2, "/a%2Fb/", "/a%2Fb/");
        check(3, "/", "/");
        check(4, "", "");
    }
}
