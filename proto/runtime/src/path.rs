//! The canonical form of paths: what a gateway matches, templates and contexts included.

use std::{borrow::Cow, fmt};

use crate::is_path_byte;

/// A path that no gateway forwards: it answers 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// Not origin-form: `*`, or an authority.
    #[error("the path does not start with '/'")]
    NotAbsolute,
    /// `.` or `..`, however spelled: gateway and upstream might disagree on what it names.
    #[error("the path contains a '.' or '..' segment")]
    DotSegment,
    /// `;` where a segment begins: to a servlet container it is an empty segment, which may be folded away.
    #[error("the path has a segment that is empty before its ';'")]
    EmptySegmentParameters,
    /// A `\` as it is: no URI has one (RFC 3986 §2), and some servers take it for `/`.
    #[error("the path contains a '\\'")]
    Backslash,
    /// A `%` without two hexadecimal digits, or an encoded NUL.
    #[error("the path contains a malformed percent-encoding")]
    Encoding,
    /// An ASCII or other character in more octets than it needs: `%c0%af`, which lenient decoders take for `/`.
    #[error("the path contains an overlong UTF-8 encoding")]
    Overlong,
}

/// The canonical form of the path of a request target.
pub fn canonical_request(written: &str) -> Result<Cow<'_, [u8]>, BadPath> {
    if !written.starts_with('/') {
        return Err(BadPath::NotAbsolute);
    }
    if written.contains('\\') {
        return Err(BadPath::Backslash);
    }
    let canonical = canonical(written)?;
    match &canonical {
        // A bad segment needs "/." or "/;", which almost no path has: one quick scan is enough.
        Cow::Borrowed(bytes) => {
            if bytes.windows(2).any(|pair| pair == b"/." || pair == b"/;") {
                bytes[1..].split(|&byte| byte == b'/').try_for_each(check_segment)?;
            }
        }
        Cow::Owned(bytes) => {
            if bytes.windows(2).any(is_overlong) {
                return Err(BadPath::Overlong);
            }
            // An upstream that decodes %2F, or takes '\' for '/', must not find bad segments either.
            let text = String::from_utf8_lossy(bytes).replace("%2F", "/");
            text[1..].split(['/', '\\']).try_for_each(|segment| check_segment(segment.as_bytes()))?;
        }
    }
    Ok(canonical)
}

/// Servlet containers cut a segment at `;` before they resolve dots.
fn check_segment(segment: &[u8]) -> Result<(), BadPath> {
    match without_parameters(segment) {
        b"." | b".." => Err(BadPath::DotSegment),
        b"" if !segment.is_empty() => Err(BadPath::EmptySegmentParameters),
        _ => Ok(()),
    }
}

/// A segment up to its first `;`: RFC 3986 §3.3 leaves to the upstream what follows, and many ignore it.
pub fn without_parameters(segment: &[u8]) -> &[u8] {
    let end = segment.iter().position(|&byte| byte == b';').unwrap_or(segment.len());
    &segment[..end]
}

/// A path, each segment without its parameters.
pub fn plain(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.contains(&b';') {
        return Cow::Borrowed(path);
    }
    let segments: Vec<&[u8]> = path.split(|&byte| byte == b'/').map(without_parameters).collect();
    Cow::Owned(segments.join(&b'/'))
}

/// Whether two octets begin a UTF-8 sequence that is longer than its character needs (RFC 3629 §3).
fn is_overlong(pair: &[u8]) -> bool {
    matches!(
        pair,
        [0xC0 | 0xC1, 0x80..=0xBF]
            | [0xE0, 0x80..=0x9F]
            | [0xF0, 0x80..=0x8F]
            | [0xF8, 0x80..=0x87]
            | [0xFC, 0x80..=0x83]
    )
}

/// Decodes all percent-encodings but those of `/` and `%`, which become upper case.
pub(crate) fn canonical(written: &str) -> Result<Cow<'_, [u8]>, BadPath> {
    let bytes = written.as_bytes();
    if !bytes.contains(&b'%') {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digit = |at: usize| after.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else { return Err(BadPath::Encoding) };
        rest = &after[2..];
        match (high * 16 + low) as u8 {
            0 => return Err(BadPath::Encoding),
            b'/' => decoded.extend_from_slice(b"%2F"),
            b'%' => decoded.extend_from_slice(b"%25"),
            octet => decoded.push(octet),
        }
    }
    Ok(Cow::Owned(decoded))
}

/// A canonical path as a URL has it.
pub fn encoded(canonical: &[u8]) -> String {
    let octet = |&byte: &u8| match is_path_byte(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    canonical.iter().map(octet).collect()
}

/// A base path in canonical form: empty, or `/` and segments, without a final `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Context(Box<[u8]>);

impl Context {
    /// Reads `/orders/v1`; `/` is the empty context. `None`: it is no path, or it has a `;`, and segments are compared with a
    /// context without their parameters.
    pub fn parse(text: &str) -> Option<Self> {
        let own = text.trim_end_matches('/');
        if !text.starts_with('/') {
            return None;
        }
        let octets = canonical(own).ok()?;
        (!octets.contains(&b';')).then(|| Self(octets.into_owned().into()))
    }

    /// How many segments it has.
    #[inline]
    pub fn segments(&self) -> usize {
        self.0.iter().filter(|&&byte| byte == b'/').count()
    }

    /// Whether it begins `path`, a canonical path or another context, on a segment boundary.
    pub fn covers(&self, path: &[u8]) -> bool {
        path.strip_prefix(&*self.0).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
    }

    /// The longer of the two, if one begins the other on a segment boundary.
    pub fn common<'a>(&'a self, other: &'a Self) -> Option<&'a Self> {
        if self.covers(other.octets()) {
            return Some(other);
        }
        other.covers(self.octets()).then_some(self)
    }

    /// Its octets, as they begin a canonical path.
    #[inline]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Context {
    /// As it is written: `/` is the empty context.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "/" } else { "" })?;
        f.write_str(&encoded(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_covers_what_is_below_it_by_whole_segments() {
        for (context, path, covers) in [
            ("/", "/", true),
            ("/", "/a", true),
            ("/a", "/a", true),
            ("/a", "/a/b", true),
            ("/a", "/ab", false),
            ("/a/b", "/a", false),
            ("/a", "/", false),
        ] {
            assert_eq!(Context::parse(context).unwrap().covers(path.as_bytes()), covers, "{context} {path}");
        }
        assert_eq!(
            Context::parse("/").unwrap().to_string() + &Context::parse("/a/b").unwrap().to_string(),
            "//a/b"
        );
    }

    #[test]
    fn paths_have_one_canonical_form() {
        let check = |written: &str, canonical: &str| {
            assert_eq!(&*canonical_request(written).unwrap(), canonical.as_bytes(), "{written}");
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
        check("/a%3Bb/c%253Bd", "/a;b/c%253Bd");
        check("/v1...v2/.well-known/a.b", "/v1...v2/.well-known/a.b");
        assert_eq!(&*canonical_request("/caf%E9").unwrap(), b"/caf\xE9");
    }

    #[test]
    fn a_canonical_path_is_encoded_as_far_as_a_url_needs_it() {
        for path in ["", "/orders/v1", "/a%2Fb/c%25d;e=1", "/gr%C3%B6%C3%9Fe/a%20b"] {
            assert_eq!(encoded(&canonical(path).unwrap()), path);
        }
        assert_eq!(encoded(&canonical("/%6Frders/<x>").unwrap()), "/orders/%3Cx%3E");
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        let check = |written: &str, why: BadPath| {
            assert_eq!(canonical_request(written).unwrap_err(), why, "{written}");
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
        for empty in ["/;", "/a/;/b", "/a/;x=1", "/%3Bx/b", "/a%2F;x", "/a%5C;x/b"] {
            check(empty, BadPath::EmptySegmentParameters);
        }
        for backslash in ["/a\\..\\b", "/a\\b", "/\\"] {
            check(backslash, BadPath::Backslash);
        }
        for encoding in ["/%", "/%4", "/%zz", "/a%00b"] {
            check(encoding, BadPath::Encoding);
        }
        for overlong in
            ["/a%c0%afb", "/%C1%81", "/%e0%80%af", "/%f0%80%80%af", "/%f8%80%80%80%af", "/%fc%80%80"]
        {
            check(overlong, BadPath::Overlong);
        }
        for form in ["", "*", "orders"] {
            check(form, BadPath::NotAbsolute);
        }
    }

    #[test]
    fn parameters_of_segments_are_cut() {
        for (written, cut) in
            [("/a", "/a"), ("/a;x/b;y=1;z/", "/a/b/"), ("/a%3Bx/b", "/a/b"), ("//a;/b%253Bc", "//a/b%253Bc")]
        {
            assert_eq!(&*plain(&canonical_request(written).unwrap()), cut.as_bytes(), "{written}");
        }
    }

    #[test]
    fn contexts_are_paths_without_a_final_slash() {
        let check = |text: &str, octets: &str, segments: usize| {
            let context = Context::parse(text).unwrap();
            assert_eq!((context.octets(), context.segments()), (octets.as_bytes(), segments), "{text}");
        };
        check("/", "", 0);
        check("/orders/v1", "/orders/v1", 2);
        check("/%6Frders/", "/orders", 1);
        check("/a%2fb", "/a%2Fb", 1);
        for text in ["", "orders", "/%zz", "/a%00", "/a;b", "/a%3Bb"] {
            assert_eq!(Context::parse(text), None, "{text}");
        }
    }
}
