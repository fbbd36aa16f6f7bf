//! One client connection.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use hanse_identity::TunnelServer;
use hanse_topology::Exposure;
use hyper::{
    rt::Executor,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{ServerConfig, server::Acceptor};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use super::{
    accept::GRACE,
    activity::{Activity, Inactive},
    client_stream::ClientStream,
    exchange::{self, Client, EntryGateway},
    origin::{Party, Trust},
    places::Place,
    proxy_protocol,
    worker::Serving,
};
use crate::{config::MAX_HEAD, table::Protocol};

/// For a TLS client to send its ClientHello. Clients send it with the first packet they may; this leaves time for one that is
/// lost and sent again after a second.
const CLIENT_HELLO: Duration = Duration::from_secs(3);
/// For the whole TLS handshake: a few round trips over a bad line.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The largest head that HTTP/2 reads to its end, in its own measure of 32 octets a field more, so that a head over the gateway's
/// limits is answered and not cut off. h2 answers a larger one with a bare 431. It ends the connection where a head comes in more than
/// 12 frames of 16 KiB, and less room would allow fewer. It resets the stream of a `:path` above 65,534 octets, for which
/// [`http::Uri`] has no room.
const MAX_HEADER_LIST: u32 = 2 * MAX_HEAD as u32;
/// Requests at once on one HTTP/2 connection: the least that RFC 9113 §6.5.2 recommends, and so what clients expect.
const MAX_STREAMS: u32 = 100;
/// How much of one HTTP/2 answer waits in a buffer for its client. Each of the 100 requests of a connection has one, and what is in it
/// is over for the upstream: more would be memory that only the client's windows bound.
const UNSENT_PART: usize = 16 << 10;
/// Streams that a client opened and reset before they were looked at (CVE-2023-44487); more end the connection.
const PENDING_RESETS: usize = 20;
/// An HTTP/2 client is asked for a sign of life this often, and given as long to answer.
const PING: Duration = Duration::from_secs(20);

/// The client that the PROXY header names, with which a connection of a trusted proxy begins. `None`: the connection is refused.
pub(super) async fn announced(
    serving: &Serving,
    place: &Place,
    stream: &mut TcpStream,
    peer: SocketAddr,
    stop: &CancellationToken,
) -> Option<SocketAddr> {
    let refused = |error: &dyn std::fmt::Display| {
        serving.own_metrics().refused_connections.fetch_add(1, Ordering::Relaxed);
        if let Some(left_out) = serving.refusals.allows() {
            tracing::info!(%peer, %error, left_out, "a connection without a PROXY header of a trusted proxy");
        }
        None
    };
    if Trust::of(peer.ip(), &serving.trusted_proxies) != Trust::Proxy {
        return refused(&"its peer is none of trusted_proxies");
    }
    let reading = tokio::time::timeout(serving.limits.header_timeout(), proxy_protocol::read(stream));
    let read = tokio::select! {
        biased;
        read = reading => read,
        () = stopped(stop) => return None,
    };
    match read {
        Err(_elapsed) => refused(&"its PROXY header did not come in time"),
        Ok(Err(error)) => refused(&error),
        Ok(Ok(None)) => Some(peer),
        Ok(Ok(Some(client))) => {
            place.is_of(client.ip());
            Some(client)
        }
    }
}

/// Serves a plain connection to its end.
pub(super) async fn http(
    serving: Rc<Serving>,
    place: Rc<Place>,
    stream: TcpStream,
    (peer, exposure): (SocketAddr, Exposure),
    stop: CancellationToken,
) {
    let client = client(&serving, peer, (Protocol::Http, exposure), place);
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
    place: Rc<Place>,
    stream: TcpStream,
    (peer, exposure): (SocketAddr, Exposure),
    tls: Arc<ServerConfig>,
    stop: CancellationToken,
) {
    let client = client(&serving, peer, (Protocol::Https, exposure), place);
    let stream = match shake_hands(stream, tls).await {
        Ok(stream) => stream,
        Err(error) => {
            serving.own_metrics().failed_handshakes.fetch_add(1, Ordering::Relaxed);
            if let Some(left_out) = serving.refusals.allows() {
                tracing::info!(%peer, %error, left_out, "no TLS handshake with a client");
            }
            return;
        }
    };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        http2(serving, client, stream, stop).await;
    } else {
        http1(serving, client, stream, stop).await;
    }
}

/// Serves a connection with a gateway of another region to its end.
pub(super) async fn tunnel(
    serving: Rc<Serving>,
    place: Rc<Place>,
    stream: TcpStream,
    peer: SocketAddr,
    server: TunnelServer,
    stop: CancellationToken,
) {
    let shaken = shake_hands(stream, server.config().clone()).await;
    let entry = shaken.and_then(|stream| server.guard(stream)).and_then(|(stream, peer)| {
        let region = peer.identity.region.clone();
        let region = region.ok_or_else(|| io::Error::other("its certificate names no region"))?;
        Ok((stream, EntryGateway { peer, region, since: std::time::Instant::now() }))
    });
    let (stream, entry) = match entry {
        Ok(entry) => entry,
        Err(error) => {
            serving.own_metrics().failed_handshakes.fetch_add(1, Ordering::Relaxed);
            if let Some(left_out) = serving.refusals.allows() {
                tracing::info!(%peer, %error, left_out, "no TLS handshake with a gateway of another region");
            }
            return;
        }
    };
    // What it says of the client goes on, as a trusted proxy's word does.
    let client = client(&serving, peer, (Protocol::Https, Exposure::Internal), place);
    let client = Client { trust: Trust::Proxy, entry: Some(Rc::new(entry)), ..client };
    http1(serving, client, stream, stop).await;
}

fn client(
    serving: &Serving,
    peer: SocketAddr,
    (protocol, exposure): (Protocol, Exposure),
    place: Rc<Place>,
) -> Client {
    let trust = Trust::of(peer.ip(), &serving.trusted_proxies);
    let peer = Party::new(peer.ip());
    Client { origin: peer.clone(), peer, trust, protocol, exposure, place, activity: None, entry: None }
}

/// A TLS handshake within its time. Until the client says something, nothing is kept for it but its descriptor.
async fn shake_hands(stream: TcpStream, tls: Arc<ServerConfig>) -> io::Result<TlsStream<TcpStream>> {
    let accepted = Instant::now();
    let late = |what| move |_| io::Error::new(io::ErrorKind::TimedOut, what);
    let hello = async {
        stream.readable().await?;
        LazyConfigAcceptor::new(Acceptor::default(), stream).await
    };
    let hello =
        timeout_at(accepted + CLIENT_HELLO, hello).await.map_err(late("no ClientHello came in time"))??;
    let shaking = timeout_at(accepted + HANDSHAKE, hello.into_stream(tls));
    shaking.await.map_err(late("the handshake took too long"))?
}

async fn http1<S>(serving: Rc<Serving>, client: Client, stream: S, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let stream = ClientStream::new(stream, serving.limits.client_silence(), client.place.clone());
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(serving.limits.header_timeout())
        // The buffer bounds a head that is not whole yet; one that comes whole may have come in one larger read.
        .max_buf_size(MAX_HEAD)
        .max_header_size(MAX_HEAD);
    let service = service_fn(move |request| exchange::answer(serving.clone(), client.clone(), request));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
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
    let stream = ClientStream::new(stream, silence, client.place.clone());
    let mut builder = http2::Builder::new(OnThisThread);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buf_size(UNSENT_PART)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_header_list_size(MAX_HEADER_LIST);
    let service = service_fn(move |request| exchange::answer(serving.clone(), client.clone(), request));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
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
