//! Internal environments, on real sockets.

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, crypto::aws_lc_rs};
use rustls_pki_types::ServerName;
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    harness::*,
    tls::{Certificate, certificate},
};
use crate::testbed::*;

/// An environment that is internal, of two hosts, and one that is not.
fn environments(url: &str) -> Vec<(&'static str, Resources)> {
    let of = |name: &'static str, listener| {
        let route = route_entry(route(name, "/a", &["GET /{p}"]));
        (name, vec![listener, route, upstream_entry(name, upstream(&[url]))])
    };
    vec![
        of("inner", internal_listener("inner", &["inner.gw.example", "*.inner.gw.example"])),
        of("ours", listener("ours", &["api.gw.example"])),
    ]
}

/// Without the line that says when it was answered.
fn undated(text: &str) -> String {
    text.split_inclusive("\r\n").filter(|line| !line.starts_with("date: ")).collect()
}

/// A connection of a client that asks for this name in its handshake.
async fn connected(address: SocketAddr, own: &Certificate, name: &str, alpn: &[u8]) -> TlsStream<TcpStream> {
    let mut client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(own.roots.clone())
        .with_no_client_auth();
    client.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap()
}

/// Status and body of the answer over HTTP/2 to a request for this host.
async fn over_http2(address: SocketAddr, own: &Certificate, host: &str) -> (u16, String) {
    let stream = TokioIo::new(connected(address, own, host, b"h2").await);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(format!("https://{host}/a/x")).body(String::new()).unwrap();
    let answer = collect(sender.send_request(request).await.unwrap()).await.unwrap();
    (answer.status.as_u16(), answer.body)
}

/// The octets of an answer, and the certificate that was shown.
async fn over_tls(address: SocketAddr, own: &Certificate, name: &str, octets: &str) -> (String, Vec<u8>) {
    let mut stream = connected(address, own, name, b"http/1.1").await;
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    stream.write_all(octets.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("it closes");
    let _ = read; // without a closing alert, as HTTP/1.1 allows
    (String::from_utf8(answer).unwrap(), shown)
}

#[tokio::test]
async fn an_internal_environment_answers_at_internal_entries_and_elsewhere_is_not_there() {
    let upstream = Upstream::start().await;
    let own = certificate("*.gw.example", &[b"h2", b"http/1.1"]);
    let setup = Setup { tls: Some(own.server.clone()), ..Default::default() };
    let gateway = Gateway::with(setup, Resources::new());
    gateway.serve_all(environments(&upstream.url()));
    let (https, internal_https) = (gateway.https.unwrap(), gateway.internal_https.unwrap());

    let head = |method: &str, host: &str, more: &str| {
        format!("{method} /a/x HTTP/1.1\r\nhost: {host}\r\n{more}connection: close\r\n\r\n")
    };
    let preflight = "origin: https://o.example\r\naccess-control-request-method: GET\r\n";
    for (method, more, inner) in [
        ("GET", "", "200 "),
        ("HEAD", "", "200 "),
        ("OPTIONS", "", "405 "),
        ("OPTIONS", preflight, "405 "),
        ("TRACE", "max-forwards: 0\r\n", "405 "),
        ("POST", "content-length: 0\r\n", "405 "),
    ] {
        let (there, nowhere) =
            (head(method, "inner.gw.example", more), head(method, "other.gw.example", more));
        let outside = undated(&raw(gateway.http, there.as_bytes()).await);
        assert_eq!(outside, undated(&raw(gateway.http, nowhere.as_bytes()).await), "{method} {more}");
        assert!(outside.starts_with("HTTP/1.1 404 "), "{outside}");
        let inside = undated(&raw(gateway.internal, there.as_bytes()).await);
        assert!(inside.starts_with(&format!("HTTP/1.1 {inner}")), "{inside}");

        let (outside, shown) = over_tls(https, &own, "inner.gw.example", &there).await;
        let (unknown, shown_then) = over_tls(https, &own, "other.gw.example", &nowhere).await;
        assert_eq!((undated(&outside), shown), (undated(&unknown), shown_then), "{method} {more}");
        assert!(outside.starts_with("HTTP/1.1 404 "), "{outside}");
        let (inside, _) = over_tls(internal_https, &own, "inner.gw.example", &there).await;
        assert!(inside.starts_with(&format!("HTTP/1.1 {inner}")), "{inside}");
    }
    // The name of the handshake opens nothing that the host does not, and the other way round.
    let mixed = |host| head("GET", host, "");
    for (sni, host) in [("inner.gw.example", "a.inner.gw.example"), ("api.gw.example", "inner.gw.example")] {
        let (outside, _) = over_tls(https, &own, sni, &mixed(host)).await;
        assert!(outside.starts_with("HTTP/1.1 404 "), "{sni} {outside}");
    }
    let unknown = over_http2(https, &own, "other.gw.example").await;
    assert_eq!(unknown.0, 404);
    assert_eq!(over_http2(https, &own, "inner.gw.example").await, unknown);
    assert_eq!(over_http2(internal_https, &own, "inner.gw.example").await.0, 200);
    let old = "GET /a/x HTTP/1.0\r\n\r\n"; // it names no host
    assert!(raw(gateway.http, old.as_bytes()).await.starts_with("HTTP/1.0 404 "));
    for address in [gateway.http, gateway.internal] {
        let answer = raw(address, mixed("api.gw.example").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}
