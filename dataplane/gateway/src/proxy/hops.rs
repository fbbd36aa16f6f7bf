//! How often a request is passed on: `Max-Forwards` (RFC 9110 §7.6.2), and loops, which `CDN-Loop` shows (RFC 8586).

use bytes::{BufMut as _, Bytes, BytesMut};
use hanse_topology::Identity;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use sha2::{Digest as _, Sha256};

use super::outgoing;
use crate::{decide::Forward, problem::Refusal};

pub(super) const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// A request may pass one gateway so often. An upstream may send it through the gateway again, as a facade before other Apis does;
/// more is a loop.
const PASSES: usize = 5;

/// How one gateway shows itself in `CDN-Loop`: the same after a restart, and a digest, not the name, because every
/// upstream sees it.
pub(crate) fn own_id(gateway: &Identity) -> HeaderValue {
    let digest = Sha256::digest(gateway.to_string());
    let hex: String = digest[..8].iter().map(|octet| format!("{octet:02x}")).collect();
    HeaderValue::try_from(format!("hanse-{hex}")).expect("hexadecimal digits are ASCII")
}

/// Refuses a request that has passed this gateway too often.
pub(super) fn check_loop(headers: &HeaderMap, own: &HeaderValue) -> Result<(), Refusal> {
    let lines = headers.get_all(CDN_LOOP).iter();
    let members = lines.flat_map(|line| line.as_bytes().split(|&octet| octet == b','));
    let ids = members.filter_map(|member| member.split(|&octet| octet == b';').next());
    let passed = ids.filter(|id| id.trim_ascii() == own.as_bytes()).count();
    if passed < PASSES { Ok(()) } else { Err(Refusal::Loop) }
}

/// How often a request may still be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forwards {
    /// As often as it takes.
    Unlimited,
    /// Not once.
    Spent,
    /// So often, after this time.
    Left(u64),
}

/// What `Max-Forwards` says. It is of OPTIONS and TRACE alone, and a value that is no number says nothing.
pub(super) fn max_forwards(method: &Method, headers: &HeaderMap) -> Forwards {
    if !matches!(*method, Method::OPTIONS | Method::TRACE) {
        return Forwards::Unlimited;
    }
    let value = headers.get(header::MAX_FORWARDS).and_then(|value| value.to_str().ok());
    match value.filter(|text| text.bytes().all(|octet| octet.is_ascii_digit())).map(str::parse::<u64>) {
        Some(Ok(0)) => Forwards::Spent,
        Some(Ok(left)) => Forwards::Left(left - 1),
        Some(Err(_)) | None => Forwards::Unlimited,
    }
}

/// The gateway's answer in the place of the upstream's, to OPTIONS or TRACE that may not go on.
pub(super) fn answer(parts: &Parts, forward: &Forward) -> Response<Bytes> {
    if let Some(allow) = &forward.allow {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(header::ALLOW, allow.clone());
        return response;
    }
    let mut response = Response::new(reflection(parts, forward));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("message/http"));
    response
}

/// The request as it came, without what upstreams do not get and without what only the client may know (RFC 9110 §9.3.8).
fn reflection(parts: &Parts, forward: &Forward) -> Bytes {
    let mut headers = HeaderMap::new();
    outgoing::copy(&parts.headers, &mut headers, forward.key_header.as_ref(), false);
    let mut text = BytesMut::new();
    let query = forward.query.as_deref().or(parts.uri.query()).unwrap_or_default();
    let mark = if query.is_empty() { "" } else { "?" };
    text.put_slice(
        format!("{} {}{mark}{query} {:?}\r\n", parts.method, parts.uri.path(), parts.version).as_bytes(),
    );
    let secret = [header::AUTHORIZATION, header::COOKIE];
    for (name, value) in headers.iter().filter(|(name, _)| !secret.contains(name)) {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            text.put_slice(part);
        }
    }
    text.put_slice(b"\r\n");
    text.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_through_this_gateway_are_counted_and_others_are_not() {
        let own = own_id(&"edge-1.gateway.eu-west.hanse.internal".parse().unwrap());
        assert_eq!(own, "hanse-b73a9419ccb584d8");
        let check = |lines: &[&str], wanted: Result<(), Refusal>| {
            let mut headers = HeaderMap::new();
            for line in lines {
                let line = line.replace("OWN", own.to_str().unwrap());
                headers.append(CDN_LOOP, HeaderValue::try_from(line).unwrap());
            }
            assert_eq!(check_loop(&headers, &own), wanted, "{lines:?}");
        };
        check(&[], Ok(()));
        check(&["OWN, OWN, OWN, OWN"], Ok(()));
        check(&["OWN, OWN, OWN, OWN, OWN"], Err(Refusal::Loop));
        check(&["OWN,OWN;a=b", "OWN ; c", "cdn.example, OWN", " OWN"], Err(Refusal::Loop));
        check(&["a, b, c, d, e, f, g"], Ok(()));
        check(&["OWNx, OWNx, OWNx, xOWN, xOWN, hanse-0000000000000000"], Ok(()));
    }

    #[test]
    fn max_forwards_is_of_options_and_trace() {
        let of = |method: Method, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::MAX_FORWARDS, HeaderValue::try_from(value).unwrap());
            max_forwards(&method, &headers)
        };
        assert_eq!(max_forwards(&Method::TRACE, &HeaderMap::new()), Forwards::Unlimited);
        assert_eq!(of(Method::GET, "0"), Forwards::Unlimited);
        assert_eq!(of(Method::OPTIONS, "0"), Forwards::Spent);
        assert_eq!(of(Method::TRACE, "00"), Forwards::Spent);
        assert_eq!(of(Method::TRACE, "1"), Forwards::Left(0));
        for odd in ["", "x", "-1", "+1", "1.0", "18446744073709551616"] {
            assert_eq!(of(Method::OPTIONS, odd), Forwards::Unlimited, "{odd}");
        }
    }
}
