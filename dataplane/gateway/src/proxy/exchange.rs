//! One request: decided, sent on, answered.

use std::{
    rc::Rc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use hanse_topology::Exposure;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;

use super::{
    activity::Activity,
    body::ResponseBody,
    framing,
    hops::{self, Forwards},
    origin::{self, Party, Trust},
    places::Place,
    record::Record,
    tries,
    worker::Serving,
};
use crate::{
    decide::{self, Head, Verdict},
    limit::Clock,
    policy::remove_hop_by_hop,
    problem::Refusal,
    table::Protocol,
};

/// The client is gone, or did not send what it announced: there is no client to answer.
#[derive(Debug, thiserror::Error)]
#[error("the client left")]
pub(super) struct ClientLeft;

/// The client's side of a connection.
#[derive(Clone)]
pub(super) struct Client {
    /// The other side of the connection.
    pub(super) peer: Rc<Party>,
    /// What is believed of it.
    pub(super) trust: Trust,
    /// Whose requests it hands on: its own, or those of a client behind it.
    pub(super) origin: Rc<Party>,
    /// How it speaks to us.
    pub(super) protocol: Protocol,
    /// By which entry it came.
    pub(super) exposure: Exposure,
    /// What its requests are counted on.
    pub(super) place: Rc<Place>,
    /// What its connection is doing, where hyper does not keep an eye on that.
    pub(super) activity: Option<Rc<Activity>>,
}

/// Answers one request.
pub(super) async fn answer(
    serving: Rc<Serving>,
    client: Client,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, ClientLeft> {
    let may_be_kept = request.version() < Version::HTTP_2;
    let mut response = settle(serving.clone(), client, request).await?;
    if may_be_kept && serving.draining.get() {
        // The next request comes on another connection, at best to another gateway: this one is closed unhurried.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

async fn settle(
    serving: Rc<Serving>,
    mut client: Client,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, ClientLeft> {
    if client.trust == Trust::Proxy {
        client.origin = origin::behind(&client.peer, request.headers(), &serving.trusted_proxies);
    }
    let mut record = Record::open(serving.clone(), &client, &request);
    let origin = request.headers().get(header::ORIGIN).cloned();
    let is_head = request.method() == Method::HEAD;

    let checked =
        framing::check(&request).and_then(|()| hops::check_loop(request.headers(), &serving.loop_id));
    if let Err(refusal) = checked {
        return Ok(refuse(&refusal, is_head, origin.as_ref(), record));
    }
    let verdict = {
        // The guard is gone before the first await.
        let table = serving.table.load();
        let head = Head {
            protocol: client.protocol,
            exposure: client.exposure,
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
        Verdict::Forward(forward)
            if hops::max_forwards(request.method(), request.headers()) == Forwards::Spent =>
        {
            let (parts, _) = request.into_parts();
            return Ok(answer_for_upstream(hops::answer(&parts, &forward), origin.as_ref(), record));
        }
        Verdict::Forward(forward) => {
            match tries::send(&serving, &client, request, &forward, &mut record).await {
                Ok(response) => {
                    return Ok(pass_on(response, origin.as_ref(), serving.limits.answer_silence(), record));
                }
                Err(error) => error.refusal(forward.max_body).ok_or(ClientLeft)?,
            }
        }
    };
    Ok(refuse(&refusal, is_head, origin.as_ref(), record))
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
fn refuse(
    refusal: &Refusal,
    is_head: bool,
    origin: Option<&HeaderValue>,
    mut record: Record,
) -> Response<ResponseBody> {
    record.refused(refusal.reason());
    let (mut parts, mut document) = refusal.response().into_parts();
    record.what().decorate(origin, &mut parts.headers);
    if is_head {
        // hyper leaves the body out of HTTP/1 alone; clients of HTTP/2 reset a stream that has one.
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(document.len()));
        document = Bytes::new();
    }
    record.answered(parts.status);
    Response::from_parts(parts, ResponseBody::whole(document, record))
}

/// The gateway's own answer where the upstream's would have been.
fn answer_for_upstream(
    response: Response<Bytes>,
    origin: Option<&HeaderValue>,
    mut record: Record,
) -> Response<ResponseBody> {
    let (mut parts, body) = response.into_parts();
    record.what().decorate(origin, &mut parts.headers);
    record.answered(parts.status);
    Response::from_parts(parts, ResponseBody::whole(body, record))
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
