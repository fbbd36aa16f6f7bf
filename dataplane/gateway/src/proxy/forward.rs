//! Where a request goes on its upstream.

use http::{HeaderValue, Request, Uri, header, request::Parts, uri::PathAndQuery};

use super::outgoing;
use crate::{decide::Forward, table::Endpoint};

/// Points a request that is otherwise made at an endpoint. `parts` are the client's. The target has the form of an origin
/// server's: the connection knows where it goes.
pub(super) fn aim<B>(
    request: &mut Request<B>,
    parts: &Parts,
    forward: &Forward,
    endpoint: &Endpoint,
) -> Result<(), http::Error> {
    *request.uri_mut() = target(&parts.uri, forward, endpoint)?;
    request.headers_mut().insert(header::HOST, host(parts, forward, endpoint));
    Ok(())
}

/// The `Host` that an endpoint gets. A preserved one is the host by which the Api was found: of a proxy's `X-Forwarded-Host`, it is not
/// known whether the Api answers for it.
pub(super) fn host(parts: &Parts, forward: &Forward, endpoint: &Endpoint) -> HeaderValue {
    let preserved = if forward.upstream.preserves_host { outgoing::host(parts) } else { None };
    preserved.unwrap_or_else(|| endpoint.host.clone())
}

/// Base path + the path after the context + query.
fn target(uri: &Uri, forward: &Forward, endpoint: &Endpoint) -> Result<Uri, http::Error> {
    let rest = &uri.path()[forward.rest_at..];
    // Without the key nothing may be left of a query; one that the client left empty stays.
    let query = match &forward.query {
        Some(rest) => Some(rest.as_str()).filter(|rest| !rest.is_empty()),
        None => uri.query(),
    };
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
