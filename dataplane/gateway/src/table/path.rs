//! A request's path in the form that is matched.
//!
//! Matching works on the *canonical* path: percent-encoded octets are decoded, so that no spelling of a path escapes the
//! operation that guards it, except `%2F` and `%25`, which keep meaning data and not structure. What is forwarded is the
//! path as the client wrote it; canonical and written path have the same number of segments.

use std::borrow::Cow;

use hanse_runtime::{BadEncoding, canonical};

/// A path that is answered with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// Not origin-form: `*`, or an authority.
    #[error("the path does not start with '/'")]
    NotAbsolute,
    /// `.` or `..`, however spelled: gateway and upstream might disagree on what it names.
    #[error("the path contains a '.' or '..' segment")]
    DotSegment,
    /// A `\` as it is: no URI has one (RFC 3986 §2), and some servers take it for `/`.
    #[error("the path contains a '\\'")]
    Backslash,
    /// A `%` without two hexadecimal digits, or an encoded NUL.
    #[error("the path contains a malformed percent-encoding")]
    Encoding,
}

/// A request's path.
#[derive(Debug, Clone)]
pub struct RequestPath<'a> {
    written: &'a str,
    canonical: Cow<'a, [u8]>,
}

impl<'a> RequestPath<'a> {
    /// Checks the path of a request target.
    pub fn parse(written: &'a str) -> Result<Self, BadPath> {
        if !written.starts_with('/') {
            return Err(BadPath::NotAbsolute);
        }
        if written.contains('\\') {
            return Err(BadPath::Backslash);
        }
        let canonical = canonical(written)?;
        // Servlet containers cut a segment at ';' before they resolve dots.
        let dots = |part: &[u8]| matches!(part.split(|&byte| byte == b';').next(), Some(b"." | b".."));
        let bad = match &canonical {
            // A dot segment needs "/.", which almost no path has: one quick scan is enough.
            Cow::Borrowed(bytes) => {
                bytes.windows(2).any(|pair| pair == b"/.") && bytes.split(|&byte| byte == b'/').any(dots)
            }
            // An upstream that decodes %2F, or takes '\' for '/', must not find them either.
            Cow::Owned(bytes) => String::from_utf8_lossy(bytes)
                .replace("%2F", "/")
                .split(['/', '\\'])
                .any(|part| dots(part.as_bytes())),
        };
        if bad { Err(BadPath::DotSegment) } else { Ok(Self { written, canonical }) }
    }

    /// The canonical path, from its first `/`.
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// The path as written, from the `/` after its first `segments` segments; empty if it ends there.
    pub fn written_after(&self, segments: usize) -> &'a str {
        if segments == 0 {
            return self.written;
        }
        let mut slashes = self.written.bytes().enumerate().filter(|(_, byte)| *byte == b'/');
        slashes.nth(segments).map_or("", |(at, _)| &self.written[at..])
    }
}

impl From<BadEncoding> for BadPath {
    fn from(_: BadEncoding) -> Self {
        Self::Encoding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_canonical_form() {
        let check = |written: &str, canonical: &str| {
            assert_eq!(RequestPath::parse(written).unwrap().canonical(), canonical.as_bytes(), "{written}");
        };
        check("/", "/");
        check("/orders/7", "/orders/7");
        check("/orders/", "/orders/");
        check("//orders", "//orders");
        check("/%6Frders/a%20b", "/orders/a b");
        check("/a%2fb/c%2Fd", "/a%2Fb/c%2Fd");
        check("/a%252Fb", "/a%252Fb");
        check("/caf%C3%A9", "/café");
        check("/a;b=..;c/..x;", "/a;b=..;c/..x;");
        check("/v1...v2/.well-known/a.b", "/v1...v2/.well-known/a.b");
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        let check = |written: &str, why: BadPath| {
            assert_eq!(RequestPath::parse(written).unwrap_err(), why, "{written}");
        };
        for dots in [
            "/.",
            "/..",
            "/a/./b",
            "/a/../b",
            "/a/..",
            "/%2e%2E/a",
            "/a/.%2e",
            "/a%2F..%2Fb",
            "/%2e%2e%5Ca",
            "/%2e",
            "/a/..;/b",
            "/a/.;x",
            "/a/..;x=1/b",
            "/a/%2e%2e%3B/b",
            "/a%2F..;%2Fb",
        ] {
            check(dots, BadPath::DotSegment);
        }
        for backslash in ["/a\\..\\b", "/a\\b", "/\\"] {
            check(backslash, BadPath::Backslash);
        }
        for encoding in ["/%", "/%4", "/%zz", "/a%00b"] {
            check(encoding, BadPath::Encoding);
        }
        for form in ["", "*", "orders"] {
            check(form, BadPath::NotAbsolute);
        }
    }

    #[test]
    fn the_rest_is_cut_from_the_path_as_written() {
        let path = RequestPath::parse("/%6Frders/v1/a%2Fb/").unwrap();
        assert_eq!(path.written_after(0), "/%6Frders/v1/a%2Fb/");
        assert_eq!(path.written_after(2), "/a%2Fb/");
        assert_eq!(path.written_after(3), "/");
        assert_eq!(path.written_after(4), "");
    }
}
