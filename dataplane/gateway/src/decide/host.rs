//! The host a request is for.

use std::borrow::Cow;

use http::{HeaderMap, Uri, Version, header};

/// The longest name that DNS has (RFC 1035 §2.3.4, as text). Each ending of a host is looked up.
const MAX_HOST: usize = 253;

/// The host in lower case, without port and final dot. The request target's authority goes before `Host`
/// (RFC 9112 §3.2.2). Empty where HTTP/1.0 names none. `None`: missing, doubled or malformed.
pub fn of<'a>(uri: &'a Uri, headers: &'a HeaderMap, version: Version) -> Option<Cow<'a, str>> {
    match written(uri, headers) {
        Some(authority) => host(authority?),
        None => (version < Version::HTTP_11).then_some(Cow::Borrowed("")),
    }
}

/// As the client wrote it. `Some(None)`: unusable.
fn written<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<Option<&'a str>> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Some(None);
    }
    if let Some(authority) = uri.authority() {
        return Some(Some(authority.as_str()));
    }
    Some(host?.to_str().ok())
}

fn host(authority: &str) -> Option<Cow<'_, str>> {
    let host = match authority.strip_prefix('[') {
        // An IPv6 address keeps its brackets.
        Some(rest) => {
            let end = rest.find(']')? + 2;
            port(&authority[end..])?;
            &authority[..end]
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            port(&authority[end..])?;
            authority[..end].trim_end_matches('.')
        }
    };
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~[]:%".contains(&byte);
    if host.is_empty() || host.len() > MAX_HOST || !host.bytes().all(sound) {
        return None;
    }
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some(Cow::Owned(host.to_ascii_lowercase()));
    }
    Some(Cow::Borrowed(host))
}

/// Nothing, or `:` and digits.
fn port(text: &str) -> Option<()> {
    let digits = if text.is_empty() { text } else { text.strip_prefix(':')? };
    digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn hosts_have_one_spelling() {
        let check = |given: &str, wanted: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_str(given).unwrap());
            let uri = Uri::from_static("/");
            assert_eq!(of(&uri, &headers, Version::HTTP_11).as_deref(), wanted, "{given}");
        };
        check("example.com", Some("example.com"));
        check("Example.COM:8080", Some("example.com"));
        check("example.com.", Some("example.com"));
        check("example.com.:80", Some("example.com"));
        check("127.0.0.1:8080", Some("127.0.0.1"));
        check("[::1]:8080", Some("[::1]"));
        check("[::1]", Some("[::1]"));
        for bad in ["", ":80", "a b", "user@example.com", "a/b", "a:b", "[::1", "[::1]x"] {
            check(bad, None);
        }
    }

    #[test]
    fn the_request_target_goes_first_and_two_hosts_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, HeaderValue::from_static("b.example"));
        let absolute = Uri::from_static("http://a.example/x");
        assert_eq!(of(&absolute, &headers, Version::HTTP_11).as_deref(), Some("a.example"));
        let origin = Uri::from_static("/x");
        headers.append(header::HOST, HeaderValue::from_static("c.example"));
        assert_eq!(of(&origin, &headers, Version::HTTP_11), None);
        assert_eq!(of(&absolute, &headers, Version::HTTP_11), None);
        headers.clear();
        assert_eq!(of(&origin, &headers, Version::HTTP_11), None);
        assert_eq!(of(&origin, &headers, Version::HTTP_10).as_deref(), Some(""));
    }
}
