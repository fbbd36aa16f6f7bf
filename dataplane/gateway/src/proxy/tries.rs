//! A request's way to an upstream: one try, or several where that is safe.
//!
//! The whole of what is ever sent twice:
//! - a request that certainly reached no endpoint: no connection came about, or it ended before it took the request;
//! - an idempotent request, with no body or a small one of known length, whose connection broke before the head of
//!   the answer was there, or that was answered with a status, or not answered in one try's time, as the upstream's
//!   policy says.
//!
//! All within the policy's attempts, the budget and the request's time, and before anything of an answer goes to the
//! client. hyper gives a request back only where its connection task never took it, so that nothing was written.
//!
//! A kept connection may be closed by its endpoint at any time, and says so only when a request is on its way. That is
//! no failure of the endpoint: what may be repeated after it goes once more, there, on a new connection; what may not
//! never goes on a connection that may have waited for longer than endpoints wait.
//!
//! An endpoint that the egress denies is passed over for another, and for a moment by other requests, too. That is no try: no octet
//! went anywhere. A request never comes back to an endpoint that it passed over.

use std::{future::Future, pin::pin, sync::atomic::Ordering, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, request::Parts};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::{
    body::{RequestBody, RequestBodyError, Upload},
    exchange::Client,
    forward, framing,
    outgoing::{self, X_FORWARDED_HOST, X_FORWARDED_PREFIX, X_FORWARDED_PROTO},
    record::Record,
    upstream::{Resend, Reuse, STALE_WITHIN, Sender, Side, UpstreamError},
    worker::Serving,
};
use crate::{
    decide::Forward,
    health::{Failure, millis},
    metrics::Retry,
    policy::SentTo,
    table::{Endpoint, Tried, is_idempotent},
};

/// A timeout above this is none: clocks must not overflow.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Cleared header maps that a thread keeps for what it sends: requests that it has in flight at once, and more are made anew.
const SPARE_MAPS: usize = 64;

/// One client's request on its way.
struct Sending<'a> {
    serving: &'a Serving,
    client: &'a Client,
    forward: &'a Forward,
    upload: Upload,
    begun: Instant,
    timeout: Duration,
    /// For each try, where it may be repeated.
    per_try: Option<Duration>,
    /// It may be repeated even after it was sent.
    repeatable: bool,
    /// Which kept connections it may go on.
    reuse: Reuse,
    /// The client's head.
    parts: Parts,
    payload: Payload,
}

/// What there is to send.
enum Payload {
    /// A body: the client's, or the same once more.
    Body(RequestBody),
    /// Made for an endpoint, and given back.
    Unsent(Request<RequestBody>),
    /// Nothing: it was sent.
    Sent,
}

/// Bodies up to this are waited for and kept, so that an idempotent request can be repeated: documents of APIs, mostly in
/// one piece with the head; what is larger streams, and goes once.
const GATHERED: u64 = 64 << 10;

type Answer = Result<Response<Incoming>, UpstreamError>;

/// Sends a request on and waits for the head of its answer.
pub(super) async fn send(
    serving: &Serving,
    client: &Client,
    request: Request<Incoming>,
    forward: &Forward,
    record: &mut Record,
) -> Answer {
    let (parts, body) = request.into_parts();
    let (silence, key_header) = (serving.limits.client_silence(), forward.key_header.clone());
    let (mut body, upload) = RequestBody::new(body, parts.version, forward.max_body, silence, key_header);
    record.uploads(&upload);
    let policy = &forward.upstream.retry;
    let idempotent = policy.repeats() && is_idempotent(&parts.method);
    if idempotent {
        body = body.gathered(GATHERED).await.map_err(|error| match error {
            RequestBodyError::TooLarge => UpstreamError::TooLarge,
            RequestBodyError::TooSlow => UpstreamError::TooSlow,
            RequestBodyError::Malformed(_) => UpstreamError::BadBody,
            RequestBodyError::Broken(_) => UpstreamError::ClientLeft,
        })?;
    }
    let again = body.again();
    let repeatable = idempotent && again.is_some();
    let begun = Instant::now();
    let mut sending = Sending {
        serving,
        client,
        forward,
        // A body that is here as a whole has no upload to wait for.
        upload: if again.is_some() { Upload::default() } else { upload },
        begun,
        timeout: forward.timeout().min(LONGEST),
        per_try: policy
            .per_try_timeout
            .filter(|_| repeatable && policy.has_status(StatusCode::GATEWAY_TIMEOUT))
            .map(|time| time.min(LONGEST)),
        repeatable,
        reuse: if repeatable && policy.reset_before_response { Reuse::Any } else { Reuse::Young },
        parts,
        payload: Payload::Body(body),
    };
    let answer = sending.run(record).await;
    serving.spare_maps.give_back(sending.parts.headers);
    record.upstream_took(begun.elapsed());
    answer
}

impl Sending<'_> {
    /// Tries until there is an answer, or nothing more to try.
    async fn run(&mut self, record: &mut Record) -> Answer {
        let upstream = &*self.forward.upstream;
        upstream.budget().request(self.serving.index, millis(self.begun.into_std()));
        let (mut tried, mut begun, mut stale, mut denied) = (Tried::default(), self.begun, None, None);
        loop {
            let endpoint = match stale.take() {
                Some(endpoint) => endpoint,
                None => {
                    // Where the last one was denied and there is no other, that is the answer.
                    let none = denied.take().unwrap_or(UpstreamError::NoEndpoint);
                    let endpoint = upstream.pick(&tried).ok_or(none)?;
                    tried.add(endpoint);
                    record.goes_to(endpoint.authority.as_str());
                    endpoint
                }
            };
            let answer = self.attempt(endpoint, begun).await;
            self.learn(endpoint, &answer);
            let answer = match answer {
                Err(error @ UpstreamError::EgressDenied(_)) => {
                    tried.pass_over(endpoint);
                    denied = Some(error);
                    begun = Instant::now();
                    continue;
                }
                answer => answer,
            };
            match self.reason_to_retry(&answer, &tried) {
                Some(reason) if self.may_retry(&answer) => {
                    begun = Instant::now();
                    if matches!(answer, Err(UpstreamError::Stale(_))) {
                        self.reuse = Reuse::Never; // one surprise is enough for a request
                        stale = Some(endpoint);
                    }
                    self.serving.own_metrics().retries[reason as usize].fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(endpoint = %endpoint.authority, reason = reason.as_str(), "sent again");
                }
                Some(_) | None => return answer,
            }
        }
    }

    /// One try. A kept connection that had closed before it took the request does not count as one.
    async fn attempt(&mut self, endpoint: &Endpoint, mut begun: Instant) -> Answer {
        loop {
            let kept = self.serving.upstreams.kept(endpoint, self.reuse, begun);
            let was_kept = kept.is_some();
            let mut sender = match kept {
                Some(sender) => sender,
                None => {
                    self.serving.upstreams.judge(endpoint)?;
                    let asked = Instant::now();
                    let slot = self.serving.upstreams.slot().await?;
                    // It is not the endpoint that took this time.
                    let waited = asked.elapsed();
                    (self.begun, begun) = (self.begun + waited, begun + waited);
                    let made = self.within(begun, self.serving.upstreams.connect(endpoint, slot)).await??;
                    if !made.is_allowed() {
                        continue; // the rules changed meanwhile: the next connection is judged by the new ones
                    }
                    made
                }
            };
            let request = self.make(endpoint)?;
            match self.within(begun, sender.try_send_request(request)).await? {
                Ok(response) => return self.accept(endpoint, sender, response),
                Err(mut error) => match error.take_message() {
                    Some(request) => {
                        if matches!(self.payload, Payload::Sent) {
                            self.payload = Payload::Unsent(request);
                        }
                        if !was_kept {
                            return Err(UpstreamError::Unsent(error.into_error()));
                        }
                    }
                    None => {
                        return Err(match self.blame(error.into_error()) {
                            UpstreamError::Broken(error) if was_kept && begun.elapsed() < STALE_WITHIN => {
                                UpstreamError::Stale(error)
                            }
                            error => error,
                        });
                    }
                },
            }
        }
    }

    fn accept(&self, endpoint: &Endpoint, sender: Sender, mut response: Response<Incoming>) -> Answer {
        let status = response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpstreamError::UnaskedUpgrade);
        }
        let has_stray_octets = framing::announces_absent_body(status, response.headers());
        framing::answer(status, response.headers_mut())?;
        self.rewrite(endpoint, response.headers_mut());
        if !has_stray_octets {
            self.serving.upstreams.keep(endpoint, sender);
        }
        Ok(response)
    }

    /// Turns the endpoint's addresses in an answer into those that the client knows, where a policy says so.
    fn rewrite(&self, endpoint: &Endpoint, headers: &mut HeaderMap) {
        let Some(rewrite) = &self.forward.operation.rewrite else { return };
        if self.forward.departure.is_some() {
            return; // the exit did
        }
        if !rewrite.concerns(headers) {
            return;
        }
        let said = |name: HeaderName| outgoing::said(&name, &self.parts, self.client);
        let host = forward::host(&self.parts, self.forward, endpoint);
        let asked_for = outgoing::host(&self.parts);
        let told = said(X_FORWARDED_HOST).or(asked_for.as_ref()).unwrap_or(&host);
        let scheme =
            said(X_FORWARDED_PROTO).map_or(self.client.protocol.as_str().as_bytes(), HeaderValue::as_bytes);
        let sent_to = SentTo {
            schemes: [endpoint.scheme.as_str().as_bytes(), scheme],
            authorities: [endpoint.authority.as_str().as_bytes(), host.as_bytes(), told.as_bytes()],
            base_path: &endpoint.base_path,
            proxys_prefix: said(X_FORWARDED_PREFIX),
        };
        rewrite.apply(headers, &sent_to);
    }

    /// The request as this endpoint gets it. Keeps its body where it may be repeated.
    fn make(&mut self, endpoint: &Endpoint) -> Result<Request<RequestBody>, UpstreamError> {
        let body = match std::mem::replace(&mut self.payload, Payload::Sent) {
            Payload::Body(body) => body,
            Payload::Unsent(mut request) => {
                forward::aim(&mut request, &self.parts, self.forward, endpoint)
                    .map_err(UpstreamError::Request)?;
                return Ok(request);
            }
            Payload::Sent => return Err(UpstreamError::NoEndpoint), // may_retry saw to it
        };
        if let Some(again) = body.again().filter(|_| self.repeatable) {
            self.payload = Payload::Body(again);
        }
        let headers = self.serving.spare_maps.take();
        outgoing::request(
            &self.parts,
            headers,
            body,
            self.forward,
            endpoint,
            self.client,
            &self.serving.loop_id,
        )
        .map_err(UpstreamError::Request)
    }

    /// Waits up to the request's time, not counting that in which the client is to send more of the body, which the body
    /// bounds itself; and up to one try's time.
    async fn within<F: Future>(&self, try_begun: Instant, work: F) -> Result<F::Output, UpstreamError> {
        let mut work = pin!(work);
        let try_until = self.per_try.map(|time| try_begun + time);
        let mut until = self.begun + self.timeout;
        loop {
            let next = try_until.map_or(until, |own| own.min(until));
            if let Ok(output) = tokio::time::timeout_at(next, work.as_mut()).await {
                return Ok(output);
            }
            let now = Instant::now();
            match self.upload.upstreams_turn_since(self.begun) {
                Some(since) if since + self.timeout <= now => return Err(UpstreamError::Timeout),
                Some(since) => until = since + self.timeout,
                None => until = now + self.timeout,
            }
            if try_until.is_some_and(|own| own <= now) {
                return Err(UpstreamError::TryTimeout);
            }
        }
    }

    /// Who broke an exchange that was under way.
    fn blame(&self, error: hyper::Error) -> UpstreamError {
        if self.upload.is_too_large() {
            UpstreamError::TooLarge
        } else if self.upload.is_too_slow() {
            UpstreamError::TooSlow
        } else if self.upload.is_malformed() {
            UpstreamError::BadBody
        } else if self.upload.is_broken() {
            UpstreamError::ClientLeft
        } else if error.is_parse_too_large() {
            UpstreamError::HeadTooLarge(error)
        } else if error.is_parse() {
            UpstreamError::Malformed(error)
        } else {
            UpstreamError::Broken(error)
        }
    }

    /// What a try says of its endpoint.
    fn learn(&self, endpoint: &Endpoint, answer: &Answer) {
        let failure = match answer {
            // Its status says how a service behind the exit fares.
            Ok(_) if self.forward.departure.is_some() => return endpoint.health.succeeded(),
            Ok(response) => match response.status() {
                StatusCode::BAD_GATEWAY => Some(Failure::BadGateway),
                StatusCode::SERVICE_UNAVAILABLE => Some(Failure::ServiceUnavailable),
                StatusCode::GATEWAY_TIMEOUT => Some(Failure::GatewayTimeout),
                _ => return endpoint.health.succeeded(),
            },
            Err(error) => {
                let is_denied = matches!(error, UpstreamError::EgressDenied(_));
                if is_denied {
                    endpoint.health.denied(millis(std::time::Instant::now()));
                }
                if error.side() == Side::Upstream || is_denied {
                    tracing::debug!(
                        error = error as &dyn std::error::Error, endpoint = %endpoint.authority,
                        "no answer from upstream"
                    );
                }
                error.failure()
            }
        };
        if failure.is_some_and(|failure| self.forward.upstream.failed(endpoint, failure)) {
            self.serving.own_metrics().ejections.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Why the request would be sent again, if its policy and its nature allow it.
    fn reason_to_retry(&self, answer: &Answer, tried: &Tried) -> Option<Retry> {
        let policy = &self.forward.upstream.retry;
        // That a kept connection had closed makes no try.
        if tried.sent() > policy.attempts && !matches!(answer, Err(UpstreamError::Stale(_))) {
            return None;
        }
        let error = match answer {
            Ok(response) => {
                let listed = self.repeatable && policy.has_status(response.status());
                return listed.then(|| Retry::of_status(response.status())).flatten();
            }
            Err(error) => error,
        };
        match error.resend() {
            Resend::Never => None,
            Resend::IfIdempotent if !self.repeatable => None,
            Resend::Always | Resend::IfIdempotent => match error {
                // At once to the same endpoint would be in vain.
                UpstreamError::ConnectTimeout(_) | UpstreamError::Unreachable(_) => (policy.connect_failure
                    && self.forward.upstream.has_others(tried))
                .then_some(Retry::ConnectFailure),
                UpstreamError::TryTimeout => Some(Retry::GatewayTimeout), // else there is no such time
                _ => policy.reset_before_response.then_some(Retry::ResetBeforeResponse),
            },
        }
    }

    /// Whether there is something to send, time for it, and room in the budget. A kept connection that had closed tells nothing
    /// of how the upstream fares, and happens once to a request: it costs nothing.
    fn may_retry(&self, answer: &Answer) -> bool {
        let now = Instant::now();
        if matches!(self.payload, Payload::Sent) || self.begun + self.timeout <= now {
            return false;
        }
        let granted = matches!(answer, Err(UpstreamError::Stale(_)))
            || self.forward.upstream.budget().take(self.serving.index, millis(now.into_std()));
        if !granted {
            self.serving.own_metrics().retry_budget_exhausted.fetch_add(1, Ordering::Relaxed);
        }
        granted
    }
}

/// A thread's cleared header maps, so that the upstream's headers cost no memory of their own. hyper keeps the map of a request for
/// the next answer on the connection, and hands that answer's to the client.
#[derive(Default)]
pub(super) struct SpareMaps(std::cell::RefCell<Vec<HeaderMap>>);

impl SpareMaps {
    fn take(&self) -> HeaderMap {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    fn give_back(&self, mut headers: HeaderMap) {
        let mut maps = self.0.borrow_mut();
        if maps.len() < SPARE_MAPS {
            headers.clear();
            maps.push(headers);
        }
    }
}
