//! What keeps the place of a Route that the gateway cannot use.
//!
//! Example: the control plane publishes `route/acme/orders` with a feature that this gateway does not know. No local Route of another
//! Organization gets the requests for `/orders` meanwhile: they carry keys of clients of `acme`.

use bytes::Bytes;
use hanse_proto::runtime::{self, Operation, Route, Security, resource::Kind};
use hanse_runtime::{Resource, ResourceKind};
use prost::Message as _;

use crate::table::ApiRoutes;

/// A Route at the place of one that cannot be used, where that can be read. It is blocked, and guards every path below its context.
pub(super) fn place_of(unusable: &Bytes) -> Option<ApiRoutes> {
    let read = runtime::Resource::decode(unusable.clone()).ok()?;
    let Some(Kind::Route(route)) = read.kind else { return None };
    let Route { organization, binding, api, version, api_revision, context, hosts, upstream, .. } = route;
    let every = Operation { method: "*".to_owned(), path: "/*".to_owned(), ..Default::default() };
    let key = runtime::ApiKey { header: "x-api-key".to_owned(), query: String::new() };
    let place = Route {
        organization,
        binding,
        api,
        version,
        api_revision,
        context,
        hosts,
        operations: vec![every],
        security: Some(Security { scheme: Some(runtime::security::Scheme::ApiKey(key)) }),
        upstream,
        blocked: true,
        ..Default::default()
    };
    let place = runtime::Resource { kind: Some(Kind::Route(place)), requires: Vec::new() };
    match hanse_runtime::check(ResourceKind::Route, &place.encode_to_vec()).ok()? {
        Resource::Route(route) => Some(ApiRoutes::new(route)),
        _ => None,
    }
}
