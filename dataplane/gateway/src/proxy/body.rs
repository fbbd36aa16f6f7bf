//! Bodies on their way through: counted, bounded, otherwise untouched.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::record::Record;

/// A request's body on its way to the upstream.
pub(super) struct RequestBody {
    /// `None`: there is none.
    stream: Option<Incoming>,
    left: u64,
    fate: Fate,
}

/// What became of a request's body, for the one who waits for the answer. Nothing becomes of one that is not there.
#[derive(Debug, Clone, Default)]
pub(super) struct Fate(Option<Arc<AtomicU8>>);

impl Fate {
    const TOO_LARGE: u8 = 1;
    const BROKEN: u8 = 2;

    /// Whether it was longer than allowed.
    pub(super) fn is_too_large(&self) -> bool {
        self.is(Self::TOO_LARGE)
    }

    /// Whether the client did not send all of it.
    pub(super) fn is_broken(&self) -> bool {
        self.is(Self::BROKEN)
    }

    fn is(&self, fate: u8) -> bool {
        self.0.as_ref().is_some_and(|own| own.load(Ordering::Relaxed) == fate)
    }

    fn set(&self, fate: u8) {
        if let Some(own) = &self.0 {
            own.store(fate, Ordering::Relaxed);
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
    Broken(#[source] hyper::Error),
}

impl RequestBody {
    /// Passes on at most `limit` octets of `body`, and tells how that went.
    pub(super) fn new(body: Incoming, limit: u64) -> (Self, Fate) {
        let stream = (!body.is_end_stream()).then_some(body);
        let fate = Fate(stream.is_some().then(Arc::default));
        (Self { stream, left: limit, fate: fate.clone() }, fate)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let Some(stream) = self.stream.as_mut() else { return Poll::Ready(None) };
        let frame = match ready!(Pin::new(stream).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => {
                self.fate.set(Fate::BROKEN);
                return Poll::Ready(Some(Err(RequestBodyError::Broken(error))));
            }
            Some(Ok(frame)) => frame,
        };
        let octets = frame.data_ref().map_or(0, |data| data.len() as u64);
        match self.left.checked_sub(octets) {
            Some(left) => self.left = left,
            None => {
                self.fate.set(Fate::TOO_LARGE);
                return Poll::Ready(Some(Err(RequestBodyError::TooLarge)));
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    // An inexact hint would turn a body of known length into a chunked one.
    fn size_hint(&self) -> SizeHint {
        self.stream.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }

    fn is_end_stream(&self) -> bool {
        self.stream.as_ref().is_none_or(Body::is_end_stream)
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
    Upstream(Incoming),
}

impl ResponseBody {
    /// The gateway's own.
    pub(super) fn whole(octets: Bytes, record: Record) -> Self {
        Self { source: Source::Whole((!octets.is_empty()).then_some(octets)), record }
    }

    /// An upstream's.
    pub(super) fn upstream(body: Incoming, record: Record) -> Self {
        Self { source: Source::Upstream(body), record }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = match &mut self.source {
            Source::Whole(octets) => octets.take().map(|octets| Ok(Frame::data(octets))),
            // An upstream that breaks off is an error here too: the client's connection breaks, it never looks complete.
            Source::Upstream(body) => ready!(Pin::new(body).poll_frame(cx)),
        };
        if let Some(Ok(frame)) = &frame {
            self.record.sent(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(octets) => {
                SizeHint::with_exact(octets.as_ref().map_or(0, |octets| octets.len() as u64))
            }
            Source::Upstream(body) => body.size_hint(),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(octets) => octets.is_none(),
            Source::Upstream(body) => body.is_end_stream(),
        }
    }
}
