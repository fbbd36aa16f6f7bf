//! Bodies on their way through: counted, bounded, otherwise untouched.

use std::{
    future::Future as _,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::{outgoing, record::Record};

/// A request's body on its way to the upstream.
pub(super) struct RequestBody {
    content: Content,
    left: u64,
    silence: Silence,
    upload: Upload,
    /// The header that carries API keys: no trailer may.
    key_header: Option<HeaderName>,
    /// hyper reports a body that its client cut off with NO_ERROR as one that ended.
    is_http_2: bool,
}

enum Content {
    /// There is none, or no more.
    Absent,
    /// As it comes.
    Stream(Incoming),
    /// All of it.
    Whole(Bytes),
}

/// How a request's body gets on, for the one who waits for the answer. Nothing becomes of one that is not there.
#[derive(Debug, Clone, Default)]
pub(super) struct Upload(Option<Arc<Progress>>);

#[derive(Debug)]
struct Progress {
    begun: Instant,
    /// Microseconds after `begun` at which the client last did its part; [`CLIENTS_TURN`]: it is to send now.
    done_at: AtomicU64,
    fate: AtomicU8,
}

/// Instead of a time.
const CLIENTS_TURN: u64 = u64::MAX;

impl Upload {
    const TOO_LARGE: u8 = 1;
    const BROKEN: u8 = 2;
    const TOO_SLOW: u8 = 3;
    const MALFORMED: u8 = 4;

    /// Whether it was longer than allowed.
    pub(super) fn is_too_large(&self) -> bool {
        self.is(Self::TOO_LARGE)
    }

    /// Whether the client left before it had sent all of it.
    pub(super) fn is_broken(&self) -> bool {
        self.is(Self::BROKEN)
    }

    /// Whether the client stopped sending and stayed.
    pub(super) fn is_too_slow(&self) -> bool {
        self.is(Self::TOO_SLOW)
    }

    /// Whether the client framed it badly.
    pub(super) fn is_malformed(&self) -> bool {
        self.is(Self::MALFORMED)
    }

    /// Whether there is a body.
    pub(super) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Whether the client is to send more.
    pub(super) fn is_clients_turn(&self) -> bool {
        self.0.as_ref().is_some_and(|own| own.done_at.load(Ordering::Relaxed) == CLIENTS_TURN)
    }

    /// Whether it is of the same body.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        matches!((&self.0, &other.0), (Some(one), Some(other)) if Arc::ptr_eq(one, other))
    }

    /// Since when nothing but the upstream is waited for; `None`: the client is to send. `begun` is when the exchange
    /// began.
    pub(super) fn upstreams_turn_since(&self, begun: Instant) -> Option<Instant> {
        let Some(progress) = &self.0 else { return Some(begun) };
        match progress.done_at.load(Ordering::Relaxed) {
            CLIENTS_TURN => None,
            micros => Some(progress.begun + Duration::from_micros(micros)),
        }
    }

    fn is(&self, fate: u8) -> bool {
        self.0.as_ref().is_some_and(|own| own.fate.load(Ordering::Relaxed) == fate)
    }

    fn ends(&self, fate: u8) {
        if let Some(own) = &self.0 {
            own.fate.store(fate, Ordering::Relaxed);
        }
    }

    fn clients_turn(&self, is_it: bool) {
        if let Some(own) = &self.0 {
            let now = || own.begun.elapsed().as_micros() as u64; // 584,000 years
            own.done_at.store(if is_it { CLIENTS_TURN } else { now() }, Ordering::Relaxed);
        }
    }
}

/// Why a request's body ends early.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestBodyError {
    /// More than allowed.
    #[error("the request body is too large")]
    TooLarge,
    /// The client did not send all of it.
    #[error("the client did not send the whole request body")]
    Broken(#[source] Option<hyper::Error>),
    /// The client stopped sending.
    #[error("the client stopped sending the request body")]
    TooSlow,
    /// What the client sent are no chunks.
    #[error("the request body is framed badly")]
    Malformed(#[source] hyper::Error),
}

impl RequestBodyError {
    fn of(error: hyper::Error) -> Self {
        if is_malformed(&error) { Self::Malformed(error) } else { Self::Broken(Some(error)) }
    }
}

/// Whether hyper could not read the framing, and not the connection. It tells them apart by kinds of [`std::io::Error`] only, and
/// a broken TLS record has such a kind too.
fn is_malformed(error: &(dyn std::error::Error + 'static)) -> bool {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.filter_map(|cause| cause.downcast_ref::<std::io::Error>()).any(|error| {
        let is_of_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
        matches!(error.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput)
            && !is_of_tls
    })
}

/// Why an answer's body ends early.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResponseBodyError {
    /// The upstream broke off.
    #[error("the upstream broke off")]
    Broken(#[source] hyper::Error),
    /// The upstream fell silent.
    #[error("the upstream fell silent")]
    Silent,
}

/// Bounds how long a body may give nothing while it is asked.
struct Silence {
    limit: Duration,
    /// Made with the first silence: most bodies are there at once.
    timer: Option<Pin<Box<Sleep>>>,
    runs: bool,
}

impl Silence {
    fn new(limit: Duration) -> Self {
        Self { limit, timer: None, runs: false }
    }

    /// Something came.
    fn broken(&mut self) {
        self.runs = false;
    }

    /// Nothing has come: whether that has been so for too long.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !std::mem::replace(&mut self.runs, true) {
            timer.as_mut().reset(Instant::now() + limit);
        }
        timer.as_mut().poll(cx).is_ready()
    }
}

impl RequestBody {
    /// Passes on at most `limit` octets of `body`, waits for the next ones no longer than `silence`, and tells how that
    /// went. Trailers pass as headers do.
    pub(super) fn new(
        body: Incoming,
        version: Version,
        limit: u64,
        silence: Duration,
        key_header: Option<HeaderName>,
    ) -> (Self, Upload) {
        if body.is_end_stream() {
            return (Self::of(Content::Absent), Upload::default());
        }
        let begun = Instant::now();
        let progress = Progress { begun, done_at: AtomicU64::new(0), fate: AtomicU8::new(0) };
        let upload = Upload(Some(Arc::new(progress)));
        let content = Content::Stream(body);
        let body = Self {
            content,
            left: limit,
            silence: Silence::new(silence),
            upload: upload.clone(),
            key_header,
            is_http_2: version == Version::HTTP_2,
        };
        (body, upload)
    }

    fn of(content: Content) -> Self {
        let (silence, upload) = (Silence::new(Duration::ZERO), Upload::default());
        Self { content, left: 0, silence, upload, key_header: None, is_http_2: false }
    }

    /// Waits for all of it, where it is announced to have at most so many octets: then it can be sent [`again`](Self::again).
    pub(super) async fn gathered(mut self, at_most: u64) -> Result<Self, RequestBodyError> {
        let Content::Stream(stream) = &self.content else { return Ok(self) };
        let Some(length) = stream.size_hint().exact().filter(|length| *length <= at_most) else {
            return Ok(self);
        };
        // Small bodies mostly come in one piece, which is not copied.
        let (mut first, mut joined) = (Bytes::new(), BytesMut::new());
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await {
            let Ok(data) = frame?.into_data() else { continue };
            if joined.is_empty() && first.is_empty() {
                first = data;
                continue;
            }
            if joined.is_empty() {
                joined.reserve(length as usize); // at most `at_most`
                joined.extend_from_slice(&first);
            }
            joined.extend_from_slice(&data);
        }
        let whole = if joined.is_empty() { first } else { joined.freeze() };
        Ok(Self::of(Content::Whole(whole)))
    }

    /// The same once more; `None`: it passes by once only.
    pub(super) fn again(&self) -> Option<Self> {
        match &self.content {
            Content::Absent => Some(Self::of(Content::Absent)),
            Content::Stream(_) => None,
            Content::Whole(whole) => Some(Self::of(Content::Whole(whole.clone()))),
        }
    }

    /// Whether a body that has no more octets lacks its end.
    fn is_cut_off(&self) -> bool {
        self.is_http_2 && matches!(&self.content, Content::Stream(stream) if !stream.is_end_stream())
    }

    /// The trailers that pass. Some servers merge trailers into the headers, so a trailer passes where a stranger's header would:
    /// no proxy says in a trailer who the client is.
    fn passing(&self, trailers: &HeaderMap) -> HeaderMap {
        let mut passing = HeaderMap::new();
        outgoing::copy(trailers, &mut passing, self.key_header.as_ref(), false);
        passing
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = self.get_mut();
        let polled = match &mut this.content {
            Content::Absent => return Poll::Ready(None),
            Content::Whole(whole) => {
                let whole = std::mem::take(whole);
                this.content = Content::Absent;
                return Poll::Ready(Some(Ok(Frame::data(whole))));
            }
            Content::Stream(stream) => Pin::new(stream).poll_frame(cx),
        };
        this.upload.clients_turn(polled.is_pending());
        let frame = match polled {
            Poll::Pending if this.silence.is_over(cx) => {
                this.upload.ends(Upload::TOO_SLOW);
                return Poll::Ready(Some(Err(RequestBodyError::TooSlow)));
            }
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) if this.is_cut_off() => {
                this.upload.ends(Upload::BROKEN);
                return Poll::Ready(Some(Err(RequestBodyError::Broken(None))));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Err(error))) => {
                let error = RequestBodyError::of(error);
                this.upload.ends(match error {
                    RequestBodyError::Malformed(_) => Upload::MALFORMED,
                    _ => Upload::BROKEN,
                });
                return Poll::Ready(Some(Err(error)));
            }
            Poll::Ready(Some(Ok(frame))) => frame,
        };
        this.silence.broken();
        let octets = frame.data_ref().map_or(0, |data| data.len() as u64);
        match this.left.checked_sub(octets) {
            Some(left) => this.left = left,
            None => {
                this.upload.ends(Upload::TOO_LARGE);
                return Poll::Ready(Some(Err(RequestBodyError::TooLarge)));
            }
        }
        Poll::Ready(Some(Ok(match frame.into_trailers() {
            Ok(trailers) => Frame::trailers(this.passing(&trailers)),
            Err(data) => data,
        })))
    }

    // An inexact hint would turn a body of known length into a chunked one.
    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Absent => SizeHint::with_exact(0),
            Content::Stream(stream) => stream.size_hint(),
            Content::Whole(whole) => SizeHint::with_exact(whole.len() as u64),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Absent => true,
            Content::Stream(stream) => stream.is_end_stream(),
            Content::Whole(_) => false,
        }
    }
}

/// An answer's body on its way to the client.
pub(super) struct ResponseBody {
    source: Source,
    /// Closes the books on the request when the body is dropped.
    record: Record,
}

enum Source {
    Whole(Option<Bytes>),
    Upstream(Incoming, Silence),
}

impl ResponseBody {
    /// The gateway's own.
    pub(super) fn whole(octets: Bytes, record: Record) -> Self {
        Self { source: Source::Whole((!octets.is_empty()).then_some(octets)), record }
    }

    /// An upstream's, which may be silent for so long.
    pub(super) fn upstream(body: Incoming, silence: Duration, record: Record) -> Self {
        Self { source: Source::Upstream(body, Silence::new(silence)), record }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        let this = self.get_mut();
        this.record.client_takes();
        let frame = match &mut this.source {
            Source::Whole(octets) => octets.take().map(|octets| Ok(Frame::data(octets))),
            // An upstream that breaks off is an error here too: the client's connection breaks, it never looks complete.
            Source::Upstream(body, silence) => match Pin::new(body).poll_frame(cx) {
                Poll::Pending if silence.is_over(cx) => Some(Err(ResponseBodyError::Silent)),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(frame) => {
                    silence.broken();
                    frame.map(|frame| frame.map_err(ResponseBodyError::Broken))
                }
            },
        };
        if let Some(Ok(frame)) = &frame {
            this.record.sent(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(octets) => {
                SizeHint::with_exact(octets.as_ref().map_or(0, |octets| octets.len() as u64))
            }
            Source::Upstream(body, _) => body.size_hint(),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(octets) => octets.is_none(),
            Source::Upstream(body, _) => body.is_end_stream(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("reading a body")]
    struct Reading(#[source] io::Error);

    #[test]
    fn a_broken_tls_record_is_no_malformed_body() {
        let of = |error: io::Error| is_malformed(&Reading(error));
        assert!(of(io::Error::new(io::ErrorKind::InvalidInput, "Invalid chunk size line")));
        assert!(of(io::ErrorKind::InvalidData.into()));
        assert!(!of(io::ErrorKind::UnexpectedEof.into()));
        assert!(!of(io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError)));
    }
}
