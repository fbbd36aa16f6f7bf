//! Addresses in an upstream's answer, as its client knows them: `Location`, `Content-Location`, and the paths of cookies.
//!
//! Example: behind the context `/shop` an upstream answers `Location: /orders/7`. The client needs `/shop/orders/7`.
//!
//! An address becomes a path alone. The client resolves it against the URL that it called, so scheme and host are right behind every
//! proxy. An address that is not the upstream's, or that is malformed, stays as it is.

use std::sync::Arc;

use hanse_runtime::{Context, canonical_request, encoded, is_path_byte};
use http::{HeaderMap, HeaderValue, header};

/// What is rewritten in the answers of one Api.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    what: hanse_runtime::Rewrite,
    /// The context as a URL has it: empty, or without a final `/`.
    context: Box<str>,
}

/// Where the gateway sent a request, and what it told the upstream of the client's URL.
#[derive(Debug, Clone, Copy)]
pub struct SentTo<'a> {
    /// The schemes that the upstream may take for its own: the endpoint's, and the one in `X-Forwarded-Proto`.
    pub schemes: [&'a [u8]; 2],
    /// The same of authorities: the endpoint's, the `Host` that it got, and the one in `X-Forwarded-Host`.
    pub authorities: [&'a [u8]; 3],
    /// What went before the request's path.
    pub base_path: &'a str,
    /// What a trusted proxy took off the path before.
    pub proxys_prefix: Option<&'a HeaderValue>,
}

/// The headers that are rewritten.
const REWRITTEN: [header::HeaderName; 3] = [header::LOCATION, header::CONTENT_LOCATION, header::SET_COOKIE];

impl Rewrite {
    /// With what one more policy rewrites.
    pub fn with(
        before: Option<Arc<Self>>,
        more: hanse_runtime::Rewrite,
        context: &Context,
    ) -> Option<Arc<Self>> {
        let had = before.as_ref().map(|own| own.what).unwrap_or_default();
        let what = hanse_runtime::Rewrite {
            location: had.location || more.location,
            cookies: had.cookies || more.cookies,
        };
        if what == had {
            return before;
        }
        Some(Arc::new(Self { what, context: encoded(context.octets()).into() }))
    }

    /// Whether an answer has headers that may be rewritten.
    pub fn concerns(&self, headers: &HeaderMap) -> bool {
        REWRITTEN.iter().any(|name| headers.contains_key(name))
    }

    /// Rewrites the headers of an answer.
    pub fn apply(&self, headers: &mut HeaderMap, sent_to: &SentTo<'_>) {
        let Some(prefix) = prefix(sent_to.proxys_prefix, &self.context) else { return };
        let view = View { sent_to, prefix: &prefix };
        for (name, value) in headers.iter_mut() {
            let new = if name == header::LOCATION || name == header::CONTENT_LOCATION {
                self.what.location.then(|| view.location(value.as_bytes())).flatten()
            } else if name == header::SET_COOKIE {
                self.what.cookies.then(|| view.cookie(value.as_bytes())).flatten()
            } else {
                None
            };
            if let Some(new) = new.and_then(|octets| HeaderValue::from_bytes(&octets).ok()) {
                *value = new;
            }
        }
    }
}

/// What goes before the paths of an Api at the client. `None`: a proxy said something that is no path.
fn prefix(proxys: Option<&HeaderValue>, context: &str) -> Option<String> {
    let proxys = proxys.map_or(Some(""), |said| said.to_str().ok())?;
    let proxys = proxys.strip_suffix('/').unwrap_or(proxys);
    let is_path = proxys.starts_with('/') && !proxys.starts_with("//") && proxys.bytes().all(is_path_byte);
    (proxys.is_empty() || is_path).then(|| [proxys, context].concat())
}

/// From the upstream's addresses to the client's.
struct View<'a> {
    sent_to: &'a SentTo<'a>,
    prefix: &'a str,
}

impl View<'_> {
    /// The client's form of a URL reference, where it is the upstream's own and has another.
    fn location(&self, written: &[u8]) -> Option<Vec<u8>> {
        let own = self.own(std::str::from_utf8(written).ok()?)?;
        let (path, rest) = own.split_at(own.find(['?', '#']).unwrap_or(own.len()));
        let path = if path.is_empty() { "/" } else { path };
        let below = below(well_formed(path)?, self.sent_to.base_path)?;
        let new = [self.prefix, below].concat();
        let new = if new.is_empty() { "/" } else { &new };
        // Two slashes would begin an authority.
        (!new.starts_with("//")).then(|| [new, rest].concat().into_bytes())
    }

    /// The part of a URL of the upstream from its path on. A relative path needs no other form, and is none.
    fn own<'t>(&self, text: &'t str) -> Option<&'t str> {
        if text.starts_with('/') && !text.starts_with("//") {
            return Some(text);
        }
        let (scheme, rest) = text.split_once("//")?;
        let [of_endpoint, _] = self.sent_to.schemes;
        let scheme = match scheme {
            "" => of_endpoint,
            named => named.strip_suffix(':')?.as_bytes(),
        };
        let (authority, own) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let without_port = |authority| without_default_port(scheme, authority);
        let is_scheme = |other: &[u8]| scheme.eq_ignore_ascii_case(other);
        let is_authority = |other| {
            let (written, other) = (without_port(authority.as_bytes()), without_port(other));
            written.eq_ignore_ascii_case(other)
        };
        let SentTo { schemes, authorities, .. } = *self.sent_to;
        let is_own = schemes.into_iter().any(is_scheme) && authorities.into_iter().any(is_authority);
        let [.., of_client] = authorities;
        (is_own && !(is_authority(of_client) && self.is_public(scheme, own))).then_some(own)
    }

    /// Whether a URL of the client's own host is meant for clients as it is: it leads from http to https, or has the prefix already.
    fn is_public(&self, scheme: &[u8], own: &str) -> bool {
        let [_, of_client] = self.sent_to.schemes;
        let is_upgrade = scheme.eq_ignore_ascii_case(b"https") && of_client.eq_ignore_ascii_case(b"http");
        let path = own.split(['?', '#']).next().unwrap_or_default();
        is_upgrade || (!self.prefix.is_empty() && below(path, self.prefix).is_some())
    }

    /// The client's form of a cookie, where it has another.
    fn cookie(&self, written: &[u8]) -> Option<Vec<u8>> {
        /// Clients take a cookie of such a name with the path `/` only (draft-ietf-httpbis-rfc6265bis, section 4.1.3.2).
        const OF_A_WHOLE_HOST: &[u8] = b"__Host-";
        let name = written.trim_ascii_start().get(..OF_A_WHOLE_HOST.len());
        if name.is_some_and(|name| name.eq_ignore_ascii_case(OF_A_WHOLE_HOST)) {
            return None;
        }
        let mut parts = written.split(|&octet| octet == b';');
        let mut new = parts.next()?.to_vec();
        let mut is_other = false;
        for attribute in parts {
            new.push(b';');
            match self.cookie_path(attribute) {
                Some(path) => {
                    new.extend_from_slice(b" Path=");
                    new.extend_from_slice(path.as_bytes());
                    is_other = true;
                }
                None => new.extend_from_slice(attribute),
            }
        }
        is_other.then_some(new)
    }

    /// The client's form of the path in an attribute `Path=…`.
    fn cookie_path(&self, attribute: &[u8]) -> Option<String> {
        let (name, path) = attribute.split_at(attribute.iter().position(|&octet| octet == b'=')?);
        if !name.trim_ascii().eq_ignore_ascii_case(b"path") {
            return None;
        }
        let path = well_formed(std::str::from_utf8(path[1..].trim_ascii()).ok()?)?;
        let base = self.sent_to.base_path;
        // A cookie for all that lies around the base path is one for all of the Api.
        let below = below(path, base).or_else(|| is_around(path, base).then_some(""))?;
        // A path that ends with a slash does not cover the path without it (RFC 6265 §5.1.4).
        let below = if below == "/" { "" } else { below };
        let new = [self.prefix, below].concat();
        // A proxy's prefix may have one, which would begin an attribute.
        (!new.contains(';')).then(|| if new.is_empty() { "/".to_owned() } else { new })
    }
}

fn without_default_port<'t>(scheme: &[u8], authority: &'t [u8]) -> &'t [u8] {
    let port: &[u8] = if scheme.eq_ignore_ascii_case(b"https") { b":443" } else { b":80" };
    authority.strip_suffix(port).unwrap_or(authority)
}

/// A path that the gateway would take from a client. Browsers remove tabs, so `/<TAB>/evil` would name an authority.
fn well_formed(path: &str) -> Option<&str> {
    let is_clean = path.bytes().all(|octet| octet > b' ' && octet != 0x7F);
    (is_clean && canonical_request(path).is_ok()).then_some(path)
}

/// What of a path is below a base path: empty, or from a `/` on.
fn below<'t>(path: &'t str, base: &str) -> Option<&'t str> {
    path.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a base path is below a path.
fn is_around(path: &str, base: &str) -> bool {
    below(base, path.strip_suffix('/').unwrap_or(path)).is_some()
}

#[cfg(test)]
mod tests;
