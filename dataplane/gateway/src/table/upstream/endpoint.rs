//! One address of an upstream.

use std::sync::Arc;

use http::{HeaderValue, Uri, uri};

use super::{ConnectProfile, UpstreamId};
use crate::health::{Asked, CheckSettings, EjectionSettings, EndpointHealth, EndpointKey, Endpoints};

/// One address of an upstream.
#[derive(Debug)]
pub struct Endpoint {
    /// `http` or `https`.
    pub scheme: uri::Scheme,
    /// `host:port` as in the URL.
    pub authority: uri::Authority,
    /// The `Host` of its requests: its upstream's name, else the authority.
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
    /// The `Host` of all.
    pub(super) named_host: Option<&'a HeaderValue>,
}

impl Endpoint {
    pub(super) fn new(
        place: u16,
        endpoint: hanse_runtime::Endpoint,
        common: &Common<'_>,
        endpoints: &Endpoints,
    ) -> Self {
        let hanse_runtime::Endpoint { url, weight: _, scheme, authority, host, base_path } = endpoint;
        let key = EndpointKey {
            upstream: common.upstream.clone(),
            url: url.into_string(),
            profile: common.profile.id,
            check: common.check.cloned(),
            ejection: common.ejection,
            named_host: common.named_host.cloned(),
        };
        let host = common.named_host.cloned().unwrap_or(host);
        let health = endpoints.get(key, || Asked {
            origin: origin(&scheme, &authority),
            host: host.clone(),
            profile: common.profile.clone(),
        });
        Self { scheme, authority, host, base_path, profile: common.profile.clone(), health, place }
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
