//! One request: decided, sent on, answered.

use std::{
    rc::Rc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use hanse_identity::TunnelPeer;
use hanse_topology::{Exposure, Name};
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
    decide::{self, Forward, Head, Verdict},
    limit::Clock,
    policy::remove_hop_by_hop,
    problem::Refusal,
    table::Protocol,
    tunnel::Direction,
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
    /// The gateway of another region that it is; `None`: it is a client.
    pub(super) entry: Option<Rc<EntryGateway>>,
}

/// A gateway of another region, at the other end of a connection.
pub(super) struct EntryGateway {
    /// By its leaf.
    pub(super) peer: TunnelPeer,
    /// Where it is.
    pub(super) region: Name,
    /// Since when.
    pub(super) since: Instant,
}

impl EntryGateway {
    /// Whether the connection is to take no more requests: the gateway may have another leaf now, which names other environments.
    fn is_outdated(&self) -> bool {
        self.since.elapsed() >= RENEWED_WITHIN
    }
}

/// A connection between gateways takes requests for so long: a leaf that names fewer environments counts after that at the latest.
const RENEWED_WITHIN: Duration = Duration::from_secs(600);

/// Answers one request.
pub(super) async fn answer(
    serving: Rc<Serving>,
    client: Client,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, ClientLeft> {
    let may_be_kept = request.version() < Version::HTTP_2;
    let is_outdated = client.entry.as_ref().is_some_and(|entry| entry.is_outdated());
    let mut response = settle(serving.clone(), client, request).await?;
    let is_to_close = serving.draining.get() || is_outdated;
    if may_be_kept && is_to_close {
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
    if client.entry.is_some() {
        client.origin = origin::stated(&client.peer, request.headers());
    } else if client.trust == Trust::Proxy {
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
    if let Some(entry) = &client.entry
        && !record.tunnels(Direction::In, &entry.region)
    {
        return Ok(refuse(&Refusal::TunnelFull, is_head, origin.as_ref(), record));
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
            peers: serving.tunnels.peers.as_ref(),
            sent_by: client.entry.as_ref().map(|entry| &entry.peer),
        };
        let (matched, verdict) = decide::decide(&table, &head);
        record.matched(matched);
        verdict
    };
    let refusal = match verdict {
        Verdict::Preflight(headers) => return Ok(preflight(headers, record)),
        Verdict::Refuse(refusal) => {
            if let Refusal::TunnelUnreachable { region } = &refusal {
                record.finds_no_way(region);
            }
            refusal
        }
        Verdict::Forward(forward)
            if hops::max_forwards(request.method(), request.headers()) == Forwards::Spent =>
        {
            let (parts, _) = request.into_parts();
            return Ok(answer_for_upstream(hops::answer(&parts, &forward), origin.as_ref(), record));
        }
        Verdict::Forward(Forward { departure: Some(departure), .. })
            if !record.tunnels(Direction::Out, &departure.region) =>
        {
            Refusal::TunnelFull
        }
        Verdict::Forward(forward) => {
            match tries::send(&serving, &client, request, &forward, &mut record).await {
                Ok(response) if forward.departure.is_some() => {
                    return Ok(hand_back(response, serving.limits.answer_silence(), record));
                }
                Ok(response) => {
                    return Ok(pass_on(response, origin.as_ref(), serving.limits.answer_silence(), record));
                }
                Err(error) => match &forward.departure {
                    Some(departure) if error.has_reached_none() => {
                        Refusal::TunnelUnreachable { region: departure.region.clone() }
                    }
                    _ => error.refusal(forward.max_body).ok_or(ClientLeft)?,
                },
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

/// An exit's answer, for the client. The exit did to it what policies say.
fn hand_back(response: Response<Incoming>, silence: Duration, mut record: Record) -> Response<ResponseBody> {
    let (mut parts, body) = response.into_parts();
    remove_hop_by_hop(&mut parts.headers);
    record.exit_answered(parts.status);
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
