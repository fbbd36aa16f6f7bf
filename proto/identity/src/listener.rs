//! One way to serve: every port of every role but the gateway's traffic.
//!
//! A listener accepts, shakes hands, serves HTTP/1 and HTTP/2, and keeps each connection within its [`Bounds`]. Accepting never
//! waits for a handshake, and no handshake waits for another. What a listener does when it is full is in `seats.rs`, what a
//! connection may take its time over in `requests.rs`.

mod body;
mod bounds;
pub(crate) mod handshake;
mod metrics;
mod ports;
mod requests;
mod seats;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hanse_process::{BoundedLog, Shutdown, telemetry};
use http::{Request, Response, Version};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tonic::{Status, service::Routes};
use tower::Service as _;
use tracing::{debug, warn};

use self::{
    body::{Arriving, Heard, Leaving},
    bounds::{
        GOODBYE, OWN_RESETS, PENDING_RESETS, TCP_KEEPALIVE, TCP_KEEPALIVE_INTERVAL, TCP_KEEPALIVE_RETRIES,
        UNTAKEN,
    },
    handshake::{NoHandshake, linger, shake_hands},
    metrics::{Ended, FaceMetrics},
    requests::{Look, Patience, Requests},
    seats::{Caps, Seat, Seats, Taken},
};
pub use self::{
    bounds::Bounds,
    metrics::ListenerMetrics,
    ports::{ADMIN_CONNECTIONS, Ports},
};
use crate::{Peer, ServerTls};

/// How much of one HTTP/2 answer waits in a buffer for a client that does not take it.
const SEND_BUFFER: usize = 64 << 10;
/// Pause after accepting failed for want of something, descriptors mostly: time for some to be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound port that is about to serve. Cloning shares the port, which is closed with the last of them.
#[derive(Debug, Clone)]
pub struct Listener {
    face: &'static str,
    tcp: Arc<TcpListener>,
    tls: Option<ServerTls>,
    bounds: Bounds,
    metrics: FaceMetrics,
}

impl Listener {
    /// Serves the face of that name in the configuration on a bound port, without TLS.
    pub fn new(face: &'static str, tcp: TcpListener, bounds: Bounds, metrics: &ListenerMetrics) -> Self {
        let metrics = metrics.of(face, bounds.connections);
        Self { face, tcp: Arc::new(tcp), tls: None, bounds, metrics }
    }

    /// Over TLS.
    pub fn with_tls(self, tls: ServerTls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Serves gRPC until the shutdown, and what is in flight then to its end.
    pub async fn serve_grpc(self, routes: Routes, shutdown: Shutdown) {
        self.serve(routes.prepare().into_axum_router(), shutdown).await;
    }

    /// Serves a router until the shutdown, and what is in flight then to its end. Requests have the [`Peer`] in their
    /// extensions, and handlers its `ConnectInfo`.
    pub async fn serve(self, router: Router, shutdown: Shutdown) {
        let Self { face, tcp, tls, bounds, metrics } = self;
        let seats = Seats::new(Caps {
            connections: bounds.connections,
            unauthenticated: bounds.unauthenticated,
            per_identity: bounds.per_identity,
        });
        let http = http_of(&bounds);
        let port = Arc::new(Port {
            face,
            tls,
            bounds,
            metrics,
            http,
            router,
            shutdown: shutdown.clone(),
            refusals: BoundedLog::default(),
        });
        let mut connections = JoinSet::new();
        let stop = shutdown.wait();
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stop => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = async { seats.room().await; tcp.accept().await } => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    port.metrics.accepted.inc();
                    match seats.take(address.ip()) {
                        Ok(Taken { seat, evicted }) => {
                            if evicted {
                                port.metrics.ended(Ended::Evicted);
                            }
                            connections.spawn(port.clone().attend(seat, stream, address));
                        }
                        Err(seats::NoPlace) => port.metrics.ended(Ended::Full),
                    }
                }
                Err(error) if concerns_one_connection(&error) => {
                    debug!(face, %error, "a connection ended before it began");
                }
                Err(error) => {
                    if let Some(left_out) = port.refusals.allows() {
                        warn!(face, %error, left_out, "cannot accept a connection");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(tcp);
        while connections.join_next().await.is_some() {}
    }
}

/// Whether one connection failed, rather than accepting as such.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// HTTP within the bounds of a listener.
fn http_of(bounds: &Bounds) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    // A second line: the connection's own task looks sooner.
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.idle * 2)
        .max_buf_size(bounds.head_bytes as usize);
    let (interval, answer) = bounds.ping;
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(interval)
        .keep_alive_timeout(answer)
        .initial_stream_window_size(bounds.stream_window)
        .initial_connection_window_size(bounds.connection_window)
        .max_concurrent_streams(bounds.streams)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(bounds.head_bytes)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(OWN_RESETS);
    if bounds.http2_only { http.http2_only() } else { http }
}

/// What the connections of one listener share.
struct Port {
    face: &'static str,
    tls: Option<ServerTls>,
    bounds: Bounds,
    metrics: FaceMetrics,
    http: auto::Builder<TokioExecutor>,
    router: Router,
    shutdown: Shutdown,
    refusals: BoundedLog,
}

impl Port {
    /// One connection from its accept to its end.
    async fn attend(self: Arc<Self>, seat: Seat, stream: TcpStream, address: SocketAddr) {
        let _open = self.metrics.open();
        prepare(&stream);
        let requests = seat.requests.clone();
        tokio::select! {
            biased;
            () = requests.evicted() => debug!(face = self.face, %address, "closed in favour of another"),
            () = self.clone().begin(&seat, stream, address) => {}
        }
    }

    async fn begin(self: Arc<Self>, seat: &Seat, stream: TcpStream, address: SocketAddr) {
        let Some(tls) = self.tls.clone() else {
            let peer = Peer { identity: None, address, keys: None };
            return self.speak(&seat.requests, stream, peer).await;
        };
        let shaken = tokio::select! {
            shaken = shake_hands(tls, stream, address) => shaken,
            () = self.shutdown.wait() => return,
        };
        let connection = match shaken {
            Ok(connection) => connection,
            Err(why) => return self.refused(why, address).await,
        };
        let peer = connection.peer().clone();
        if let Some(holder) = holder(&peer, self.bounds.by_authority) {
            match seat.identify(&holder) {
                Ok(false) => {}
                Ok(true) => self.metrics.ended(Ended::PeerFull),
                Err(seats::NoPlace) => {
                    self.metrics.ended(Ended::PeerFull);
                    if let Some(left_out) = self.refusals.allows() {
                        let most = self.bounds.per_identity;
                        warn!(face = self.face, %peer, most, left_out, "too many connections of one peer");
                    }
                    return;
                }
            }
        }
        self.speak(&seat.requests, connection, peer).await;
    }

    async fn refused(&self, why: NoHandshake, address: SocketAddr) {
        match why {
            NoHandshake::Left => debug!(face = self.face, %address, "closed before the handshake"),
            NoHandshake::Late(ended) => self.metrics.ended(ended),
            NoHandshake::Refused { error, stream } => {
                self.metrics.ended(Ended::BadHandshake);
                if let Some(left_out) = self.refusals.allows() {
                    let error = telemetry::causes(&error);
                    warn!(face = self.face, %address, %error, left_out, "TLS handshake refused");
                }
                if let Some(stream) = stream {
                    linger(stream).await;
                }
            }
        }
    }

    /// Speaks HTTP on an established connection to its end.
    async fn speak<S>(self: Arc<Self>, requests: &Arc<Requests>, stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let patience = Patience {
            first_request: self.bounds.first_request,
            idle: self.bounds.idle,
            // A subscriber that is slow to take what it subscribed to holds up only itself.
            untaken: peer.identity.is_none().then_some(UNTAKEN),
        };
        let service = {
            let (port, requests) = (self.clone(), requests.clone());
            service_fn(move |request| port.clone().answer(&requests, &peer, request))
        };
        let stream = TokioIo::new(Heard::new(stream, requests.clone()));
        let connection = self.http.serve_connection(stream, service);
        let stop = self.shutdown.wait();
        tokio::pin!(connection, stop);
        let why = tokio::select! {
            biased;
            _ = connection.as_mut() => return, // a broken connection is its client's business
            () = &mut stop => None,
            why = over(requests, &patience) => Some(why),
        };
        if let Some(why) = why {
            self.metrics.ended(why);
        }
        match why {
            None => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
            // A request that crosses the goodbye is still answered.
            Some(Ended::Idle) => {
                connection.as_mut().graceful_shutdown();
                let _ = timeout(GOODBYE, connection).await;
            }
            Some(_) => {}
        }
    }

    /// Answers one request.
    fn answer(
        self: Arc<Self>,
        requests: &Arc<Requests>,
        peer: &Peer,
        mut request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Leaving>, Infallible>> + Send + use<> {
        let http1 = request.version() < Version::HTTP_2;
        let open = requests.open(http1);
        request.extensions_mut().insert(ConnectInfo(peer.clone()));
        request.extensions_mut().insert(peer.clone());
        let path = request.uri().path();
        let within = self.bounds.answer.filter(|_| !self.bounds.unbounded.contains(&path));
        let request = request.map(|body| axum::body::Body::new(Arriving::new(body, open.clone())));
        let answer = self.router.clone().call(request);
        async move {
            let Ok(answer) = match within {
                None => answer.await,
                Some(within) => timeout(within, answer).await.unwrap_or_else(|_| {
                    self.metrics.late_answers.inc();
                    let late = Status::deadline_exceeded(format!("no answer within {within:?}"));
                    Ok(late.into_http())
                }),
            };
            open.answering();
            Ok(answer.map(|body| Leaving::new(body, open)))
        }
    }
}

/// Resolves when a connection has taken too long over something.
async fn over(requests: &Requests, patience: &Patience) -> Ended {
    loop {
        match requests.look(patience, Instant::now()) {
            Look::End(why) => return why,
            Look::Again(at) => sleep_until(at).await,
        }
    }
}

/// Prepares an accepted connection. Only a dead socket refuses it.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(TCP_KEEPALIVE)
        .with_interval(TCP_KEEPALIVE_INTERVAL)
        .with_retries(TCP_KEEPALIVE_RETRIES);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}

/// Whose connection it is; `None` where the peer showed no certificate.
fn holder(peer: &Peer, by_authority: bool) -> Option<seats::Holder> {
    let identity = peer.identity.as_ref()?;
    Some(match &peer.keys {
        Some(keys) if by_authority => seats::Holder::Authority(keys.issuer_digest()),
        _ => seats::Holder::Identity(identity.clone()),
    })
}

#[cfg(test)]
mod tests;
