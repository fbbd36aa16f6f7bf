//! HTTP/2 clients: bodies, and those that do nothing.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{Arc, Mutex, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Empty, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Frame, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::mpsc,
};
use tokio_rustls::client::TlsStream;

use super::{
    harness::*,
    tls::{Certificate, certificate, connect},
};
use crate::{
    config::{Drain, Limits},
    testbed::*,
};

type Body = UnsyncBoxBody<Bytes, Infallible>;

struct World {
    gateway: Gateway,
    certificate: Certificate,
    upstream: Upstream,
}

impl World {
    async fn with(limits: Limits) -> Self {
        Self::of(Setup { limits, ..Default::default() }).await
    }

    async fn of(setup: Setup) -> Self {
        let upstream = Upstream::start().await;
        let certificate = certificate("gateway.example", &[b"h2"]);
        let resources = vec![
            listener("production", &[]),
            route_entry(route("a", "/a", &["GET /{p}", "POST /{p}"])),
            upstream_entry("a", crate::testbed::upstream(&[&upstream.url()])),
        ];
        let setup = Setup { tls: Some(certificate.server.clone()), ..setup };
        Self { gateway: Gateway::with(setup, resources), certificate, upstream }
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        connect(&self.gateway, &self.certificate.roots, b"h2").await
    }

    /// With windows of so many octets. The second one resolves when the connection ends.
    async fn client(&self, window: u32) -> (http2::SendRequest<Body>, tokio::task::JoinHandle<()>) {
        Self::over(self.connect().await, window).await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        window: u32,
    ) -> (http2::SendRequest<Body>, tokio::task::JoinHandle<()>) {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).initial_stream_window_size(window);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        (sender, tokio::spawn(async { drop(connection.await) }))
    }
}

/// A stream that remembers what came on it.
struct Overheard<S> {
    stream: S,
    came: Arc<Mutex<Vec<u8>>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Overheard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = room.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, room);
        self.came.lock().unwrap().extend_from_slice(&room.filled()[before..]);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Overheard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The GOAWAY frames among what came: the last stream that is answered, and the error (RFC 9113 §6.8).
fn goaways(mut came: &[u8]) -> Vec<(u32, u32)> {
    const HEAD: usize = 9;
    const GOAWAY: u8 = 7;
    let number = |octets: &[u8]| u32::from_be_bytes(octets.try_into().unwrap());
    let mut goaways = Vec::new();
    while came.len() >= HEAD {
        let length = number(&[0, came[0], came[1], came[2]]) as usize;
        let Some(payload) = came.get(HEAD..HEAD + length) else { break };
        if came[3] == GOAWAY {
            goaways.push((number(&payload[..4]), number(&payload[4..8])));
        }
        came = &came[HEAD + length..];
    }
    goaways
}

fn asks(method: Method, path: &str, body: Body) -> Request<Body> {
    Request::builder().method(method).uri(format!("https://gateway.example{path}")).body(body).unwrap()
}

#[tokio::test]
async fn bodies_without_a_length_pass_whatever_the_method() {
    let world = World::with(Limits::default()).await;
    let (mut sender, _connection) = world.client(1 << 20).await;
    for method in [Method::GET, Method::HEAD, Method::POST] {
        let frames = [Bytes::from_static(b"hel"), Bytes::from_static(b"lo")];
        let frames = frames.map(|data| Ok::<_, Infallible>(Frame::data(data)));
        let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
        let answer = sender.send_request(asks(method.clone(), "/a/x", body)).await.unwrap();
        assert_eq!(answer.headers()["x-received"], "5", "{method}");
    }
}

#[tokio::test]
async fn connections_without_a_stream_are_closed() {
    let world = World::with(Limits { header_timeout_ms: 200, ..Default::default() }).await;
    // Nothing at all, not even the preface.
    let mut silent = world.connect().await;
    let mut said = Vec::new();
    let _ = tokio::time::timeout(SOON, silent.read_to_end(&mut said)).await.expect("closed in time");
    // Served once, then idle.
    let (mut sender, connection) = world.client(1 << 20).await;
    let request = asks(Method::GET, "/a/x", Empty::new().boxed_unsync());
    collect(sender.send_request(request).await.unwrap()).await.unwrap().seen();
    tokio::time::timeout(SOON, connection).await.expect("closed in time").unwrap();
}

#[tokio::test]
async fn a_slow_exchange_is_not_an_idle_connection() {
    let world = World::with(Limits { header_timeout_ms: 50, ..Default::default() }).await;
    let (mut sender, _connection) = world.client(1 << 20).await;
    let frames = futures_util::stream::unfold(0, |sent| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        (sent < 5).then_some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x"))), sent + 1))
    });
    let body = StreamBody::new(frames);
    let request = asks(Method::POST, "/a/x", body.boxed_unsync());
    let seen = collect(sender.send_request(request).await.unwrap()).await.unwrap().seen();
    assert_eq!(seen.body, "xxxxx");
}

#[tokio::test]
async fn a_client_that_keeps_its_window_shut_is_cut() {
    let world = World::with(Limits { client_silence_ms: 200, ..Default::default() }).await;
    let (mut sender, connection) = world.client(1_000).await;
    let answer =
        sender.send_request(asks(Method::GET, "/a/large", Empty::new().boxed_unsync())).await.unwrap();
    assert_eq!(answer.status(), 200);
    tokio::time::timeout(SOON, connection).await.expect("cut in time").unwrap();
    drop(answer);
}

#[tokio::test]
async fn a_client_that_never_opens_its_window_is_cut_too() {
    let world = World::with(Limits { client_silence_ms: 200, ..Default::default() }).await;
    let (mut sender, connection) = world.client(0).await;
    let answer =
        sender.send_request(asks(Method::GET, "/a/large", Empty::new().boxed_unsync())).await.unwrap();
    assert_eq!(answer.status(), 200);
    tokio::time::timeout(SOON, connection).await.expect("cut in time").unwrap();
    drop(answer);
}

#[tokio::test]
async fn clients_that_keep_their_windows_shut_keep_no_client_out() {
    for window in [0, 1_000] {
        let limits = Limits { max_connections: Some(1), ..Default::default() };
        let world = World::of(Setup { limits, workers: 1, ..Default::default() }).await;
        let (mut sender, connection) = world.client(window).await;
        let large = asks(Method::GET, "/a/large", Empty::new().boxed_unsync());
        let _untaken = sender.send_request(large).await.unwrap();
        eventually("another is served", async || {
            let stream = TcpStream::connect(world.gateway.http).await.unwrap();
            Client::over(stream).await.try_call(request("GET /a/x", &[], "")).await.is_ok()
        })
        .await;
        tokio::time::timeout(SOON, connection).await.expect("closed in time").unwrap();
    }
}

#[tokio::test]
async fn at_the_end_a_client_is_told_goaway_its_request_is_finished_and_the_next_goes_elsewhere() {
    /// Any stream that was sent so far is answered (RFC 9113 §6.8).
    const ALL: u32 = u32::MAX >> 1;
    let drain = Drain { announce_ms: 0, limit_ms: 60_000 };
    let mut world = World::of(Setup { drain, ..Default::default() }).await;
    let came = Arc::<Mutex<Vec<u8>>>::default();
    let stream = Overheard { stream: world.connect().await, came: came.clone() };
    let (mut sender, connection) = World::over(stream, 1 << 20).await;
    let told = || goaways(&came.lock().unwrap());

    // A request that is under way until its client has said all.
    let (say, said) = mpsc::unbounded_channel::<&'static str>();
    let frames = futures_util::stream::unfold(said, |mut said| async move {
        let data = Bytes::from_static(said.recv().await?.as_bytes());
        Some((Ok::<_, Infallible>(Frame::data(data)), said))
    });
    let request = asks(Method::POST, "/a/x", StreamBody::new(frames).boxed_unsync());
    let mut second = sender.clone();
    let running = tokio::spawn(async move { collect(sender.send_request(request).await?).await });
    say.send("begun ").unwrap();
    let arrived = || world.upstream.requests.load(Ordering::SeqCst);
    eventually("the request is under way", async || arrived() == 1).await;
    assert_eq!(told(), []);

    world.gateway.trigger.trigger();
    eventually("the client is told", async || !told().is_empty()).await;
    assert_eq!(told()[0], (ALL, 0), "no error, and nothing lost");
    // What the client asks for next is for another connection, and another gateway: this one takes none.
    let next = || asks(Method::GET, "/a/x", Empty::new().boxed_unsync());
    let asked = async { second.ready().await.is_ok() && second.send_request(next()).await.is_ok() };
    let answered = tokio::time::timeout(SOON, asked).await.expect("an answer in time");
    assert!(!answered, "a new request on a connection that is ending");
    let https = world.gateway.https.unwrap();
    eventually("new connections are refused", async || std::net::TcpStream::connect(https).is_err()).await;
    let elsewhere = World::with(Limits::default()).await;
    let (mut other, _connection) = elsewhere.client(1 << 20).await;
    collect(other.send_request(next()).await.unwrap()).await.unwrap().seen();

    assert!(!running.is_finished());
    say.send("and finished").unwrap();
    drop(say);
    let answer = tokio::time::timeout(SOON, running).await.expect("an answer in time").unwrap().unwrap();
    assert_eq!(answer.seen().body, "begun and finished");
    tokio::time::timeout(SOON, connection).await.expect("closed in time").unwrap();
    assert_eq!(told().last(), Some(&(1, 0)), "up to the only stream there was");
    let ended = world.gateway.dataplane.take().unwrap().ended();
    tokio::time::timeout(SOON, ended).await.expect("an end in time").unwrap();
    assert_eq!(arrived(), 1);
    let workers = &world.gateway.metrics.workers;
    assert!(workers.iter().all(|own| own.cut_connections.load(Ordering::Relaxed) == 0));
}

#[tokio::test]
async fn a_refusal_of_head_says_how_long_it_would_be_and_has_no_body() {
    let world = World::with(Limits::default()).await;
    let refused = world.gateway.get("GET /a/x/unknown").await;
    assert_eq!(refused.problem(), "no-route");
    let (mut client, _ended) = world.client(64 << 10).await;
    let head = asks(Method::HEAD, "/a/x/unknown", Empty::new().boxed_unsync());
    let answer = collect(client.send_request(head).await.unwrap()).await.expect("a whole answer");
    assert_eq!((answer.status, &*answer.body), (refused.status, ""));
    assert_eq!(answer.header("content-length"), refused.header("content-length"));
}
