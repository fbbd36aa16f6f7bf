//! HTTP/2 clients: bodies, and those that do nothing.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Empty, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Frame, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use tokio_rustls::client::TlsStream;

use super::{
    harness::*,
    tls::{Certificate, certificate, connect},
};
use crate::{config::Limits, testbed::*};

type Body = UnsyncBoxBody<Bytes, Infallible>;

struct World {
    gateway: Gateway,
    certificate: Certificate,
    _upstream: Upstream,
}

impl World {
    async fn with(limits: Limits) -> Self {
        let upstream = Upstream::start().await;
        let certificate = certificate("gateway.example", &[b"h2"]);
        let resources = vec![
            listener("production", &[]),
            route_entry(route("a", "/a", &["GET /{p}", "POST /{p}"])),
            upstream_entry("a", crate::testbed::upstream(&[&upstream.url()])),
        ];
        let setup = Setup { tls: Some(certificate.server.clone()), limits, ..Default::default() };
        Self { gateway: Gateway::with(setup, resources), certificate, _upstream: upstream }
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        connect(&self.gateway, &self.certificate.roots, b"h2").await
    }

    /// With windows of so many octets. The second one resolves when the connection ends.
    async fn client(&self, window: u32) -> (http2::SendRequest<Body>, tokio::task::JoinHandle<()>) {
        let stream = TokioIo::new(self.connect().await);
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).initial_stream_window_size(window);
        let (sender, connection) = builder.handshake(stream).await.unwrap();
        (sender, tokio::spawn(async { drop(connection.await) }))
    }
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
