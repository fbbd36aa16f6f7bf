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
    origin::{Trust, X_FORWARDED_FOR, X_REAL_IP},
};
use crate::{decide::Forward, table::Endpoint, tunnel};

pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Whose headers of a name the upstream gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// Every client's.
    Clients,
    /// Trusted proxies' only: another product says in it who the client is, and upstreams that know the product believe it.
    Proxies,
    /// The gateway's only. It is of one hop, frames the message, or could change the method or the path that the gateway decided on.
    /// A client's goes also where the gateway has no value of its own.
    Gateway,
}

/// Whole names, sorted.
const NAMES: [(&str, Whose); 35] = [
    ("cdn-loop", Whose::Gateway),
    ("cf-connecting-ip", Whose::Proxies),
    ("connection", Whose::Gateway),
    ("content-length", Whose::Gateway),
    ("expect", Whose::Gateway), // answered here, with the first octet that is read of the body
    ("forwarded", Whose::Gateway),
    ("hanse-tunnel", Whose::Gateway),
    ("host", Whose::Gateway),
    ("keep-alive", Whose::Gateway),
    ("proxy", Whose::Gateway), // CGI shows it as HTTP_PROXY, which programs take for their proxy
    ("proxy-authenticate", Whose::Gateway),
    ("proxy-authorization", Whose::Gateway),
    ("proxy-connection", Whose::Gateway),
    ("te", Whose::Gateway),
    ("transfer-encoding", Whose::Gateway),
    ("true-client-ip", Whose::Proxies),
    ("upgrade", Whose::Gateway),
    ("x-anonymous-consumer", Whose::Proxies),
    ("x-arr-clientcert", Whose::Proxies),
    ("x-client-ip", Whose::Proxies),
    ("x-cluster-client-ip", Whose::Proxies),
    ("x-forwarded", Whose::Gateway),
    ("x-forwarded-for", Whose::Gateway),
    ("x-forwarded-host", Whose::Gateway),
    ("x-forwarded-prefix", Whose::Gateway),
    ("x-forwarded-proto", Whose::Gateway),
    ("x-http-method", Whose::Gateway),
    ("x-http-method-override", Whose::Gateway),
    ("x-method-override", Whose::Gateway),
    ("x-original-host", Whose::Proxies),
    ("x-original-uri", Whose::Proxies),
    ("x-original-url", Whose::Gateway),
    ("x-real-ip", Whose::Gateway),
    ("x-rewrite-url", Whose::Gateway),
    ("x-webauth-user", Whose::Proxies),
];

/// Beginnings of names that say who the client is, sorted. None is the beginning of another.
const IDENTITIES: [&str; 20] = [
    "cf-access-",
    "client-cert",
    "remote-",
    "ssl-client-",
    "tailscale-user-",
    "x-amzn-mtls-",
    "x-amzn-oidc-",
    "x-auth-request-",
    "x-authenticated-",
    "x-authentik-",
    "x-client-cert",
    "x-consumer-",
    "x-credential-",
    "x-envoy-",
    "x-forwarded-",
    "x-goog-authenticated-user-",
    "x-goog-iap-",
    "x-ms-client-principal",
    "x-remote-",
    "x-ssl-client-",
];

/// Whether the upstream gets a client's header, or a trusted proxy's.
fn passes(name: &str, is_trusted: bool) -> bool {
    let is_usual = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
    if name.bytes().all(is_usual) {
        return match whose(name) {
            Whose::Clients => true,
            Whose::Proxies => is_trusted,
            Whose::Gateway => false,
        };
    }
    // CGI shows `x.forwarded.user` and `x_forwarded_user` as X-Forwarded-User. Backends that are no CGI do so with `_` too.
    let read = |octet: char| if octet.is_ascii_alphanumeric() { octet } else { '-' };
    !name.contains('_') && whose(&name.chars().map(read).collect::<String>()) == Whose::Clients
}

fn whose(name: &str) -> Whose {
    if let Ok(at) = NAMES.binary_search_by_key(&name, |(own, _)| own) {
        return NAMES[at].1;
    }
    let after = IDENTITIES.partition_point(|own| *own <= name);
    if IDENTITIES[..after].last().is_some_and(|own| name.starts_with(own)) {
        return Whose::Proxies;
    }
    Whose::Clients
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
    let said = |name: &HeaderName| said(name, parts, client);
    if let Some(host) = said(&X_FORWARDED_HOST).cloned().or_else(|| host(parts)) {
        headers.insert(X_FORWARDED_HOST, host);
    }
    let proto = || HeaderValue::from_static(client.protocol.as_str());
    headers.insert(X_FORWARDED_PROTO, said(&X_FORWARDED_PROTO).cloned().unwrap_or_else(proto));
    if let Some(prefix) = prefix(said(&X_FORWARDED_PREFIX), &parts.uri.path()[..forward.rest_at]) {
        headers.insert(X_FORWARDED_PREFIX, prefix);
    }
    match &forward.departure {
        None => forward.operation.request_headers.apply(&mut headers),
        // The exit applies the policies.
        Some(departure) => drop(headers.insert(tunnel::HEADER, departure.head.clone())),
    }
    headers.insert(CDN_LOOP, appended(&parts.headers, &CDN_LOOP, loop_id));

    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    aim(&mut request, parts, forward, endpoint)?;
    Ok(request)
}

/// Copies what passes, but for the header that carries the API key.
pub(super) fn copy(from: &HeaderMap, to: &mut HeaderMap, key: Option<&HeaderName>, is_trusted: bool) {
    let mut cookies = 0;
    for (name, value) in from {
        if passes(name.as_str(), is_trusted) && key != Some(name) {
            cookies += usize::from(name == header::COOKIE);
            to.append(name.clone(), value.clone());
        }
    }
    if cookies > 1 {
        join_cookies(to);
    }
    // Behind the copy, so that thousands of names cost one look each.
    for named in named_by_connection(from) {
        to.remove(named);
    }
}

/// The names in `Connection`, but for its two usual tokens.
fn named_by_connection(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(header::CONNECTION).iter();
    let tokens = lines.flat_map(|line| line.as_bytes().split(|&octet| octet == b','));
    let names = tokens.filter_map(|token| std::str::from_utf8(token.trim_ascii()).ok());
    names.filter(|name| !name.eq_ignore_ascii_case("keep-alive") && !name.eq_ignore_ascii_case("close"))
}

/// What a trusted proxy says in a header. A proxy that adds a line puts it behind the client's.
pub(super) fn said<'a>(name: &HeaderName, parts: &'a Parts, client: &Client) -> Option<&'a HeaderValue> {
    parts.headers.get_all(name).iter().next_back().filter(|_| client.trust == Trust::Proxy)
}

/// What was taken off the path, behind what a proxy took off it before.
fn prefix(said: Option<&HeaderValue>, context: &str) -> Option<HeaderValue> {
    let Some(said) = said else {
        return Some(context).filter(|own| !own.is_empty()).and_then(|own| HeaderValue::from_str(own).ok());
    };
    let before = said.as_bytes().strip_suffix(b"/").unwrap_or(said.as_bytes());
    let whole = [before, context.as_bytes()].concat();
    Some(whole).filter(|own| !own.is_empty()).and_then(|own| HeaderValue::from_bytes(&own).ok())
}

/// What the client asked for as the host; HTTP/1.0 may leave it out.
pub(super) fn host(parts: &Parts) -> Option<HeaderValue> {
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
            assert!(!passes(name.as_str(), true), "{name}");
        }
    }

    #[test]
    fn a_name_passes_by_whose_it_is() {
        let check = |names: &[&str], of_clients: bool, of_proxies: bool| {
            for name in names {
                assert_eq!((passes(name, false), passes(name, true)), (of_clients, of_proxies), "{name}");
            }
        };
        check(&["accept", "x-consumers", "x-client-version", "remote", "x-remoteness", "zzz"], true, true);
        check(&["x-forwarded-user", "x-forwarded-", "x-consumer-id", "remote-groups"], false, true);
        check(&["x-client-certificate-dn", "client-cert-chain", "x-webauth-user"], false, true);
        check(&["x-forwarded-for", "x-forwarded-host", "x-forwarded", "proxy", "te"], false, false);
        check(&["x_real_ip", "a_b", "x.forwarded.user", "x-forwarded.for", "x!real~ip"], false, false);
        check(&["com.example.tenant", "user.agent", "a!b"], true, true);
    }

    #[test]
    fn cookies_that_connection_names_go_as_one() {
        let mut from = HeaderMap::new();
        for (name, value) in [("connection", "cookie"), ("cookie", "a=1"), ("cookie", "b=2")] {
            from.append(name, HeaderValue::from_static(value));
        }
        let mut to = HeaderMap::new();
        copy(&from, &mut to, None, false);
        assert_eq!(to, HeaderMap::new());
    }

    #[test]
    fn copies_leave_out_what_connection_names_and_the_key() {
        let mut from = HeaderMap::new();
        for (name, value) in [
            ("connection", "Close, X-Token"),
            ("connection", "keep-alive,x-other , ,a b,COOKIE2"),
            ("x-token", "secret"),
            ("x-other", "secret"),
            ("cookie2", "secret"),
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
        let mut lines: Vec<(&str, &str)> =
            to.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        lines.sort();
        assert_eq!(lines, [("accept", "one"), ("accept", "two"), ("cookie", "a=1; b=2")]);
    }
}
