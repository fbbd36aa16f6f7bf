//! One address of an upstream.

use std::sync::Arc;

use http::{HeaderValue, Uri, uri};

use super::{ConnectProfile, UpstreamId};
use crate::{
    health::{Asked, CheckSettings, EjectionSettings, EndpointHealth, EndpointKey, Endpoints},
    resource::Unusable,
};

/// One address of an upstream.
#[derive(Debug)]
pub struct Endpoint {
    /// `http` or `https`.
    pub scheme: uri::Scheme,
    /// `host:port` as in the URL.
    pub authority: uri::Authority,
    /// The authority as the `Host` header.
    pub host: HeaderValue,
    /// What goes before a request's path: empty, or `/` and segments without a final `/`.
    pub base_path: Box<str>,
    /// How to connect.
    pub profile: Arc<ConnectProfile>,
    /// How it is; the same through every change of its upstream that leaves it as it is.
    pub health: Arc<EndpointHealth>,
    /// Among its upstream's.
    pub(in crate::table) place: u16,
}

/// What the endpoints of one upstream have in common.
pub(super) struct Common<'a> {
    pub(super) upstream: &'a UpstreamId,
    pub(super) profile: &'a Arc<ConnectProfile>,
    pub(super) check: Option<&'a CheckSettings>,
    pub(super) ejection: EjectionSettings,
}

/// An endpoint's URL, taken apart.
struct Address {
    scheme: uri::Scheme,
    authority: uri::Authority,
    host: HeaderValue,
    base_path: Box<str>,
}

impl Address {
    fn parse(url: &str) -> Result<Self, Unusable> {
        let refuse = |why: &str| Unusable::new("endpoints.url", format!("{url:?} {why}"));
        let parsed: Uri = url.parse().map_err(|_| refuse("is not a URL"))?;
        let parts = parsed.into_parts();
        let scheme = parts
            .scheme
            .filter(|scheme| *scheme == uri::Scheme::HTTP || *scheme == uri::Scheme::HTTPS)
            .ok_or_else(|| refuse("is neither http:// nor https://"))?;
        let authority = parts.authority.ok_or_else(|| refuse("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("carries a user name, which is not sent"));
        }
        let path = parts.path_and_query.unwrap_or_else(|| uri::PathAndQuery::from_static("/"));
        if path.query().is_some() {
            return Err(refuse("carries a query, which is not sent"));
        }
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| refuse("has no valid host"))?;
        let base_path = path.path().trim_end_matches('/').into();
        Ok(Self { scheme, authority, host, base_path })
    }
}

impl Endpoint {
    pub(super) fn new(
        place: u16,
        url: &str,
        common: &Common<'_>,
        endpoints: &Endpoints,
    ) -> Result<Self, Unusable> {
        let Address { scheme, authority, host, base_path } = Address::parse(url)?;
        let key = EndpointKey {
            upstream: common.upstream.clone(),
            url: url.to_owned(),
            profile: common.profile.id,
            check: common.check.cloned(),
            ejection: common.ejection,
        };
        let health = endpoints.get(key, || Asked {
            origin: origin(&scheme, &authority),
            host: host.clone(),
            profile: common.profile.clone(),
        });
        Ok(Self { scheme, authority, host, base_path, profile: common.profile.clone(), health, place })
    }

    /// `scheme://authority/`.
    pub fn origin(&self) -> Uri {
        origin(&self.scheme, &self.authority)
    }
}

fn origin(scheme: &uri::Scheme, authority: &uri::Authority) -> Uri {
    let mut parts = uri::Parts::default();
    parts.scheme = Some(scheme.clone());
    parts.authority = Some(authority.clone());
    parts.path_and_query = Some(uri::PathAndQuery::from_static("/"));
    Uri::from_parts(parts).expect("scheme, authority and path make a URI")
}
