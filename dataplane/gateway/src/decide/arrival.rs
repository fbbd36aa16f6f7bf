//! What is to become of a request that a gateway of another region sent.
//!
//! Its entry authenticated the client, and counted the request against the plan. The exit asks whether that gateway may send it, finds the
//! same Route, and sends the request to its upstream. It is never tunnelled again.

use hanse_identity::TunnelPeer;
use hanse_process::seeded;
use http::Method;

use super::{Forward, Head, Matched, Verdict, depart, host, key_query, query};
use crate::{
    problem::Refusal,
    scheme::Scheme,
    table::{RequestPath, RoutingTable, canonical_after},
    tunnel::TunnelHead,
};

fn refused(why: &'static str) -> Refusal {
    Refusal::TunnelRefused { why }
}

/// Decides. `peer` is what the connection showed.
pub(super) fn examine(
    table: &RoutingTable,
    head: &Head<'_>,
    peer: &TunnelPeer,
    matched: &mut Matched,
) -> Result<Verdict, Refusal> {
    let said = TunnelHead::read(head.headers)
        .ok_or_else(|| refused("The gateway that sent it does not say for which Route it is."))?;
    matched.application.clone_from(&said.application);
    let environment = table
        .environment_named(&said.environment)
        .ok_or_else(|| refused("The environment is not served here."))?;
    if !peer.environments.contains(&said.environment) && !seeded("any-environment") {
        return Err(refused("The certificate of the gateway that sent it does not name the environment."));
    }
    if !environment.takes_from(peer.identity.region.as_ref()) {
        return Err(refused("The environment takes no requests from the region that sent it."));
    }
    let host = host::of(head.uri, head.headers, head.version).ok_or(Refusal::BadHost)?;
    let path = RequestPath::parse(head.uri.path()).map_err(|error| Refusal::BadPath(error.to_string()))?;
    let served = environment
        .api(&host, path.canonical())
        .filter(|served| *served.key == *said.route)
        .ok_or_else(|| refused("The Route that it is for does not answer here."))?;
    let routes = &*served.routes;
    (matched.served, matched.host) = (Some(served.clone()), routes.place_of(&host));
    let elsewhere = environment.elsewhere(&host, served).filter(|elsewhere| {
        // One that is older than the decision that sent it here does not know yet that this region serves: it does not count.
        elsewhere.epoch.is_none_or(|own| said.epoch.is_none_or(|sent| own >= sent))
    });
    if elsewhere.is_some() && !seeded("tunnel-again") {
        return Err(refused(
            "This region does not serve the host, and passes on no request of another gateway.",
        ));
    }
    if routes.blocked {
        return Err(Refusal::ApiBlocked);
    }
    let methods = routes
        .operations
        .find(canonical_after(path.canonical(), routes.context.segments()))
        .ok_or(Refusal::NoRoute)?;
    let operation = methods
        .get(head.method)
        .ok_or_else(|| Refusal::MethodNotAllowed { allow: methods.allow().clone() })?;
    matched.operation = Some(operation.clone());
    if seeded("limit-twice")
        && let Some(scheme) = &routes.scheme
    {
        scheme.caller(environment.callers(), head)?;
    }
    let again = elsewhere.map(|elsewhere| depart(environment, served, operation, elsewhere, head, matched));
    let (upstream, departure) = match again.transpose()? {
        Some((upstream, departure)) => (upstream, Some(Box::new(departure))), // only with the seeded bug
        None => (served.upstream.clone().ok_or(Refusal::NoEndpoint)?, None),
    };
    let rest = path.written_after(routes.context.segments());
    Ok(Verdict::Forward(Forward {
        upstream,
        operation: operation.clone(),
        rest_at: head.uri.path().len() - rest.len(),
        query: key_query(routes).and_then(|name| query::without(head.uri.query()?, name)),
        key_header: routes.scheme.as_ref().and_then(Scheme::header).cloned(),
        max_body: u64::MAX, // its size is bounded at the entry
        allow: (head.method == Method::OPTIONS).then(|| methods.allow().clone()),
        departure,
    }))
}
