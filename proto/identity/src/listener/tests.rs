//! Listeners under clients that hold on.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{extract::ConnectInfo, routing::get};
use bytes::Bytes;
use hanse_process::ShutdownTrigger;
use hanse_proto::enrolment::{
    EnrolRequest, EnrolResponse, RenewRequest, RenewResponse,
    enrolment_server::{Enrolment, EnrolmentServer},
};
use http_body_util::{BodyExt, Empty, StreamBody, combinators::BoxBody};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinHandle,
};

use super::*;
use crate::{
    Alpn, Clients, server_tls,
    testbed::{Federation, dial, soon},
};
use hanse_topology::Role;

/// A listener being served, and how to stop it.
struct Served {
    address: SocketAddr,
    metrics: ListenerMetrics,
    connections: usize,
    trigger: ShutdownTrigger,
    task: JoinHandle<()>,
}

impl Served {
    async fn start(bounds: Bounds, tls: Option<ServerTls>, router: Router) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let (metrics, connections) = (ListenerMetrics::default(), bounds.connections);
        let mut listener = Listener::new("test", tcp, bounds, &metrics);
        if let Some(tls) = tls {
            listener = listener.with_tls(tls);
        }
        let (trigger, shutdown) = ShutdownTrigger::new();
        let task = tokio::spawn(listener.serve(router, shutdown));
        Self { address, metrics, connections, trigger, task }
    }

    async fn pages(bounds: Bounds) -> Self {
        Self::start(bounds, None, Router::new().route("/", get(async || "page"))).await
    }

    fn ended(&self, why: Ended) -> u64 {
        self.counted().count(why)
    }

    fn open(&self) -> i64 {
        self.counted().connections.get()
    }

    fn counted(&self) -> FaceMetrics {
        self.metrics.of("test", self.connections)
    }

    async fn dial(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Waits until so many connections are open.
    async fn has_open(&self, open: i64) {
        soon(async {
            while self.open() != open {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

/// Asks for a page as HTTP/1 does; the answer's status.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<u16> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"page") {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(String::from_utf8_lossy(&answer)[9..12].parse().unwrap())
}

/// Resolves when the other side closed.
async fn closed(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    loop {
        match stream.read(&mut [0; 1024]).await {
            Ok(0) | Err(_) => return true,
            Ok(_) => {}
        }
    }
}

#[tokio::test]
async fn serves_with_the_peer_at_hand_until_the_shutdown() {
    let federation = Federation::new();
    let tls = server_tls(
        &federation.live("cp-1.server.control"),
        federation.mutual(&[Role::Agent]),
        Alpn::Http1And2,
    );
    let who = async |ConnectInfo(peer): ConnectInfo<Peer>| format!("{} page", peer.identity.unwrap());
    let router = Router::new().route("/", get(who));
    let mut bounds = Bounds::of_federation(10);
    bounds.http2_only = false;
    let served = Served::start(bounds, Some(tls.unwrap()), router).await;

    let mut client = (*federation.client("a.agent.eu-west", &[Role::Server])).clone();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut stream = soon(dial(served.address, Arc::new(client))).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("a.agent.eu-west.hanse.internal page"), "{answer}");

    served.trigger.trigger();
    soon(served.task).await.unwrap();
    assert!(TcpStream::connect(served.address).await.is_err(), "the port is closed");
}

#[tokio::test]
async fn a_full_listener_serves_newcomers_and_closes_the_oldest_idle() {
    let served = Served::pages(Bounds::of_admin(20)).await;
    let mut idle = VecDeque::new();
    for _ in 0..200 {
        idle.push_back(served.dial().await);
        // Half a head protects as little as silence.
        idle.back_mut().unwrap().write_all(b"GET / HTTP/1.1\r\nHost").await.unwrap();
    }
    let mut honest = served.dial().await;
    assert_eq!(soon(ask(&mut honest)).await.unwrap(), 200);
    assert!(soon(closed(idle.front_mut().unwrap())).await);
    served.has_open(20).await;
    assert_eq!((served.ended(Ended::Evicted), served.ended(Ended::Full)), (181, 0));
}

/// Counts what reaches it.
#[derive(Clone, Default)]
struct Begun(Arc<AtomicUsize>);

impl Begun {
    fn one(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until exactly so many have.
    async fn are(&self, so_many: usize) {
        soon(async {
            while self.0.load(Ordering::SeqCst) < so_many {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        assert_eq!(self.0.load(Ordering::SeqCst), so_many);
    }
}

#[tokio::test]
async fn requests_in_flight_are_not_closed_for_others() {
    let begun = Begun::default();
    let counted = begun.clone();
    let hang = async move || {
        counted.one();
        std::future::pending::<&str>().await
    };
    let served = Served::start(Bounds::of_admin(3), None, Router::new().route("/", get(hang))).await;
    let mut busy = Vec::new();
    for _ in 0..3 {
        busy.push(served.dial().await);
        busy.last_mut().unwrap().write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    }
    begun.are(3).await;
    assert!(soon(closed(&mut served.dial().await)).await);
    assert_eq!((served.open(), served.ended(Ended::Full), served.ended(Ended::Evicted)), (3, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn silence_ends_in_time() {
    let served = Served::pages(Bounds::of_admin(20)).await;
    let mut silent = served.dial().await;
    let begun = Instant::now();
    assert!(closed(&mut silent).await);
    assert_eq!((begun.elapsed().as_secs(), served.ended(Ended::NoRequest)), (10, 1));

    let mut once = served.dial().await;
    ask(&mut once).await.unwrap();
    let begun = Instant::now();
    assert!(closed(&mut once).await);
    assert_eq!((begun.elapsed().as_secs(), served.ended(Ended::Idle)), (75, 1));

    let mut half = served.dial().await;
    ask(&mut half).await.unwrap();
    half.write_all(b"GET / HT").await.unwrap();
    let begun = Instant::now();
    assert!(closed(&mut half).await);
    assert_eq!((begun.elapsed().as_secs(), served.ended(Ended::HalfHead)), (10, 1));
}

type Sender = hyper::client::conn::http2::SendRequest<BoxBody<Bytes, Infallible>>;

/// An HTTP/2 client without TLS, with a stream window of its choice.
async fn http2(served: &Served, window: u32) -> (Sender, JoinHandle<()>) {
    let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(window)
        .handshake(TokioIo::new(served.dial().await))
        .await
        .unwrap();
    (sender, tokio::spawn(async move { drop(connection.await) }))
}

fn get_page(served: &Served, path: &str) -> Request<BoxBody<Bytes, Infallible>> {
    let uri = format!("http://{}{path}", served.address);
    Request::get(uri).body(Empty::new().boxed()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_idle_http2_connection_ends_and_a_watch_does_not() {
    let watch = async || {
        let (sender, mut events) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(60)).await;
                let _ = sender.send(Ok::<_, Infallible>(Bytes::from_static(b"event"))).await;
            }
        });
        axum::body::Body::from_stream(futures_util::stream::poll_fn(move |cx| events.poll_recv(cx)))
    };
    let router = Router::new().route("/", get(async || "page")).route("/watch", get(watch));
    let served = Served::start(Bounds::of_api(20), None, router).await;
    let (mut sender, ended) = http2(&served, 64 << 10).await;
    sender.send_request(get_page(&served, "/")).await.unwrap().into_body().collect().await.unwrap();
    let begun = Instant::now();
    ended.await.unwrap();
    assert_eq!((begun.elapsed().as_secs(), served.ended(Ended::Idle)), (75, 1));

    let (mut sender, _connection) = http2(&served, 64 << 10).await;
    let begun = Instant::now();
    let watched = sender.send_request(get_page(&served, "/watch")).await.unwrap();
    let events = watched.into_body().collect().await.unwrap().to_bytes();
    assert_eq!((events.len(), begun.elapsed().as_secs()), (50, 600));
}

#[tokio::test]
async fn an_answer_that_the_client_does_not_take_protects_no_connection() {
    let router = Router::new().route("/", get(async || vec![7_u8; 1 << 20]));
    let served = Served::start(Bounds::of_api(2), None, router).await;
    let (mut sender, ended) = http2(&served, 1).await;
    let untaken = soon(sender.send_request(get_page(&served, "/"))).await.unwrap();
    let others = (served.dial().await, served.dial().await);
    soon(ended).await.unwrap();
    assert_eq!(served.ended(Ended::Evicted), 1);
    drop((untaken, others));
}

/// A desk that no message reaches in whole.
struct Unreached;

#[tonic::async_trait]
impl Enrolment for Unreached {
    async fn enrol(&self, _: tonic::Request<EnrolRequest>) -> Result<tonic::Response<EnrolResponse>, Status> {
        Err(Status::permission_denied("reached"))
    }

    async fn renew(&self, _: tonic::Request<RenewRequest>) -> Result<tonic::Response<RenewResponse>, Status> {
        Err(Status::permission_denied("reached"))
    }
}

/// A message that says it has `announced` octets, and then has `sent` of them and goes on for ever.
fn half_a_message(served: &Served, announced: u32, sent: usize) -> Request<BoxBody<Bytes, Infallible>> {
    let mut head = vec![0];
    head.extend(announced.to_be_bytes());
    head.resize(5 + sent, 7);
    let first =
        futures_util::stream::once(
            async move { Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(head))) },
        );
    let body = StreamBody::new(futures_util::StreamExt::chain(first, futures_util::stream::pending()));
    let uri = format!("http://{}/hanse.enrolment.v1.Enrolment/Enrol", served.address);
    let request = Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
    request.body(BodyExt::boxed(body)).unwrap()
}

#[tokio::test]
async fn half_a_message_is_given_up_and_a_large_one_refused_at_its_head() {
    let server = EnrolmentServer::new(Unreached).max_decoding_message_size(crate::MAX_ENROLMENT_BYTES);
    let router = Routes::new(server).prepare().into_axum_router();
    let bounds = Bounds { answer: Some(Duration::from_millis(200)), ..Bounds::of_enrolment(20) };
    let served = Served::start(bounds, None, router).await;
    let (mut sender, _connection) = http2(&served, 64 << 10).await;
    let refused = soon(sender.send_request(half_a_message(&served, 4 << 20, 0))).await.unwrap();
    assert_eq!(refused.headers()["grpc-status"], "11", "out of range: {refused:?}");
    assert_eq!(served.counted().late_answers.get(), 0);
    let late = soon(sender.send_request(half_a_message(&served, 1_000, 500))).await.unwrap();
    assert_eq!(late.headers()["grpc-status"], "4", "deadline exceeded: {late:?}");
    assert_eq!(served.counted().late_answers.get(), 1);
}

#[tokio::test]
async fn one_connection_gets_few_streams_and_half_requests_protect_it_not() {
    let begun = Begun::default();
    let counted = begun.clone();
    let router = Router::new().fallback(async move |request: axum::extract::Request| {
        counted.one();
        drop(request.into_body().collect().await);
    });
    let served = Served::start(Bounds::of_enrolment(20), None, router).await;
    let (mut sender, connection) = http2(&served, 64 << 10).await;
    // With its answer the client has the listener's settings.
    soon(sender.send_request(get_page(&served, "/"))).await.unwrap();
    let ask = || {
        let (mut sender, request) = (sender.clone(), half_a_message(&served, 4_000, 0));
        tokio::spawn(async move { sender.send_request(request).await })
    };
    let asked: Vec<_> = (0..10).map(|_| ask()).collect();
    begun.are(1 + 4).await;
    asked[0].abort();
    begun.are(1 + 5).await;
    // A full listener closes it for others, though four requests are half there.
    let others = futures_util::future::join_all((0..20).map(|_| served.dial())).await;
    soon(connection).await.unwrap();
    assert_eq!(served.ended(Ended::Evicted), 1);
    drop(others);
}

#[tokio::test]
async fn silent_handshakes_hold_up_nobody() {
    let federation = Federation::new();
    let tls = federation.server("a.agent.eu-west", &[Role::Gateway]);
    let mut bounds = Bounds::of_federation(400);
    bounds.http2_only = false;
    let served = Served::start(bounds, Some(tls), Router::new().route("/", get(async || "page"))).await;
    // Ten times as many as there are places for handshakes.
    let mut silent = Vec::new();
    for _ in 0..1_000 {
        silent.push(served.dial().await);
    }
    // One that stops in the middle of its hello.
    silent.last_mut().unwrap().write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await.unwrap();
    let client = federation.client("g.gateway.eu-west", &[Role::Agent]);
    let begun = std::time::Instant::now();
    let mut stream = soon(dial(served.address, client)).await.unwrap();
    assert_eq!(soon(ask(&mut stream)).await.unwrap(), 200);
    assert!(begun.elapsed() < Duration::from_secs(2), "it took {:?}", begun.elapsed());
    assert!(served.ended(Ended::Evicted) >= 900);
}

#[tokio::test(start_paused = true)]
async fn unfinished_handshakes_are_given_up() {
    let federation = Federation::new();
    let tls = federation.server("a.agent.eu-west", &[Role::Gateway]);
    let served = Served::start(Bounds::of_federation(400), Some(tls), Router::new()).await;
    let mut silent = served.dial().await;
    let mut halting = served.dial().await;
    halting.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await.unwrap();
    let begun = Instant::now();
    // Time is paused and runs to the next timer when all tasks wait.
    assert!(closed(&mut silent).await && closed(&mut halting).await);
    assert_eq!((begun.elapsed().as_secs(), served.ended(Ended::NoHello)), (3, 2));
}

#[tokio::test]
async fn connections_that_end_with_their_listener_are_open_no_more() {
    let served = Served::pages(Bounds::of_admin(10)).await;
    let _client = served.dial().await;
    served.has_open(1).await;
    served.task.abort(); // as when it is started again
    served.has_open(0).await;
}

#[tokio::test]
async fn a_peer_has_no_more_connections_than_its_share_and_others_have_theirs() {
    let federation = Federation::new();
    let tls = federation.server("a.agent.eu-west", &[Role::Gateway]);
    let mut bounds = Bounds::of_federation(400);
    bounds.http2_only = false;
    bounds.per_identity = 2;
    let served = Served::start(bounds, Some(tls), Router::new().route("/", get(async || "page"))).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let client = federation.client("g.gateway.eu-west", &[Role::Agent]);
        let mut stream = soon(dial(served.address, client)).await.unwrap();
        soon(ask(&mut stream)).await.unwrap();
        streams.push(stream);
    }
    assert!(soon(closed(&mut streams[0])).await, "the oldest gave way");
    assert_eq!(served.ended(Ended::PeerFull), 1);
    let other = federation.client("h.gateway.eu-west", &[Role::Agent]);
    let mut other = soon(dial(served.address, other)).await.unwrap();
    soon(ask(&mut other)).await.unwrap();
    soon(ask(&mut streams[2])).await.unwrap();
}

#[tokio::test]
async fn anyone_may_be_refused_for_a_bad_hello() {
    let federation = Federation::new();
    let tls = server_tls(&federation.live("cp-1.server.control"), Clients::Anyone, Alpn::Http1And2).unwrap();
    let served = Served::start(Bounds::of_api(20), Some(tls), Router::new()).await;
    let mut plain = served.dial().await;
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(soon(closed(&mut plain)).await);
    soon(async {
        while served.ended(Ended::BadHandshake) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
