//! Around every request: its id, its span, its metrics, and a net under panics.

use std::{panic::AssertUnwindSafe, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use hanse_management::{Problem, ProblemName};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tracing::Instrument;

use crate::{OperatorApi, rejection::Rejection};

const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Longer ids are replaced: they go into every log line and every command.
const MAX_REQUEST_ID: usize = 128;
/// The route label of paths that no operation has, so that scanners cannot make label values.
const UNMATCHED: &str = "unmatched";

/// The request's id, in its extensions.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// The outermost layer.
pub(crate) async fn observe(State(api): State<OperatorApi>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let method = known_method(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or(UNMATCHED, |path| path.as_str()).to_owned();
    let actor = tracing::field::Empty;
    let span = tracing::debug_span!("request", id, method, route, actor);
    request.extensions_mut().insert(RequestId(id.clone()));

    let mut response = AssertUnwindSafe(next.run(request).instrument(span.clone()))
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| span.in_scope(|| answer_panic(&*panic)));

    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID_HEADER, id);
    }
    let (status, took) = (response.status().as_u16(), started.elapsed());
    api.metrics.answered(&route, method, status, took);
    span.in_scope(|| tracing::debug!(status, ms = took.as_millis(), "request answered"));
    response
}

/// The caller's id if it is fit for logs, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID_HEADER).and_then(|id| id.to_str().ok());
    match given {
        Some(id)
            if (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            id.to_owned()
        }
        _ => hex::encode(rand::random::<[u8; 16]>()),
    }
}

fn known_method(method: &Method) -> &'static str {
    const KNOWN: [Method; 7] = [
        Method::GET,
        Method::HEAD,
        Method::PUT,
        Method::POST,
        Method::DELETE,
        Method::PATCH,
        Method::OPTIONS,
    ];
    const NAMES: [&str; 7] = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"];
    KNOWN.iter().zip(NAMES).find(|(known, _)| *known == method).map_or("other", |(_, name)| name)
}

fn answer_panic(panic: &(dyn std::any::Any + Send)) -> Response {
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    tracing::error!(panic = said, "a request handler panicked");
    let problem = Problem::new(ProblemName::Internal, "the request hit a defect of the server")
        .remedy("report it with the X-Request-Id of this answer; a write may have happened");
    Rejection::from(problem).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_fit_for_logs_are_kept() {
        let id_for = |given: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID_HEADER, HeaderValue::from_str(given).unwrap());
            request_id(&headers)
        };
        assert_eq!(id_for("deploy-7/a"), "deploy-7/a");
        for odd in ["", "two words", &"x".repeat(129)] {
            assert_eq!(id_for(odd).len(), 32, "{odd:?}");
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }

    #[test]
    fn method_labels_are_bounded() {
        assert_eq!(known_method(&Method::PUT), "PUT");
        assert_eq!(known_method(&Method::from_bytes(b"BREW").unwrap()), "other");
    }
}
