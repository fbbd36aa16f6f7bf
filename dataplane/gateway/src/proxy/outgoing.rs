//! A request as the upstream gets it: the client's headers, filtered while they are copied, and what only the gateway says.
//!
//! The table "What the upstream gets" of docs/gateway.md is the same list for people; a test reads both.

use http::{HeaderMap, HeaderName, HeaderValue, Request, Version, header, request::Parts};
use http_body::Body;

use super::{
    exchange::Client,
    forward::aim,
    framing,
    hops::{CDN_LOOP, Forwards, max_forwards},
    origin::{Trust, X_FORWARDED_FOR},
};
use crate::{decide::Forward, table::Endpoint};

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// What becomes of a client's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The upstream gets it.
    Passes,
    /// Only the gateway says it. The client's header goes also where the gateway has no value of its own.
    Replaced,
    /// The list goes on with what the gateway knows.
    Appended,
    /// It is of one hop, or could change the method or the path that the gateway decided on.
    Removed,
    /// Another product says in it who the client is. Upstreams that know the product believe it, so it passes from trusted
    /// proxies alone.
    Identity,
}

/// Whole names, sorted.
const NAMES: [(&str, Fate); 36] = [
    ("cdn-loop", Fate::Appended),
    ("cf-connecting-ip", Fate::Identity),
    ("client-cert", Fate::Identity),
    ("client-cert-chain", Fate::Identity),
    ("connection", Fate::Removed),
    ("content-length", Fate::Replaced),
    ("expect", Fate::Removed), // answered here, with the first octet that is read of the body
    ("forwarded", Fate::Removed),
    ("host", Fate::Replaced),
    ("keep-alive", Fate::Removed),
    ("proxy-authenticate", Fate::Removed),
    ("proxy-authorization", Fate::Removed),
    ("proxy-connection", Fate::Removed),
    ("remote-user", Fate::Identity),
    ("te", Fate::Replaced),
    ("transfer-encoding", Fate::Replaced),
    ("true-client-ip", Fate::Identity),
    ("upgrade", Fate::Removed),
    ("x-anonymous-consumer", Fate::Identity),
    ("x-client-ip", Fate::Identity),
    ("x-cluster-client-ip", Fate::Identity),
    ("x-forwarded-for", Fate::Appended),
    ("x-forwarded-host", Fate::Replaced),
    ("x-forwarded-prefix", Fate::Replaced),
    ("x-forwarded-proto", Fate::Replaced),
    ("x-http-method", Fate::Removed),
    ("x-http-method-override", Fate::Removed),
    ("x-method-override", Fate::Removed),
    ("x-original-host", Fate::Identity),
    ("x-original-uri", Fate::Identity),
    ("x-original-url", Fate::Removed),
    ("x-real-ip", Fate::Replaced),
    ("x-remote-group", Fate::Identity),
    ("x-remote-groups", Fate::Identity),
    ("x-remote-user", Fate::Identity),
    ("x-rewrite-url", Fate::Removed),
];

/// Beginnings of names that say who the client is, sorted. None is the beginning of another.
const IDENTITIES: [&str; 14] = [
    "cf-access-",
    "ssl-client-",
    "x-amzn-oidc-",
    "x-auth-request-",
    "x-authenticated-",
    "x-client-cert",
    "x-consumer-",
    "x-credential-",
    "x-envoy-",
    "x-forwarded-",
    "x-goog-authenticated-user-",
    "x-goog-iap-",
    "x-ms-client-principal",
    "x-ssl-client-",
];

fn fate(name: &str) -> Fate {
    if let Ok(at) = NAMES.binary_search_by_key(&name, |(own, _)| own) {
        return NAMES[at].1;
    }
    let after = IDENTITIES.partition_point(|own| *own <= name);
    if IDENTITIES[..after].last().is_some_and(|own| name.starts_with(own)) {
        return Fate::Identity;
    }
    // Many backends read `x_forwarded_for` as `X-Forwarded-For`.
    if name.contains('_') { Fate::Removed } else { Fate::Passes }
}

/// Makes the upstream's request: target, the client's headers that pass, the gateway's own, then policies. `headers` is an
/// empty map, perhaps with room.
pub(super) fn request<B: Body>(
    parts: &Parts,
    mut headers: HeaderMap,
    body: B,
    forward: &Forward,
    endpoint: &Endpoint,
    client: &Client,
    loop_id: &HeaderValue,
) -> Result<Request<B>, http::Error> {
    let is_trusted = client.trust == Trust::Proxy;
    copy(&parts.headers, &mut headers, forward.key_header.as_ref(), is_trusted);
    framing::request(&mut headers, parts.headers.contains_key(header::CONTENT_LENGTH), &body);
    if accepts_trailers(&parts.headers) {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Forwards::Left(left) = max_forwards(&parts.method, &parts.headers) {
        headers.insert(header::MAX_FORWARDS, HeaderValue::from(left));
    }
    let forwarded_for = match client.trust {
        Trust::Stranger => client.peer.text.clone(),
        Trust::Proxy | Trust::Unknown => appended(&parts.headers, &X_FORWARDED_FOR, &client.peer.text),
    };
    headers.insert(X_FORWARDED_FOR, forwarded_for);
    headers.insert(X_REAL_IP, client.origin.text.clone());
    let said = |name: &HeaderName| parts.headers.get(name).filter(|_| is_trusted).cloned();
    if let Some(host) = said(&X_FORWARDED_HOST).or_else(|| host(parts)) {
        headers.insert(X_FORWARDED_HOST, host);
    }
    let proto = || HeaderValue::from_static(client.protocol.as_str());
    headers.insert(X_FORWARDED_PROTO, said(&X_FORWARDED_PROTO).unwrap_or_else(proto));
    if let Some(prefix) = prefix(said(&X_FORWARDED_PREFIX), &parts.uri.path()[..forward.rest_at]) {
        headers.insert(X_FORWARDED_PREFIX, prefix);
    }
    forward.operation.request_headers.apply(&mut headers);
    // After policies: none may hide a loop.
    headers.insert(CDN_LOOP, appended(&parts.headers, &CDN_LOOP, loop_id));

    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    aim(&mut request, &parts.uri, forward, endpoint)?;
    Ok(request)
}

/// Copies what passes, but for the header that carries the API key.
pub(super) fn copy(from: &HeaderMap, to: &mut HeaderMap, key: Option<&HeaderName>, is_trusted: bool) {
    let of_this_hop = named_by_connection(from);
    let mut cookies = 0;
    for (name, value) in from {
        let passes = match fate(name.as_str()) {
            Fate::Passes => true,
            Fate::Identity => is_trusted,
            Fate::Replaced | Fate::Appended | Fate::Removed => false,
        };
        let passes = passes
            && key != Some(name)
            && !of_this_hop.iter().any(|own| own.eq_ignore_ascii_case(name.as_str().as_bytes()));
        if passes {
            cookies += usize::from(name == header::COOKIE);
            to.append(name.clone(), value.clone());
        }
    }
    if cookies > 1 {
        join_cookies(to);
    }
}

/// The names in `Connection`, but for its two usual tokens.
fn named_by_connection(headers: &HeaderMap) -> Vec<&[u8]> {
    let lines = headers.get_all(header::CONNECTION).iter();
    let tokens = lines.flat_map(|line| line.as_bytes().split(|&octet| octet == b','));
    let is_usual = |token: &&[u8]| {
        token.is_empty() || token.eq_ignore_ascii_case(b"keep-alive") || token.eq_ignore_ascii_case(b"close")
    };
    tokens.map(|token| token.trim_ascii()).filter(|token| !is_usual(token)).collect()
}

/// What was taken off the path, behind what a proxy took off it before.
fn prefix(said: Option<HeaderValue>, context: &str) -> Option<HeaderValue> {
    let Some(said) = said else {
        return Some(context).filter(|own| !own.is_empty()).and_then(|own| HeaderValue::from_str(own).ok());
    };
    let before = said.as_bytes().strip_suffix(b"/").unwrap_or(said.as_bytes());
    let whole = [before, context.as_bytes()].concat();
    Some(whole).filter(|own| !own.is_empty()).and_then(|own| HeaderValue::from_bytes(&own).ok())
}

/// What the client asked for as the host; HTTP/1.0 may leave it out.
fn host(parts: &Parts) -> Option<HeaderValue> {
    match parts.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => parts.headers.get(header::HOST).cloned(),
    }
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::TE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// HTTP/2 clients may send cookies one by one; HTTP/1.1 wants them in one header (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let joined = HeaderValue::from_bytes(&cookies.join(&b"; "[..])).expect("values joined are a value");
    headers.insert(header::COOKIE, joined);
}

/// The list that was received, and one member more.
fn appended(received: &HeaderMap, name: &HeaderName, member: &HeaderValue) -> HeaderValue {
    let mut list: Vec<u8> = Vec::new();
    for value in received.get_all(name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    if list.is_empty() {
        return member.clone();
    }
    list.extend_from_slice(member.as_bytes());
    HeaderValue::from_maybe_shared(bytes::Bytes::from(list)).expect("values joined are a value")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY_MD: &str = include_str!("../../../../docs/gateway.md");

    #[test]
    fn the_lists_are_sorted_and_no_beginning_hides_another() {
        assert!(NAMES.is_sorted_by(|(one, _), (next, _)| one < next));
        assert!(IDENTITIES.is_sorted_by(|one, next| one < next && !next.starts_with(one)));
    }

    #[test]
    fn every_name_of_the_lists_is_documented() {
        let documented = GATEWAY_MD.to_ascii_lowercase();
        for name in NAMES.map(|(name, _)| format!("`{name}`")) {
            assert!(documented.contains(&name), "{name} is not in docs/gateway.md");
        }
        for beginning in IDENTITIES.map(|own| format!("`{own}*`")) {
            assert!(documented.contains(&beginning), "{beginning} is not in docs/gateway.md");
        }
    }

    #[test]
    fn headers_of_one_hop_never_pass() {
        for name in &hanse_runtime::HOP_BY_HOP {
            assert_ne!(fate(name.as_str()), Fate::Passes, "{name}");
        }
    }

    #[test]
    fn a_name_has_one_fate() {
        for (name, wanted) in [
            ("accept", Fate::Passes),
            ("x-forwarded-for", Fate::Appended),
            ("x-forwarded-host", Fate::Replaced),
            ("x-forwarded-user", Fate::Identity),
            ("x-forwarded-", Fate::Identity),
            ("x-forwarded", Fate::Passes),
            ("x-consumer-id", Fate::Identity),
            ("x-consumers", Fate::Passes),
            ("x-client-cert", Fate::Identity),
            ("x-client-certificate-dn", Fate::Identity),
            ("x-client-version", Fate::Passes),
            ("zzz", Fate::Passes),
            ("x_real_ip", Fate::Removed),
            ("a_b", Fate::Removed),
        ] {
            assert_eq!(fate(name), wanted, "{name}");
        }
    }

    #[test]
    fn copies_leave_out_what_connection_names_and_the_key() {
        let mut from = HeaderMap::new();
        for (name, value) in [
            ("connection", "Close, X-Token"),
            ("connection", "keep-alive,x-other , "),
            ("x-token", "secret"),
            ("x-other", "secret"),
            ("x-key", "secret"),
            ("accept", "one"),
            ("accept", "two"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
        ] {
            from.append(name, HeaderValue::from_static(value));
        }
        let mut to = HeaderMap::new();
        copy(&from, &mut to, Some(&HeaderName::from_static("x-key")), false);
        let lines: Vec<(&str, &str)> =
            to.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(lines, [("accept", "one"), ("accept", "two"), ("cookie", "a=1; b=2")]);
    }
}
