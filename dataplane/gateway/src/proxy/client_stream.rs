//! A client's stream: closes without losing the answer, and does not wait for ever for a client that does not read.
//!
//! Closing a socket that has unread octets resets the connection, and the reset may overtake an answer such as 413 that
//! the client has not read yet. So the close first says that nothing more will be sent, then reads on for a while.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

/// When closing: for a client that goes on sending to read its answer and close: a round trip or two.
const LINGER: Duration = Duration::from_secs(2);
/// What is read and thrown away at most: more than socket buffers hold.
const OCTETS: usize = 8 << 20;

/// A client's stream.
pub(super) struct ClientStream<S> {
    stream: S,
    phase: Phase,
    /// For the client to take anything at all of what waits for it.
    patience: Duration,
    /// Runs while the client takes nothing of what waits for it.
    stalled: Option<Pin<Box<Sleep>>>,
}

enum Phase {
    Open,
    Draining { until: Pin<Box<Sleep>>, left: usize },
    Closed,
}

impl<S> ClientStream<S> {
    pub(super) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, phase: Phase::Open, patience, stalled: None }
    }

    /// Lets a write wait for so long and no longer.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.bounded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.bounded(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match &mut this.phase {
                Phase::Open => {
                    ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                    this.phase =
                        Phase::Draining { until: Box::pin(tokio::time::sleep(LINGER)), left: OCTETS };
                }
                Phase::Draining { until, left } => {
                    let mut room = [0; 8 << 10];
                    let mut buf = ReadBuf::new(&mut room);
                    let read = match Pin::new(&mut this.stream).poll_read(cx, &mut buf) {
                        Poll::Ready(Ok(())) => buf.filled().len(),
                        Poll::Ready(Err(_)) => 0, // it is gone, which is what we wait for
                        Poll::Pending => {
                            ready!(until.as_mut().poll(cx));
                            0
                        }
                    };
                    *left = left.saturating_sub(read);
                    if read == 0 || *left == 0 {
                        this.phase = Phase::Closed;
                    }
                }
                Phase::Closed => return Poll::Ready(Ok(())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const STALL: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn reads_on_until_the_other_side_closes() {
        let (near, mut far) = duplex(1_024);
        let closing = tokio::spawn(async move { ClientStream::new(near, STALL).shutdown().await });
        far.write_all(&[7; 4_096]).await.unwrap();
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).await.unwrap();
        drop(far);
        closing.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_given_up() {
        let (near, mut far) = duplex(1_024);
        let mut near = ClientStream::new(near, STALL);
        let begun = tokio::time::Instant::now();
        let error = near.write_all(&[7; 4_096]).await.unwrap_err();
        assert_eq!((error.kind(), begun.elapsed()), (io::ErrorKind::TimedOut, STALL));
        // One that reads now and then is not.
        far.read_exact(&mut [0; 1_024]).await.unwrap();
        let reading = tokio::spawn(async move {
            for _ in 0..4 {
                tokio::time::sleep(STALL / 2).await;
                far.read_exact(&mut [0; 1_024]).await.unwrap();
            }
        });
        near.write_all(&[7; 4_096]).await.unwrap();
        reading.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn does_not_wait_for_ever() {
        let (near, _far) = duplex(1_024);
        let begun = tokio::time::Instant::now();
        ClientStream::new(near, STALL).shutdown().await.unwrap();
        assert_eq!(begun.elapsed(), LINGER);
    }
}
