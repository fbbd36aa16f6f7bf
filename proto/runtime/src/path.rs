//! The canonical form of paths: what a gateway matches, templates and contexts included.

use std::borrow::Cow;

/// A `%` without two hexadecimal digits, or an encoded NUL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed percent-encoding")]
pub struct BadEncoding;

/// Decodes all percent-encodings but those of `/` and `%`, which become upper case.
pub fn canonical(written: &str) -> Result<Cow<'_, [u8]>, BadEncoding> {
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
        let (Some(high), Some(low)) = (digit(0), digit(1)) else { return Err(BadEncoding) };
        rest = &after[2..];
        match (high * 16 + low) as u8 {
            0 => return Err(BadEncoding),
            b'/' => decoded.extend_from_slice(b"%2F"),
            b'%' => decoded.extend_from_slice(b"%25"),
            octet => decoded.push(octet),
        }
    }
    Ok(Cow::Owned(decoded))
}

/// A base path in canonical form: empty, or `/` and segments, without a final `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Context(Box<[u8]>);

impl Context {
    /// Reads `/orders/v1`; `/` is the empty context. `None`: it is no path.
    pub fn parse(text: &str) -> Option<Self> {
        let own = text.trim_end_matches('/');
        if !text.starts_with('/') {
            return None;
        }
        canonical(own).ok().map(|octets| Self(octets.into_owned().into()))
    }

    /// How many segments it has.
    #[inline]
    pub fn segments(&self) -> usize {
        self.0.iter().filter(|&&byte| byte == b'/').count()
    }

    /// Its octets, as they begin a canonical path.
    #[inline]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for text in ["", "orders", "/%zz", "/a%00"] {
            assert_eq!(Context::parse(text), None, "{text}");
        }
    }
}
