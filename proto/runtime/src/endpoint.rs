//! One address of an upstream.

use http::{HeaderValue, Uri, uri};

/// One address of an upstream.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// As in the configuration.
    pub url: Box<str>,
    /// Its share of the requests; 0: none.
    pub weight: u32,
    /// `http` or `https`.
    pub scheme: uri::Scheme,
    /// `host:port` as in the URL.
    pub authority: uri::Authority,
    /// The authority as the `Host` header.
    pub host: HeaderValue,
    /// What goes before a request's path: empty, or `/` and segments without a final `/`.
    pub base_path: Box<str>,
}

impl Endpoint {
    pub(crate) fn parse(url: &str, weight: u32) -> Result<Self, &'static str> {
        let parts = url.parse::<Uri>().map_err(|_| "is not a URL")?.into_parts();
        let scheme = parts
            .scheme
            .filter(|scheme| *scheme == uri::Scheme::HTTP || *scheme == uri::Scheme::HTTPS)
            .ok_or("is neither http:// nor https://")?;
        let authority = parts.authority.ok_or("names no host")?;
        if authority.as_str().contains('@') {
            return Err("carries a user name, which is not sent");
        }
        let port = &authority.as_str()[authority.host().len()..];
        if authority.host().is_empty() || !is_port(port) {
            return Err("has no valid host and port");
        }
        let path = parts.path_and_query.unwrap_or_else(|| uri::PathAndQuery::from_static("/"));
        if path.query().is_some() {
            return Err("carries a query, which is not sent");
        }
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| "has no valid host")?;
        let base_path = path.path().trim_end_matches('/').into();
        Ok(Self { url: url.into(), weight, scheme, authority, host, base_path })
    }

    /// The name that its certificate has, where nothing else is said: the host, an IPv6 address without its brackets.
    pub(crate) fn tls_name(&self) -> &str {
        let host = self.authority.host();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }
}

/// Nothing, or a colon and a port that something can listen on.
fn is_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        None => text.is_empty(),
        Some(port) => port.is_empty() || port.parse::<u16>().is_ok_and(|port| port > 0),
    }
}
