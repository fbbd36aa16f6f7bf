//! What is to become of a request: a function of its head and the routing table, before any I/O.
//!
//! The order is the data-plane contract: not configured 503, route 404, method 405, key 401, subscription 403, size 413,
//! limit 429, upstream.

mod arrival;
pub(crate) mod host;
pub(crate) mod query;

use std::{sync::Arc, time::Duration};

use hanse_identity::TunnelPeer;
use hanse_process::seeded;
use hanse_topology::{Exposure, Name};
use http::{HeaderMap, HeaderValue, Method, Uri, Version, header};

use crate::{
    limit::Clock,
    policy::Cors,
    problem::Refusal,
    scheme::Scheme,
    table::{
        ApiRoutes, Caller, Elsewhere, EnvironmentTable, Operation, Protocol, RequestPath, RoutingTable,
        Served, Upstream, canonical_after, readings,
    },
    tunnel::{HEADER, Peers, TunnelHead},
};

/// An entry waits for so much longer than the exit does for its upstream, so that the exit's answer says what happened.
const EXITS_OWN_TIME: Duration = Duration::from_secs(2);

/// The head of a request, and what else the decision rests on.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// How the client speaks to us.
    pub protocol: Protocol,
    /// By which entry it came.
    pub exposure: Exposure,
    /// From the request line.
    pub method: &'a Method,
    /// From the request line.
    pub uri: &'a Uri,
    /// From the request line.
    pub version: Version,
    /// As received.
    pub headers: &'a HeaderMap,
    /// The body's length, where the head says it.
    pub content_length: Option<u64>,
    /// The gateway's own limit for bodies.
    pub max_body: u64,
    /// For limits.
    pub now: Clock,
    /// Seconds since 1970, for keys that expire. Asked only where needed.
    pub unix_now: fn() -> u64,
    /// The gateways of other regions. Asked only for what those serve. `None`: this gateway has no tunnels, so it serves what it can.
    pub peers: Option<&'a Peers>,
    /// The gateway of another region that sent it; `None`: it is a client's.
    pub sent_by: Option<&'a TunnelPeer>,
}

/// What a request was found to be, as far as the decision got.
#[derive(Debug, Clone, Default)]
pub struct Matched {
    /// The Api.
    pub served: Option<Arc<Served>>,
    /// The host that the request is for, by its place among those of the Api.
    pub host: usize,
    /// The operation.
    pub operation: Option<Arc<Operation>>,
    /// Who calls.
    pub caller: Option<Arc<Caller>>,
    /// Who calls, as the gateway of another region says that sent it.
    pub application: Option<Box<str>>,
}

/// What to do.
#[derive(Debug)]
pub enum Verdict {
    /// Send it on.
    Forward(Forward),
    /// Answer a CORS preflight with 204 and these headers.
    Preflight(HeaderMap),
    /// Answer with a problem.
    Refuse(Refusal),
}

/// How to send it on.
#[derive(Debug)]
pub struct Forward {
    /// Where to.
    pub upstream: Arc<Upstream>,
    /// What was found.
    pub operation: Arc<Operation>,
    /// Where in the path the part after the context begins; the path's length if nothing is left.
    pub rest_at: usize,
    /// The query to send, where it is not the client's.
    pub query: Option<String>,
    /// The header that carries the API key: the upstream does not get it.
    pub key_header: Option<http::HeaderName>,
    /// The most octets its body may have.
    pub max_body: u64,
    /// The methods of the path, where they are asked for (OPTIONS).
    pub allow: Option<HeaderValue>,
    /// How it goes to another region; `None`: it goes to the Api's upstream.
    pub departure: Option<Box<Departure>>,
}

impl Forward {
    /// Up to the head of the answer.
    pub fn timeout(&self) -> Duration {
        match &self.departure {
            None => self.operation.timeout.unwrap_or(self.upstream.timeout),
            Some(departure) => departure.timeout,
        }
    }
}

/// How a request goes to another region.
#[derive(Debug)]
pub struct Departure {
    /// Where to.
    pub region: Name,
    /// What the exit is told.
    pub head: HeaderValue,
    /// Up to the head of the answer.
    pub timeout: Duration,
}

/// Decides.
pub fn decide(table: &RoutingTable, head: &Head<'_>) -> (Matched, Verdict) {
    let mut matched = Matched::default();
    let verdict = match examine(table, head, &mut matched) {
        Ok(verdict) => verdict,
        Err(refusal) => Verdict::Refuse(refusal),
    };
    (matched, verdict)
}

fn examine(table: &RoutingTable, head: &Head<'_>, matched: &mut Matched) -> Result<Verdict, Refusal> {
    if let Some(peer) = head.sent_by {
        return arrival::examine(table, head, peer, matched);
    }
    if !table.is_configured(head.exposure) {
        return Err(Refusal::NotReady);
    }
    let host = host::of(head.uri, head.headers, head.version).ok_or(Refusal::BadHost)?;
    let path = RequestPath::parse(head.uri.path()).map_err(|error| Refusal::BadPath(error.to_string()))?;
    let environment = table.environment(head.protocol, head.exposure, &host).ok_or(Refusal::NoRoute)?;
    let served = environment.api(&host, path.canonical()).ok_or(Refusal::NoRoute)?;
    let routes = &*served.routes;
    (matched.served, matched.host) = (Some(served.clone()), routes.place_of(&host));
    if routes.blocked {
        return Err(Refusal::ApiBlocked);
    }
    let below = canonical_after(path.canonical(), routes.context.segments());
    let methods = routes.operations.find(below).ok_or(Refusal::NoRoute)?;
    if let Some(asked) = Cors::preflight_for(head.method, head.headers)
        && let Some(cors) = methods.get(&asked).map_or(&routes.cors, |operation| &operation.cors)
    {
        return Ok(Verdict::Preflight(cors.preflight(head.headers, &methods.allow_for(&asked))));
    }
    let operation = methods
        .get(head.method)
        .ok_or_else(|| Refusal::MethodNotAllowed { allow: methods.allow().clone() })?;
    let mut is_open =
        operation.open || (seeded("believe-tunnel-header") && head.headers.contains_key(&HEADER));
    if routes.is_open(operation) && !routes.operations.has_literal(below) {
        match guard_of_other_readings(environment, &host, path.canonical(), head.method, served) {
            Guard::None => {}
            Guard::Here => is_open = false,
            Guard::Elsewhere => return Err(Refusal::NoRoute),
        }
    }
    matched.operation = Some(operation.clone());

    if let Some(scheme) = routes.scheme.as_ref().filter(|_| !is_open) {
        matched.caller = Some(scheme.caller(environment.callers(), head)?);
    }
    let grant = match &matched.caller {
        None => None,
        Some(caller) => {
            Some(environment.callers().grant(caller.id, routes.id).ok_or(Refusal::NotSubscribed)?)
        }
    };
    let max_body = max_body(routes, head.max_body);
    if head.content_length.is_some_and(|length| length > max_body) {
        return Err(Refusal::BodyTooLarge { limit: max_body });
    }
    if let Some(bucket) = grant.and_then(|grant| grant.bucket.as_ref()) {
        bucket.take(head.now).map_err(|retry_after| Refusal::OverPlan { retry_after })?;
    }
    // Without tunnels a Shift cannot be followed. A route of other regions cannot be served here in any case.
    let is_followed = |elsewhere: &Elsewhere<'_>| head.peers.is_some() || elsewhere.epoch.is_none();
    let (upstream, departure) = match environment.elsewhere(&host, served).filter(is_followed) {
        None => (served.upstream.clone().ok_or(Refusal::NoEndpoint)?, None),
        Some(elsewhere) => {
            let (upstream, departure) = depart(environment, served, operation, elsewhere, head, matched)?;
            (upstream, Some(Box::new(departure)))
        }
    };
    let rest_at = match &departure {
        // The path goes as it came: the exit finds the Route anew.
        Some(_) => 0,
        None => head.uri.path().len() - path.written_after(routes.context.segments()).len(),
    };
    Ok(Verdict::Forward(Forward {
        upstream,
        operation: operation.clone(),
        rest_at,
        query: key_query(routes).and_then(|name| query::without(head.uri.query()?, name)),
        key_header: routes.scheme.as_ref().and_then(Scheme::header).cloned(),
        max_body,
        allow: (head.method == Method::OPTIONS).then(|| methods.allow().clone()),
        departure,
    }))
}

/// The gateways of a serving region, and what they are told. This region serves none of it, also where none of those can be reached.
fn depart(
    environment: &EnvironmentTable,
    served: &Served,
    operation: &Operation,
    elsewhere: Elsewhere<'_>,
    head: &Head<'_>,
    matched: &Matched,
) -> Result<(Arc<Upstream>, Departure), Refusal> {
    let Elsewhere { regions, epoch } = elsewhere;
    let unreachable = || Refusal::TunnelUnreachable { region: regions[0].clone() };
    let name = environment.scope().environment().ok_or_else(unreachable)?;
    let (region, upstream) = head.peers.and_then(|peers| peers.of(name, regions)).ok_or_else(unreachable)?;
    let said = TunnelHead {
        environment: name.clone(),
        route: (*served.key).into(),
        epoch,
        application: matched.caller.as_ref().map(|caller| caller.application.clone()),
    };
    let timeout = operation.timeout.or(served.upstream.as_ref().map(|own| own.timeout));
    let timeout = timeout.unwrap_or(upstream.timeout).saturating_add(EXITS_OWN_TIME);
    Ok((upstream, Departure { region, head: said.write().ok_or_else(unreachable)?, timeout }))
}

/// Where a path is that of an operation that is not open, as some upstream reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guard {
    None,
    /// In the Api found: its callers may call that operation.
    Here,
    /// In another Route of the host, or the path is too long to say.
    Elsewhere,
}

/// What guards the other readings of a path that is open as it is read here. An open operation is no way round a guard.
///
/// The request goes to the upstream of the Organization of `found`. So each reading is looked up among the Apis of that Organization,
/// also where another Organization owns it. A request without an owner may also be one for another Organization, as its upstream reads it. Then the reading is
/// looked up as a request, too. Two Routes may name one Api and differ in who may call, so Routes are compared.
fn guard_of_other_readings(
    environment: &EnvironmentTable,
    host: &str,
    path: &[u8],
    method: &Method,
    found: &Served,
) -> Guard {
    let guards = |served: &Served, reading: &[u8]| {
        let routes = &served.routes;
        routes.guards(method, canonical_after(reading, routes.context.segments()))
    };
    let Some(readings) = readings(path) else { return Guard::Elsewhere };
    let is_owned = environment.owner(host, path).is_some();
    let is_guarded = |other: Option<&Arc<Served>>, reading: &[u8]| {
        other.is_some_and(|other| !std::ptr::eq(&**other, found) && guards(other, reading))
    };
    let elsewhere = |reading: &Vec<u8>| {
        is_guarded(environment.api_of(&found.routes.organization, host, reading), reading)
            || (!is_owned && is_guarded(environment.api(host, reading), reading))
    };
    if readings.iter().any(elsewhere) {
        Guard::Elsewhere
    } else if readings.iter().any(|reading| guards(found, reading)) {
        Guard::Here
    } else {
        Guard::None
    }
}

/// An Api may allow less than the gateway, never more.
fn max_body(routes: &ApiRoutes, gateway: u64) -> u64 {
    routes.max_body.map_or(gateway, |own| own.min(gateway))
}

fn key_query(routes: &ApiRoutes) -> Option<&str> {
    routes.scheme.as_ref()?.query()
}

impl Matched {
    /// Does to an answer's headers what the Api's policies say: the gateway's own answers included, so that browsers may
    /// read them. `origin` is the request's.
    pub fn decorate(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        if let Some(operation) = &self.operation {
            operation.response_headers.apply(headers);
        }
        if let Some(cors) = self.cors() {
            cors.decorate(origin, headers);
        }
        if self.served.as_ref().is_some_and(|served| served.routes.deprecated) {
            headers.insert(DEPRECATION, HeaderValue::from_static(SOME_TIME_AGO));
        }
    }

    /// The CORS policy that holds.
    fn cors(&self) -> Option<&Cors> {
        match (&self.operation, &self.served) {
            (Some(operation), _) => operation.cors.as_deref(),
            (None, Some(served)) => served.routes.cors.as_deref(),
            (None, None) => None,
        }
    }
}

/// RFC 9745.
const DEPRECATION: header::HeaderName = header::HeaderName::from_static("deprecation");
/// RFC 9745 wants a date. Since when is not in the model; that it is, this says.
const SOME_TIME_AGO: &str = "@0";

pub use host::of as host_of;

#[cfg(test)]
mod tests;
