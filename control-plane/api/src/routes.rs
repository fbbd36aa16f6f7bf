//! The router: one entry per operation, one way through it.

use std::sync::atomic::Ordering;

use axum::{
    Router,
    extract::{Request, State},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use hanse_management::{Kind, Problem, ProblemName};
use http::{HeaderValue, Method, StatusCode, Uri, header};

use crate::{
    OperatorApi, apply, authenticate, bounds::SMALL_BODY, call::Call, convergence, held, list, members,
    observe, openapi, operation::Operation, rejection::Rejection, resource, roots, status, watch,
};

/// The operator API as one router.
pub fn router(api: OperatorApi) -> Router {
    let mut router = Router::new();
    for operation in Operation::all() {
        let answer = move |State(api): State<OperatorApi>, request: Request| answer(api, operation, request);
        router = router.route(&operation.path(), on(operation.method(), answer));
    }
    router
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(api.clone(), observe::observe))
        .with_state(api)
}

/// The way of every request: authentication, then a strict reading of path and query, then the work.
async fn answer(api: OperatorApi, operation: Operation, request: Request) -> Result<Response, Rejection> {
    let actor =
        if operation.is_open() { None } else { Some(authenticate::authenticate(&api, request.headers())?) };
    let call = Call::read(api.clone(), operation, actor, request).await?;
    let restarted = call.restarted();
    let refusable = operation.method() == MethodFilter::GET || call.is_dry_run();
    // The answer to a write is about as large as what was written. After the write it is too late to refuse.
    let before = match refusable || call.body_len() <= SMALL_BODY {
        true => None,
        false => Some(api.bounds.untaken(call.body_len(), &api.metrics)?),
    };
    let mut response = work(call, operation).await.into_response();
    // The description is one text that all answers share.
    if operation != Operation::OpenApi {
        response = held::hold(response, before, refusable, &api.bounds, &api.metrics).await?;
    }
    if restarted.load(Ordering::Relaxed) {
        response.headers_mut().insert(RESTARTED_HEADER, HeaderValue::from_static("true"));
    }
    Ok(response)
}

async fn work(call: Call, operation: Operation) -> Result<Response, Rejection> {
    match operation {
        Operation::List(kind) => list::list(call, kind).await,
        Operation::Get(kind) => resource::get(call, kind).await,
        Operation::Put(kind) => resource::put(call, kind).await,
        Operation::Delete(kind) => resource::delete(call, kind).await,
        Operation::Apply => apply::apply(call).await,
        Operation::Watch => watch::watch(call).await,
        Operation::Convergence => convergence::answer(call).await,
        Operation::Status => status::status(call).await,
        Operation::Members => members::members(call).await,
        Operation::Revocations => members::revocations(call).await,
        Operation::Revoke => members::revoke(call).await,
        Operation::Readmit => members::readmit(call).await,
        Operation::Roots => roots::roots(call).await,
        Operation::TrustRoot => roots::trust(call).await,
        Operation::UseRoot => roots::issue_from(call).await,
        Operation::DropRoot => roots::drop_root(call).await,
        Operation::Metrics => Ok(status::metrics(&call)),
        Operation::OpenApi => Ok(openapi::answer()),
        Operation::Livez => Ok("ok\n".into_response()),
        Operation::Readyz => status::readyz(&call),
    }
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
        Ok(kind) => format!("{kind} resources are at {}", Operation::List(kind).path()),
        Err(unknown) => format!("{unknown}; GET /openapi.json lists every path"),
    }
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let path = uri.path();
    let problem = Problem::new(ProblemName::BadRequest, format!("{method} is not possible on {path:?}"));
    let of_server = path.split('/').any(|segment| segment == Kind::ApiRevision.plural());
    let remedy = if of_server {
        "ApiRevisions are written by the server only: change the Api and the next one is made"
    } else {
        "use one of the methods in the Allow header"
    };
    Rejection::from(problem.remedy(remedy)).with_status(StatusCode::METHOD_NOT_ALLOWED).into_response()
}

/// JSON with the revision it speaks of. What may be large is written by [`Call::answer`].
pub(crate) fn json(
    status: StatusCode,
    revision: hanse_management::Revision,
    body: serde_json::Value,
) -> Response {
    json_text(status, revision, serde_json::to_vec(&body).expect("a JSON value is JSON"))
}

/// JSON text with the revision it speaks of.
pub(crate) fn json_text(
    status: StatusCode,
    revision: hanse_management::Revision,
    mut text: Vec<u8>,
) -> Response {
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
