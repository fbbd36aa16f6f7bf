//! One request: decided, sent on, answered.

use std::{
    net::IpAddr,
    rc::Rc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use hyper::body::Incoming;

use super::{
    activity::Activity,
    body::{RequestBody, ResponseBody},
    forward,
    record::Record,
    upstream::UpstreamError,
    worker::Serving,
};
use crate::{
    decide::{self, Forward, Head, Verdict},
    limit::Clock,
    policy::remove_hop_by_hop,
    problem::Refusal,
    table::Protocol,
};

/// The client is gone, or did not send what it announced: there is nobody to answer.
#[derive(Debug, thiserror::Error)]
#[error("the client left")]
pub(super) struct ClientLeft;

/// The client's side of a connection.
#[derive(Clone)]
pub(super) struct Client {
    /// Its address.
    pub(super) address: IpAddr,
    /// How it speaks to us.
    pub(super) protocol: Protocol,
    /// What its connection is doing, where hyper does not keep an eye on that.
    pub(super) activity: Option<Rc<Activity>>,
}

/// Answers one request.
pub(super) async fn answer(
    serving: Rc<Serving>,
    client: Client,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, ClientLeft> {
    let mut record = Record::open(serving.clone(), &client, &request);
    let origin = request.headers().get(header::ORIGIN).cloned();

    let verdict = {
        // The guard is gone before the first await.
        let table = serving.table.load();
        let head = Head {
            protocol: client.protocol,
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
            content_length: request.body().size_hint().exact(),
            max_body: serving.limits.max_body_bytes,
            now: Clock::now(),
            unix_now,
        };
        let (matched, verdict) = decide::decide(&table, &head);
        record.matched(matched);
        verdict
    };
    let refusal = match verdict {
        Verdict::Preflight(headers) => return Ok(preflight(headers, record)),
        Verdict::Refuse(refusal) => refusal,
        Verdict::Forward(forward) => match send(&serving, &client, request, &forward, &mut record).await? {
            Ok(response) => {
                return Ok(pass_on(response, origin.as_ref(), serving.limits.answer_silence(), record));
            }
            Err(refusal) => refusal,
        },
    };
    Ok(refuse(&refusal, origin.as_ref(), record))
}

/// Sends a request on and waits for the head of its answer.
async fn send(
    serving: &Serving,
    client: &Client,
    request: Request<Incoming>,
    forward: &Forward,
    record: &mut Record,
) -> Result<Result<Response<Incoming>, Refusal>, ClientLeft> {
    let Some(endpoint) = forward.upstream.pick() else { return Ok(Err(Refusal::NoEndpoint)) };
    record.goes_to(endpoint.authority.as_str());
    let (parts, body) = request.into_parts();
    let (body, upload) = RequestBody::new(body, forward.max_body, serving.limits.client_silence());
    let request = match forward::request(parts, body, forward, endpoint, client.address, client.protocol) {
        Ok(request) => request,
        Err(error) => return Ok(Err(Refusal::BadPath(error.to_string()))),
    };
    let timeout = forward.operation.timeout.unwrap_or(forward.upstream.timeout);
    let started = Instant::now();
    let answer = serving.upstreams.exchange(&endpoint.profile, request, timeout, &upload).await;
    record.upstream_took(started.elapsed());
    match answer {
        Ok(response) => Ok(Ok(response)),
        Err(_) if upload.is_too_large() => Ok(Err(Refusal::BodyTooLarge { limit: forward.max_body })),
        Err(_) if upload.is_too_slow() => Ok(Err(Refusal::BodyTimeout)),
        Err(_) if upload.is_broken() => Err(ClientLeft),
        Err(error) => {
            tracing::debug!(
                error = &error as &dyn std::error::Error, endpoint = %endpoint.authority, "no answer from upstream"
            );
            Ok(Err(match error {
                UpstreamError::Timeout => Refusal::UpstreamTimeout,
                UpstreamError::Unreachable(_) | UpstreamError::UnaskedUpgrade => Refusal::UpstreamUnreachable,
            }))
        }
    }
}

/// The upstream's answer, for the client.
fn pass_on(
    response: Response<Incoming>,
    origin: Option<&HeaderValue>,
    silence: Duration,
    mut record: Record,
) -> Response<ResponseBody> {
    let (mut parts, body) = response.into_parts();
    remove_hop_by_hop(&mut parts.headers);
    record.what().decorate(origin, &mut parts.headers);
    record.answered(parts.status);
    let mut response = Response::new(ResponseBody::upstream(body, silence, record));
    *response.status_mut() = parts.status;
    *response.headers_mut() = parts.headers;
    response
}

/// The gateway's own answer.
fn refuse(refusal: &Refusal, origin: Option<&HeaderValue>, mut record: Record) -> Response<ResponseBody> {
    record.refused(refusal.reason());
    let (mut parts, document) = refusal.response().into_parts();
    record.what().decorate(origin, &mut parts.headers);
    record.answered(parts.status);
    Response::from_parts(parts, ResponseBody::whole(document, record))
}

fn preflight(headers: http::HeaderMap, mut record: Record) -> Response<ResponseBody> {
    record.answered(StatusCode::NO_CONTENT);
    let mut response = Response::new(ResponseBody::whole(Bytes::new(), record));
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = headers;
    response
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
