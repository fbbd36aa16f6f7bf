//! Bodies that say whose step is next, and a stream that says that octets came.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::requests::{OpenRequest, Requests};

/// A request's body.
pub(super) struct Arriving {
    body: Incoming,
    request: Arc<OpenRequest>,
}

impl Arriving {
    pub(super) fn new(body: Incoming, request: Arc<OpenRequest>) -> Self {
        Self { body, request }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            self.request.awaits();
            return Poll::Pending;
        };
        self.request.arrives();
        if frame.is_none() || self.body.is_end_stream() {
            self.request.received();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.request.received();
    }
}

/// An answer's body.
pub(super) struct Leaving {
    body: axum::body::Body,
    request: Arc<OpenRequest>,
}

impl Leaving {
    pub(super) fn new(body: axum::body::Body, request: Arc<OpenRequest>) -> Self {
        // Until it is asked for the first part, the client has not made room for any.
        request.offers();
        Self { body, request }
    }
}

impl Body for Leaving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.request.answering();
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.request.offers();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection's stream.
pub(super) struct Heard<S> {
    stream: S,
    requests: Arc<Requests>,
    /// The client has not taken what was written before.
    behind: bool,
}

impl<S> Heard<S> {
    pub(super) fn new(stream: S, requests: Arc<Requests>) -> Self {
        Self { stream, requests, behind: false }
    }

    /// What became of a write or a flush: a client that was behind and has taken something gets on.
    fn wrote<T>(&mut self, wrote: Poll<T>) -> Poll<T> {
        let behind = wrote.is_pending();
        if self.behind && !behind {
            self.requests.taken();
        }
        self.behind = behind;
        wrote
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.requests.heard();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wrote = Pin::new(&mut self.stream).poll_flush(cx);
        self.wrote(wrote)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
