//! A request as the upstream gets it, and an answer as the client gets it.

use std::{io::Write as _, net::IpAddr};

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Uri, Version, header, request::Parts, uri::PathAndQuery,
};
use http_body::Body;

use super::framing;
use crate::{
    decide::Forward,
    policy::remove_hop_by_hop,
    table::{Endpoint, Protocol},
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// What a client may not say: backends take it for the word of the gateway, or let it change the method or path that was
/// decided on.
const NOT_THE_CLIENTS: [HeaderName; 9] = [
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
];

/// Makes the upstream's request of the client's: target, hop-by-hop headers, forwarding headers, then policies.
pub(super) fn request<B: Body>(
    mut client: Parts,
    body: B,
    forward: &Forward,
    endpoint: &Endpoint,
    from: IpAddr,
    protocol: Protocol,
) -> Result<Request<B>, http::Error> {
    let uri = client.uri.clone();
    let host = client
        .uri
        .authority()
        .and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
        .or_else(|| client.headers.get(header::HOST).cloned());
    let headers = &mut client.headers;
    let trailers = accepts_trailers(headers);
    remove_hop_by_hop(headers);
    headers.remove(header::TE);
    headers.remove(header::EXPECT); // answered here, with the first octet that is read of the body
    framing::request(headers, &body);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(name) = &forward.key_header {
        headers.remove(name);
    }
    remove_what_is_not_the_clients(headers);
    join_cookies(headers);
    forwarded_for(headers, from);
    if let Some(host) = host {
        headers.insert(X_FORWARDED_HOST, host);
    }
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(protocol.as_str()));
    forward.operation.request_headers.apply(headers);

    let mut request = Request::new(body);
    *request.method_mut() = client.method;
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = client.headers;
    aim(&mut request, &uri, forward, endpoint)?;
    Ok(request)
}

/// Points a request that is otherwise made at an endpoint. `uri` is the client's. The target has the form of an origin
/// server's: the connection knows where it goes.
pub(super) fn aim<B>(
    request: &mut Request<B>,
    uri: &Uri,
    forward: &Forward,
    endpoint: &Endpoint,
) -> Result<(), http::Error> {
    *request.uri_mut() = target(uri, forward, endpoint)?;
    request.headers_mut().insert(header::HOST, endpoint.host.clone());
    Ok(())
}

/// Base path + the path after the context + query.
fn target(uri: &Uri, forward: &Forward, endpoint: &Endpoint) -> Result<Uri, http::Error> {
    let rest = &uri.path()[forward.rest_at..];
    let query = forward.query.as_deref().or(uri.query()).filter(|query| !query.is_empty());
    let length = endpoint.base_path.len() + rest.len() + query.map_or(0, |query| query.len() + 1) + 1;
    let mut text = String::with_capacity(length);
    text.push_str(&endpoint.base_path);
    text.push_str(rest);
    if text.is_empty() {
        text.push('/');
    }
    if let Some(query) = query {
        text.push('?');
        text.push_str(query);
    }
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(PathAndQuery::from_maybe_shared(bytes::Bytes::from(text))?);
    Ok(Uri::from_parts(parts)?)
}

/// Also headers with `_` in their names: many backends read `x_forwarded_for` as `X-Forwarded-For`.
fn remove_what_is_not_the_clients(headers: &mut HeaderMap) {
    for name in &NOT_THE_CLIENTS {
        headers.remove(name);
    }
    let underscored = |name: &&HeaderName| name.as_str().contains('_');
    let names: Vec<HeaderName> = headers.keys().filter(underscored).cloned().collect();
    for name in names {
        headers.remove(name);
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
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let cookies: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

fn forwarded_for(headers: &mut HeaderMap, from: IpAddr) {
    let mut list: Vec<u8> = Vec::with_capacity(40);
    for value in headers.get_all(X_FORWARDED_FOR) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    let _ = write!(list, "{from}"); // memory does not fail
    if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(list)) {
        headers.insert(X_FORWARDED_FOR, value);
    }
    if let Ok(value) = HeaderValue::from_str(&from.to_string()) {
        headers.insert(X_REAL_IP, value);
    }
}
