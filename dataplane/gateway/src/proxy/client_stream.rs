//! A client's stream: closes without losing the answer, does not wait for ever for a client that does not read, and tells the
//! connection's place how that gets on.
//!
//! Closing a socket that has unread octets resets the connection, and the reset may overtake an answer such as 413 that
//! the client has not read yet. So the close first says that nothing more will be sent, then reads on for a while.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::places::Place;

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
    place: Rc<Place>,
}

enum Phase {
    Open,
    Draining { until: Pin<Box<Sleep>>, left: usize },
    Closed,
}

impl<S> ClientStream<S> {
    pub(super) fn new(stream: S, patience: Duration, place: Rc<Place>) -> Self {
        Self { stream, phase: Phase::Open, patience, stalled: None, place }
    }

    /// The client's side took so much, or nothing for now.
    fn wrote(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(octets)) if octets > 0) {
            self.place.progressed();
        }
        self.bounded(cx, written)
    }

    /// Lets a write wait for so long and no longer.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.place.stalled(written.is_pending());
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
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.place.progressed();
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(cx, written)
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
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::{super::places::Places, *};

    const STALL: Duration = Duration::from_secs(60);

    fn stream(near: DuplexStream) -> ClientStream<DuplexStream> {
        let taken = Rc::<Places>::default().take(Ipv4Addr::LOCALHOST.into());
        ClientStream::new(near, STALL, taken.place().clone())
    }

    #[tokio::test(start_paused = true)]
    async fn reads_on_until_the_other_side_closes() {
        let (near, mut far) = duplex(1_024);
        let mut near = stream(near);
        let speaking = async {
            far.write_all(&[7; 4_096]).await.unwrap();
            let mut rest = Vec::new();
            far.read_to_end(&mut rest).await.unwrap();
            drop(far);
        };
        let (closed, ()) = tokio::join!(near.shutdown(), speaking);
        closed.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn octets_that_come_or_are_taken_are_progress_and_those_that_wait_are_not() {
        let places = Rc::<Places>::default();
        let [one, other] = [(); 2].map(|()| places.take(Ipv4Addr::LOCALHOST.into()));
        let (near, mut far) = duplex(1_024);
        let mut near = ClientStream::new(near, STALL, one.place().clone());
        let _answer = one.place().open();
        let is_quieter = || one.place().quiet_since() < other.place().quiet_since();
        far.write_all(b"x").await.unwrap();
        near.read_u8().await.unwrap();
        assert_eq!(one.place().quiet_since(), None, "its request is in flight");
        other.place().progressed();
        let waits = tokio::time::timeout(STALL / 2, near.write_all(&[7; 4_096])).await;
        assert!(waits.is_err() && !is_quieter(), "something of it was taken");
        other.place().progressed();
        let waits = tokio::time::timeout(STALL / 4, near.write_all(&[7; 4_096])).await;
        assert!(waits.is_err() && is_quieter(), "nothing was taken since");
        far.read_exact(&mut [0; 1_024]).await.unwrap();
        near.write_all(&[7; 64]).await.unwrap();
        assert_eq!(one.place().quiet_since(), None, "the next step is not the client's any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_given_up() {
        let (near, mut far) = duplex(1_024);
        let mut near = stream(near);
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
        stream(near).shutdown().await.unwrap();
        assert_eq!(begun.elapsed(), LINGER);
    }
}
