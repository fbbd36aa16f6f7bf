//! TLS on both sides.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use hanse_proto::runtime::{self, upstream::Host};
use http::Request;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::harness::*;
use crate::{health::Standing, testbed::*};

pub(super) struct Certificate {
    pem: String,
    pub(super) server: Arc<ServerConfig>,
    pub(super) roots: RootCertStore,
}

/// A certificate that is its own root.
pub(super) fn certificate(name: &str, alpn: &[&[u8]]) -> Certificate {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let mut server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    server.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    Certificate { pem: cert.pem(), server: Arc::new(server), roots }
}

pub(super) async fn connect(
    gateway: &Gateway,
    roots: &RootCertStore,
    alpn: &[u8],
) -> tokio_rustls::client::TlsStream<TcpStream> {
    connect_over(TcpStream::connect(gateway.https.unwrap()).await.unwrap(), roots, alpn).await
}

pub(super) async fn connect_over(
    stream: TcpStream,
    roots: &RootCertStore,
    alpn: &[u8],
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    client.alpn_protocols = vec![alpn.to_vec()];
    let name = ServerName::try_from("gateway.example").unwrap();
    TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap()
}

fn api(upstream: runtime::Upstream) -> Resources {
    vec![
        listener("production", &[]),
        route_entry(route("a", "/a", &["GET /{p}", "POST /{p}"])),
        upstream_entry("a", upstream),
    ]
}

#[tokio::test]
async fn clients_may_speak_http_1_and_2_over_tls() {
    let upstream = Upstream::start().await;
    let own = certificate("gateway.example", &[b"h2", b"http/1.1"]);
    let setup = Setup { tls: Some(own.server.clone()), ..Default::default() };
    let gateway = Gateway::with(setup, api(crate::testbed::upstream(&[&upstream.url()])));

    let mut client = Client::over(connect(&gateway, &own.roots, b"http/1.1").await).await;
    let seen = client.call(request("POST /a/x", &[], "one")).await.seen();
    assert_eq!((seen.header("x-forwarded-proto").as_str(), seen.body.as_str()), ("https", "one"));

    let stream = TokioIo::new(connect(&gateway, &own.roots, b"h2").await);
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let calls = (0..20).map(|number| {
        let (mut sender, at) = (sender.clone(), upstream.address.to_string());
        async move {
            let request = Request::post(format!("https://gateway.example/a/{number}"))
                .header("cookie", "a=1")
                .header("cookie", "b=2")
                .body(Full::<Bytes>::from("two"))
                .unwrap();
            let seen = collect(sender.send_request(request).await.unwrap()).await.unwrap().seen();
            assert_eq!((seen.target, seen.body), (format!("/{number}"), "two".to_owned()));
            let header =
                |name| seen.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
            assert_eq!(header("x-forwarded-host").as_deref(), Some("gateway.example"));
            assert_eq!(header("host"), Some(at.clone()));
            assert_eq!(header("cookie").as_deref(), Some("a=1; b=2"));
        }
    });
    tokio::time::timeout(SOON, futures_util::future::join_all(calls)).await.unwrap();
    let unknown = Request::get("https://gateway.example/unknown").body(Full::<Bytes>::from("")).unwrap();
    let answer = collect(sender.clone().send_request(unknown).await.unwrap()).await.unwrap();
    assert_eq!(answer.problem(), "no-route");
}

#[tokio::test]
async fn a_failed_handshake_is_counted_and_harms_nobody() {
    let upstream = Upstream::start().await;
    let own = certificate("gateway.example", &[]);
    let setup = Setup { tls: Some(own.server.clone()), ..Default::default() };
    let gateway = Gateway::with(setup, api(crate::testbed::upstream(&[&upstream.url()])));
    let _silent = TcpStream::connect(gateway.https.unwrap()).await.unwrap();
    raw(gateway.https.unwrap(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually("the failure is counted", async || {
        gateway.metrics.workers.iter().map(|own| own.failed_handshakes.load(Ordering::Relaxed)).sum::<u64>()
            == 1
    })
    .await;
    let mut client = Client::over(connect(&gateway, &own.roots, b"http/1.1").await).await;
    client.call(request("GET /a/x", &[], "")).await.seen();
}

/// An upstream over TLS that answers 200 to everything, with the name that it was asked for in the handshake and the `Host`.
async fn secure_upstream(server: Arc<ServerConfig>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = TlsAcceptor::from(server.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let name = stream.get_ref().1.server_name().unwrap_or_default().to_owned();
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    let answer = http::Response::builder()
                        .header("x-name", &name)
                        .header("x-host", &request.headers()["host"])
                        .body(Full::<Bytes>::from("secure"));
                    std::future::ready(answer)
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    port
}

#[tokio::test]
async fn upstreams_over_tls_are_verified() {
    let theirs = certificate("orders.internal", &[]);
    let port = secure_upstream(theirs.server.clone()).await;
    let url = format!("https://127.0.0.1:{port}");
    let check = async |ca_pem: &str, server_name: &str, wanted: &str| {
        let mut given = upstream(&[&url]);
        given.ca_pem = ca_pem.to_owned();
        given.server_name = server_name.to_owned();
        let answer = Gateway::serving(api(given)).get("GET /a/x").await;
        let got = if answer.status == 200 { answer.body } else { answer.problem() };
        assert_eq!(got, wanted, "{server_name}");
    };
    check(&theirs.pem, "orders.internal", "secure").await;
    check(&theirs.pem, "other.internal", "upstream-unreachable").await;
    check(&theirs.pem, "", "upstream-unreachable").await; // the address is not in the certificate
    check("", "orders.internal", "upstream-unreachable").await; // not under a public root
}

/// The rules change between the connection and the handshake of TLS.
#[tokio::test]
async fn a_connection_that_earlier_rules_allowed_takes_no_request() {
    let theirs = certificate("orders.internal", &[]);
    let port = secure_upstream(theirs.server.clone()).await;
    let (gate, goes_on) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Arc::new(Notify::new()));
    let url = format!("https://{}", gate.local_addr().unwrap());
    let (accepted, connections) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    tokio::spawn({
        let (goes_on, accepted, connections) = (goes_on.clone(), accepted.clone(), connections.clone());
        async move {
            while let Ok((mut stream, _)) = gate.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                accepted.notify_one();
                goes_on.notified().await;
                let mut behind = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut stream, &mut behind).await });
            }
        }
    });
    let mut given = upstream(&[&url]);
    (given.ca_pem, given.server_name) = (theirs.pem, "orders.internal".to_owned());
    let gateway = Gateway::serving(api(given));
    for (deny, connected) in [("10.0.0.0/8", 2), ("127.0.0.0/8", 3)] {
        let asking = tokio::spawn({
            let address = gateway.http;
            async move { Client::connect(address).await.call(request("GET /a/x", &[], "")).await }
        });
        tokio::time::timeout(SOON, accepted.notified()).await.expect("a connection");
        gateway.change(vec![closed_listener("production", &[deny])]);
        goes_on.notify_one();
        if connected == 2 {
            tokio::time::timeout(SOON, accepted.notified()).await.expect("a connection");
            goes_on.notify_one();
        }
        let answer = asking.await.unwrap();
        let got = if answer.status == 200 { answer.body } else { answer.problem() };
        assert_eq!(got, if connected == 2 { "secure" } else { "egress-denied" });
        assert_eq!(connections.load(Ordering::SeqCst), connected);
        // The next request makes a connection of its own.
        gateway.change(vec![listener("production", &[])]);
    }
}

#[tokio::test]
async fn the_name_in_the_certificate_does_not_follow_the_host() {
    let name = |host: &str| Some(Host::HostName(host.to_owned()));
    let preserve = || Some(Host::ClientHost(runtime::ClientHost {}));
    let (url, client) = ("localhost", "gateway.example:8080");
    for (certified, server_name, host, wanted) in [
        // The URL's host is asked for…
        ("localhost", "", None, Some((url, "localhost:PORT"))),
        ("localhost", "", name("shop.internal:8443"), Some((url, "shop.internal:8443"))),
        ("localhost", "", preserve(), Some((url, client))),
        ("shop.internal", "", name("shop.internal"), None),
        ("gateway.example", "", preserve(), None),
        // … unless `serverName` says another one.
        (
            "orders.internal",
            "orders.internal",
            name("shop.internal"),
            Some(("orders.internal", "shop.internal")),
        ),
        ("orders.internal", "orders.internal", preserve(), Some(("orders.internal", client))),
        ("shop.internal", "orders.internal", name("shop.internal"), None),
        ("gateway.example", "orders.internal", preserve(), None),
        ("localhost", "orders.internal", None, None),
    ] {
        let theirs = certificate(certified, &[]);
        let port = secure_upstream(theirs.server.clone()).await;
        let given = runtime::Upstream {
            ca_pem: theirs.pem,
            server_name: server_name.to_owned(),
            host,
            ..upstream(&[&format!("https://localhost:{port}")])
        };
        let case = format!("{certified}, {server_name}, {:?}", given.host);
        let answer = Gateway::serving(api(given)).get("GET /a/x").await;
        match wanted {
            Some((name, host)) => {
                let host = host.replace("PORT", &port.to_string());
                assert_eq!((answer.header("x-name"), answer.header("x-host")), (name, &*host), "{case}");
            }
            None => assert_eq!(answer.problem(), "upstream-unreachable", "{case}"),
        }
    }
}

#[tokio::test]
async fn checks_go_over_the_upstreams_own_tls_settings() {
    let theirs = certificate("orders.internal", &[]);
    let url = format!("https://127.0.0.1:{}", secure_upstream(theirs.server.clone()).await);
    let check = async |server_name: &str, host: Option<Host>, wanted: Standing| {
        let mut given = upstream(&[&url]);
        given.ca_pem = theirs.pem.clone();
        given.server_name = server_name.to_owned();
        given.host = host;
        given.health_check = Some(runtime::HealthCheck {
            path: "/".to_owned(),
            interval_ms: 20,
            timeout_ms: 5_000,
            unhealthy_after: 1,
            healthy_after: 1,
            expect_status: 200,
        });
        let gateway = Gateway::serving(api(given));
        let checks = || {
            let (metrics, ordering) = (&gateway.metrics, Ordering::Relaxed);
            metrics.checks_passed.load(ordering) + metrics.checks_failed.load(ordering)
        };
        eventually("it was asked", async || checks() > 1).await;
        let found = gateway.endpoints.summary(1);
        assert_eq!(found.iter().map(|one| one.health).collect::<Vec<_>>(), [wanted], "{found:?}");
    };
    let name = |host: &str| Some(Host::HostName(host.to_owned()));
    check("orders.internal", None, Standing::Healthy).await;
    check("orders.internal", name("other.internal"), Standing::Healthy).await;
    check("other.internal", None, Standing::Unhealthy).await;
    check("other.internal", name("orders.internal"), Standing::Unhealthy).await;
}
