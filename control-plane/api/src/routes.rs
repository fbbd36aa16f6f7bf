//! The router: every operation by its description, one way through all of them.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use hanse_management::{Kind, Problem, ProblemName, Revision, Written};
use http::{HeaderValue, Method, StatusCode, Uri, header};
use serde::Serialize;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter, UtoipaMethodRouterExt};

use crate::{
    OperatorApi, apply, approvals, audit, authenticate, bounds::SMALL_BODY, call::Call, convergence, dump,
    failover, federation_key, held, kinds, members, observe, openapi, operation::Operation,
    rejection::Rejection, roots, status, upgrade, watch, whoami,
};

/// One operation: its handler with its description and the schemas that this needs.
pub(crate) type Route = UtoipaMethodRouter<OperatorApi>;

/// The operator API as one router.
pub fn router(api: OperatorApi) -> Router {
    collect(|route| strict(route, &api))
        .split_for_parts()
        .0
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(api.clone(), observe::observe))
        .with_state(api)
}

/// Every operation there is, in one router that knows their descriptions too.
pub(crate) fn collect(prepare: impl Fn(Route) -> Route) -> OpenApiRouter<OperatorApi> {
    let all = [
        kinds::routes(),
        apply::routes(),
        approvals::routes(),
        failover::routes(),
        dump::routes(),
        watch::routes(),
        convergence::routes(),
        status::routes(),
        members::routes(),
        roots::routes(),
        federation_key::routes(),
        upgrade::routes(),
        whoami::routes(),
        audit::routes(),
        #[cfg(feature = "next")]
        crate::motto::routes(),
        openapi::routes(),
    ];
    let all = all.into_iter().flatten().map(openapi::complete).map(prepare);
    all.fold(OpenApiRouter::with_openapi(openapi::frame()), OpenApiRouter::routes)
}

/// Has every request for it go the one way.
fn strict(mut route: Route, api: &OperatorApi) -> Route {
    let item = route.1.paths.values_mut().next().expect("a route has a path");
    let operation = Arc::new(Operation::of(item));
    route.map(|handler| handler.route_layer(from_fn_with_state((api.clone(), operation), answer)))
}

/// The way of every request: authentication, then a strict reading of path and query, then the work.
async fn answer(
    State((api, operation)): State<(OperatorApi, Arc<Operation>)>,
    request: Request,
    next: Next,
) -> Result<Response, Rejection> {
    let actor =
        if operation.is_open() { None } else { Some(authenticate::authenticate(&api, request.headers())?) };
    let refusable = !operation.is_write;
    let (mut parts, body) = request.into_parts();
    let call = Call::read(api.clone(), operation, actor, &mut parts, body).await?;
    let restarted = call.restarted();
    let refusable = refusable || call.is_dry_run();
    // The answer to a write is about as large as what was written. After the write it is too late to refuse.
    let before = match refusable || call.body_len() <= SMALL_BODY {
        true => None,
        false => Some(api.bounds.untaken(call.body_len(), &api.metrics)?),
    };
    parts.extensions.insert(call);
    let response = next.run(Request::from_parts(parts, Body::empty())).await;
    let mut response = held::hold(response, before, refusable, &api.bounds, &api.metrics).await?;
    if restarted.load(Ordering::Relaxed) {
        response.headers_mut().insert(RESTARTED_HEADER, HeaderValue::from_static("true"));
    }
    Ok(response)
}

async fn unknown_path(uri: Uri) -> Rejection {
    let path = uri.path();
    let problem = Problem::new(ProblemName::NotFound, format!("there is nothing at {path:?}"));
    problem.remedy(remedy_for_path(path)).into()
}

/// What a person who typed this path probably wanted.
fn remedy_for_path(path: &str) -> String {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let collection = match segments[..] {
        ["v1", "organizations", _, collection, ..] | ["v1", collection, ..] => collection,
        _ => return "GET /openapi.json lists every path".to_owned(),
    };
    match Kind::from_word(collection) {
        Ok(kind) => format!("{kind} resources are at {}", kinds::collection(kind)),
        Err(unknown) => format!("{unknown}; GET /openapi.json lists every path"),
    }
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let path = uri.path();
    let problem = Problem::new(ProblemName::BadRequest, format!("{method} is not possible on {path:?}"));
    let mut made = path.split('/').filter_map(Kind::from_plural).map(Kind::written);
    let remedy = match made.next_back() {
        Some(Written::ByApply) => {
            "the control plane makes these: change the Api and its next ApiRevision is made"
        }
        Some(Written::ByHandlers) => {
            "the control plane makes these: no operator writes a decision about failover"
        }
        Some(Written::ByOperators) | None => "use one of the methods in the Allow header",
    };
    Rejection::from(problem.remedy(remedy)).with_status(StatusCode::METHOD_NOT_ALLOWED).into_response()
}

/// JSON with the revision it speaks of. What may be large is written by [`Call::answer`].
pub(crate) fn json(status: StatusCode, revision: Revision, answer: &impl Serialize) -> Response {
    json_text(status, revision, serde_json::to_vec(answer).expect("an answer has string keys only"))
}

/// JSON text with the revision it speaks of.
pub(crate) fn json_text(status: StatusCode, revision: Revision, mut text: Vec<u8>) -> Response {
    text.shrink_to_fit(); // what it takes is what is counted
    const JSON: HeaderValue = HeaderValue::from_static("application/json");
    let mut response = (status, [(header::CONTENT_TYPE, JSON)], text).into_response();
    let revision = HeaderValue::from(revision);
    response.headers_mut().insert(REVISION_HEADER, revision);
    response
}

/// The state's revision after a write, or that a read was answered from.
pub(crate) const REVISION_HEADER: header::HeaderName = header::HeaderName::from_static("hanse-revision");

/// On an answer from what a node has: it may be older than what the same node answered before its last restart.
pub(crate) const RESTARTED_HEADER: header::HeaderName = header::HeaderName::from_static("hanse-restarted");
