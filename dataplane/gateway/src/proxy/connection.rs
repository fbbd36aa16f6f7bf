//! One client connection.

use std::{future::Future, net::SocketAddr, pin::pin, rc::Rc, sync::Arc, time::Duration};

use hyper::{
    rt::Executor,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{
    accept::GRACE,
    activity::{Activity, Inactive},
    client_stream::ClientStream,
    exchange::{self, Client},
    worker::Serving,
};
use crate::table::Protocol;

/// For a TLS handshake: a few round trips over a bad line.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The largest head of a request: what common servers allow, and the read buffer's bound.
const MAX_HEAD: usize = 64 << 10;
/// Requests at once on one HTTP/2 connection: the least that RFC 9113 §6.5.2 recommends, and so what clients expect.
const MAX_STREAMS: u32 = 100;
/// An HTTP/2 client is asked for a sign of life this often, and given as long to answer.
const PING: Duration = Duration::from_secs(20);

/// Serves a plain connection to its end.
pub(super) async fn http(serving: Rc<Serving>, stream: TcpStream, peer: SocketAddr, stop: CancellationToken) {
    let client = Client { address: peer.ip().to_canonical(), protocol: Protocol::Http, activity: None };
    // Buffers are for clients that have something to say.
    let ready = tokio::time::timeout(serving.limits.header_timeout(), stream.readable());
    let said = tokio::select! {
        biased;
        ready = ready => matches!(ready, Ok(Ok(()))),
        () = stopped(&stop) => false,
    };
    if !said {
        return;
    }
    http1(serving, client, stream, stop).await;
}

/// Serves a TLS connection to its end, in the protocol the handshake agreed on.
pub(super) async fn https(
    serving: Rc<Serving>,
    stream: TcpStream,
    peer: SocketAddr,
    tls: Arc<ServerConfig>,
    stop: CancellationToken,
) {
    let client = Client { address: peer.ip().to_canonical(), protocol: Protocol::Https, activity: None };
    let stream = match tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(_)) | Err(_) => {
            serving.own_metrics().failed_handshakes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            return;
        }
    };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        http2(serving, client, stream, stop).await;
    } else {
        http1(serving, client, stream, stop).await;
    }
}

async fn http1<S>(serving: Rc<Serving>, client: Client, stream: S, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let silence = serving.limits.client_silence();
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(serving.limits.header_timeout())
        .max_buf_size(MAX_HEAD);
    let service = service_fn(move |request| exchange::answer(serving.clone(), client.clone(), request));
    let mut connection =
        pin!(builder.serve_connection(TokioIo::new(ClientStream::new(stream, silence)), service));
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stopped(&stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "client connection ended");
    }
}

async fn http2<S>(serving: Rc<Serving>, mut client: Client, stream: S, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let activity = Activity::new();
    client.activity = Some(activity.clone());
    let (idle, silence) = (serving.limits.header_timeout(), serving.limits.client_silence());
    let mut builder = http2::Builder::new(OnThisThread);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32);
    let service = service_fn(move |request| exchange::answer(serving.clone(), client.clone(), request));
    let mut connection =
        pin!(builder.serve_connection(TokioIo::new(ClientStream::new(stream, silence)), service));
    let mut stopped = pin!(stopped(&stop));
    let mut closing = false;
    let ended = loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => break ended,
            () = &mut stopped, if !closing => {}
            inactive = activity.stops(idle, silence) => {
                tracing::trace!(?inactive, closing, "client connection does nothing");
                if closing || inactive == Inactive::Stalled {
                    return;
                }
            }
        }
        closing = true;
        connection.as_mut().graceful_shutdown();
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "client connection ended");
    }
}

/// Resolves when the connection is to stop: requests that were sent before the order have been noticed by then.
async fn stopped(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

/// Runs a connection's streams on the thread that serves it.
#[derive(Clone, Copy)]
struct OnThisThread;

impl<F: Future<Output = ()> + 'static> Executor<F> for OnThisThread {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
