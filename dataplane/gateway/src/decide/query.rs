//! Query parameters: `name=value&…`, percent-encoded, `+` for a space (the URL standard's form encoding).

use std::borrow::Cow;

/// The decoded value of the first parameter of that name.
pub(crate) fn value<'a>(query: &'a str, name: &str) -> Option<Cow<'a, [u8]>> {
    query
        .split('&')
        .map(pair)
        .find(|(own, _)| *decoded(own) == *name.as_bytes())
        .map(|(_, value)| decoded(value))
}

/// The query without the parameters of that name, the rest as written; `None`: there are none.
///
/// Keys are looked for behind `&` only, as the URL standard has it, and a key may have a `;`. Some upstreams take `;` for a separator
/// too, and none may find a key.
pub(super) fn without(query: &str, name: &str) -> Option<String> {
    let is_it = |part: &str| *decoded(pair(part).0) == *name.as_bytes();
    let has_it = |part: &str| is_it(part) || part.split(';').any(is_it);
    if !query.split('&').any(has_it) {
        return None;
    }
    let kept_of = |part: &str| {
        let kept: Vec<&str> = part.split(';').filter(|part| !is_it(part)).collect();
        (!kept.is_empty()).then(|| kept.join(";"))
    };
    let kept: Vec<String> = query.split('&').filter(|part| !is_it(part)).filter_map(kept_of).collect();
    Some(kept.join("&"))
}

fn pair(part: &str) -> (&str, &str) {
    part.split_once('=').unwrap_or((part, ""))
}

fn decoded(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(bytes);
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digit = |at: usize| bytes.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
                continue;
            }
            (b'+', ..) => decoded.push(b' '),
            (byte, ..) => decoded.push(byte),
        }
        at += 1;
    }
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded() {
        let check = |query: &str, wanted: Option<&str>| {
            assert_eq!(value(query, "key").as_deref(), wanted.map(str::as_bytes), "{query}");
        };
        check("key=abc", Some("abc"));
        check("a=1&key=a%2Bb+c%zz&key=second", Some("a+b c%zz"));
        check("k%65y=abc", Some("abc"));
        check("key", Some(""));
        check("keys=1&akey=2", None);
        check("a=1;key=abc", None);
        check("", None);
    }

    #[test]
    fn removal_leaves_the_rest_as_written() {
        let check = |query: &str, wanted: Option<&str>| {
            assert_eq!(without(query, "key").as_deref(), wanted, "{query}");
        };
        check("a=%7e&key=1&b=+&k%65y=2&c", Some("a=%7e&b=+&c"));
        check("key=1", Some(""));
        check("a=1", None);
        check("a=1;b", None);
        check("a=1;key=K", Some("a=1"));
        check("key=s3;cr3t&x=1", Some("x=1")); // the value ends at '&'
        check("key=K;a=1&b", Some("b"));
        check("key;a=1&b", Some("a=1&b"));
        check("b&key;k%65y", Some("b"));
        check("a=1;b&key=K", Some("a=1;b"));
        check("a;key=1&b;k%65y=2;c", Some("a&b;c"));
        check("&a&key=1&", Some("&a&"));
    }
}
