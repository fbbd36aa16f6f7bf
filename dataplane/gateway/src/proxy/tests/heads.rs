//! Requests that are too large or framed badly: what their clients, the access log and the upstream see.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{
    harness::*,
    tls::{Certificate, certificate, connect},
};

/// An upstream that never answers, and keeps what came on each connection.
struct Uploads {
    address: SocketAddr,
    came: Arc<Mutex<Vec<Upload>>>,
    taken: AtomicUsize,
}

#[derive(Debug, Default, Clone)]
struct Upload {
    octets: Vec<u8>,
    is_over: bool,
}

impl Uploads {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let came = Arc::<Mutex<Vec<Upload>>>::default();
        let kept = came.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let at = {
                    let mut kept = kept.lock().unwrap();
                    kept.push(Upload::default());
                    kept.len() - 1
                };
                let kept = kept.clone();
                tokio::spawn(async move {
                    let mut room = [0; 1_024];
                    loop {
                        let read = stream.read(&mut room).await.unwrap_or(0);
                        let own = &mut kept.lock().unwrap()[at];
                        own.octets.extend_from_slice(&room[..read]);
                        own.is_over = read == 0;
                        if own.is_over {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, came, taken: AtomicUsize::new(0) }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until a part of one more body is there.
    async fn next_came(&self) {
        let number = self.taken.fetch_add(1, Ordering::SeqCst);
        let came = || {
            self.came
                .lock()
                .unwrap()
                .get(number)
                .is_some_and(|own| own.octets.ends_with(b"four\r\n") || own.octets.ends_with(b"four"))
        };
        eventually("a part of the body comes", async || came()).await;
    }

    /// All connections are over, and no body had its end.
    async fn have_no_end(&self) {
        eventually("they are over", async || self.came.lock().unwrap().iter().all(|own| own.is_over)).await;
        for own in &*self.came.lock().unwrap() {
            let text = String::from_utf8_lossy(&own.octets);
            assert!(!text.contains("\r\n0\r\n"), "{text}");
        }
    }
}

fn ejections(gateway: &Gateway) -> u64 {
    gateway.metrics.workers.iter().map(|own| own.ejections.load(Ordering::Relaxed)).sum()
}

#[tokio::test]
async fn malformed_chunks_are_the_clients_mistake() {
    let uploads = Uploads::start().await;
    let log = Log::default();
    let gateway = Gateway::with(log.setup(), one_api(&uploads.url()));
    let bodies = [
        "zz\r\nfour\r\n0\r\n\r\n",
        "4\r\nfour\r\nzz\r\nfour\r\n0\r\n\r\n",
        "4\r\nfour0\r\n\r\n",
        "-4\r\nfour\r\n0\r\n\r\n",
        "4;a\nb\r\nfour\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nfour\r\n0\r\n\r\n",
        "4\r\nfour\r\n0\r\nno trailer\r\n\r\n",
    ];
    let too_long = format!("4\r\nfour\r\n0\r\na: {}\r\n\r\n", "v".repeat(64 << 10));
    let too_many = format!("4\r\nfour\r\n0\r\n{}\r\n", "a: b\r\n".repeat(101));
    let bodies: Vec<&str> = bodies.into_iter().chain([&*too_long, &*too_many]).collect();
    for body in &bodies {
        let head = "POST /a/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        let text = raw(gateway.http, format!("{head}{body}").as_bytes()).await;
        assert!(text.starts_with("HTTP/1.1 400 ") && text.contains("connection: close\r\n"), "{text}");
        assert!(text.contains("urn:hanse:problem:bad-body"), "{text}");
    }
    eventually("all are logged", async || log.lines().len() == bodies.len()).await;
    for line in log.lines() {
        assert_eq!((&line["status"], &line["reason"]), (&400.into(), &"bad-body".into()), "{line}");
    }
    uploads.have_no_end().await;
    assert_eq!(ejections(&gateway), 0);
}

#[tokio::test]
async fn a_client_that_leaves_within_its_body_has_left() {
    let upstream = Upstream::start().await;
    let log = Log::default();
    let gateway = Gateway::with(log.setup(), one_api(&upstream.url()));
    for framing in ["transfer-encoding: chunked\r\n\r\n4\r\nfo", "content-length: 4\r\n\r\nfo"] {
        let mut stream = TcpStream::connect(gateway.http).await.unwrap();
        stream.write_all(format!("POST /a/x HTTP/1.1\r\nhost: a\r\n{framing}").as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await; // the head is read before the end
    }
    eventually("both are logged", async || log.lines().len() == 2).await;
    assert!(log.lines().iter().all(|line| line["status"] == 499), "{:?}", log.lines());
}

#[tokio::test]
async fn an_upload_over_http_2_that_is_cut_off_without_an_error_is_cut_off() {
    let uploads = Uploads::start().await;
    let log = Log::default();
    let own = certificate("gateway.example", &[b"h2"]);
    let setup = Setup { tls: Some(own.server.clone()), ..log.setup() };
    let gateway = Gateway::with(setup, one_api(&uploads.url()));
    // POST, https, :path, :authority, and content-length: 8
    let (chunked, known) = (b"\x83\x87\x04\x04/a/x\x01\x01a".to_vec(), b"\x0f\x0d\x018");
    let known = [&chunked[..], known].concat();
    // An endpoint is ejected after 5 failures.
    for head in [&chunked, &known].into_iter().cycle().take(12) {
        let mut octets = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        octets.extend(frame(SETTINGS, 0, 0, &[]));
        octets.extend(frame(HEADERS, END_HEADERS, 1, head));
        octets.extend(frame(DATA, 0, 1, b"four"));
        let mut stream = connect(&gateway, &own.roots, b"h2").await;
        stream.write_all(&octets).await.unwrap();
        uploads.next_came().await;
        stream.write_all(&frame(RST_STREAM, 0, 1, &[0; 4])).await.unwrap(); // NO_ERROR
        uploads.have_no_end().await;
    }
    eventually("all are logged", async || log.lines().len() == 12).await;
    assert!(log.lines().iter().all(|line| line["status"] == 499), "{:?}", log.lines());
    assert_eq!(ejections(&gateway), 0);
}

#[tokio::test]
async fn codings_before_chunked_never_reach_an_upstream() {
    let upstream = Upstream::start().await;
    let log = Log::default();
    let gateway = Gateway::with(log.setup(), one_api(&upstream.url()));
    for (codings, status, problem) in [
        ("transfer-encoding: gzip, chunked", 501, "transfer-coding"),
        ("transfer-encoding: gzip\r\ntransfer-encoding: chunked", 501, "transfer-coding"),
        ("transfer-encoding: chunked, chunked", 400, "bad-body"),
    ] {
        let head = format!("POST /a/x HTTP/1.1\r\nhost: a\r\n{codings}\r\n\r\n");
        let text = raw(gateway.http, format!("{head}4\r\nfour\r\n0\r\n\r\n").as_bytes()).await;
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{codings}: {text}");
        assert!(text.contains(&format!("urn:hanse:problem:{problem}\"")), "{codings}: {text}");
    }
    eventually("all are logged", async || log.lines().len() == 3).await;
    assert_eq!(upstream.requests.load(Ordering::SeqCst), 0);
}

/// How a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Http1,
    Http1Tls,
    Http2,
}

struct World {
    gateway: Gateway,
    own: Certificate,
}

impl World {
    async fn start() -> Self {
        // An upstream that has no limits of its own.
        let (address, _) = script(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false).await;
        let own = certificate("gateway.example", &[b"h2", b"http/1.1"]);
        let setup = Setup { tls: Some(own.server.clone()), ..Default::default() };
        Self { gateway: Gateway::with(setup, one_api(&format!("http://{address}"))), own }
    }

    /// The status of `GET /a/x` with `host` and these headers, written in parts of so many octets.
    async fn status(&self, speaks: Speaks, headers: &[(String, String)], part: usize) -> u16 {
        let mut head = "GET /a/x HTTP/1.1\r\nhost: a\r\n".to_owned();
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        match speaks {
            Speaks::Http1 => {
                status_of(TcpStream::connect(self.gateway.http).await.unwrap(), head, part).await
            }
            Speaks::Http1Tls => {
                status_of(connect(&self.gateway, &self.own.roots, b"http/1.1").await, head, part).await
            }
            Speaks::Http2 => {
                let stream = TokioIo::new(connect(&self.gateway, &self.own.roots, b"h2").await);
                let (mut sender, connection) =
                    hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
                tokio::spawn(connection);
                let mut request = http::Request::get("https://a/a/x");
                for (name, value) in headers {
                    request = request.header(name, value);
                }
                let answer = sender.send_request(request.body(String::new()).unwrap()).await.unwrap();
                collect(answer).await.unwrap().status.as_u16()
            }
        }
    }
}

async fn status_of(stream: impl AsyncRead + AsyncWrite, head: String, part: usize) -> u16 {
    let (mut reading, mut writing) = tokio::io::split(stream);
    let write = async {
        for part in head.as_bytes().chunks(part) {
            if writing.write_all(part).await.is_err() || writing.flush().await.is_err() {
                break; // it has been answered already
            }
        }
        std::future::pending::<()>().await;
    };
    let read = async {
        let mut answer = [0; "HTTP/1.1 200".len()];
        reading.read_exact(&mut answer).await.expect("an answer");
        String::from_utf8_lossy(&answer["HTTP/1.1 ".len()..]).parse().unwrap()
    };
    tokio::select! {
        () = write => unreachable!(),
        status = tokio::time::timeout(SOON, read) => status.expect("an answer in time"),
    }
}

#[tokio::test]
async fn a_head_has_the_same_limit_in_every_protocol_and_in_parts_of_every_size() {
    let world = World::start().await;
    for (kib, wanted) in [(63, 200), (65, 431), (100, 431), (130, 431)] {
        let headers = [("x-large".to_owned(), "v".repeat((kib << 10) - 100))];
        for (speaks, part) in [
            (Speaks::Http1, 1 << 10),
            (Speaks::Http1, 64 << 10),
            (Speaks::Http1, usize::MAX),
            (Speaks::Http1Tls, 1 << 10),
            (Speaks::Http1Tls, usize::MAX),
            (Speaks::Http2, usize::MAX),
        ] {
            let status = world.status(speaks, &headers, part).await;
            assert_eq!(status, wanted, "{kib} KiB, {speaks:?} in parts of {part}");
        }
    }
}

#[tokio::test]
async fn a_head_has_the_same_number_of_headers_in_every_protocol() {
    let world = World::start().await;
    for speaks in [Speaks::Http1, Speaks::Http1Tls, Speaks::Http2] {
        for (lines, wanted) in [(100, 200), (101, 431)] {
            let headers: Vec<_> = (1..lines).map(|number| (format!("x-{number}"), String::new())).collect();
            assert_eq!(world.status(speaks, &headers, usize::MAX).await, wanted, "{lines} {speaks:?}");
        }
    }
    let cookies = vec![("cookie".to_owned(), "a=1".to_owned()); 200];
    assert_eq!(world.status(Speaks::Http2, &cookies, usize::MAX).await, 200);
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// The first frame of the answer to a head, as HPACK has it, that is cut into these parts: its kind and its payload.
async fn answer_to(world: &World, parts: &[&[u8]]) -> (u8, Vec<u8>) {
    let mut octets = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    octets.extend(frame(SETTINGS, 0, 0, &[]));
    for (at, part) in parts.iter().enumerate() {
        let end = if at + 1 == parts.len() { END_HEADERS } else { 0 };
        let (kind, flags) = if at == 0 { (HEADERS, END_STREAM | end) } else { (CONTINUATION, end) };
        octets.extend(frame(kind, flags, 1, part));
    }
    let mut stream = connect(&world.gateway, &world.own.roots, b"h2").await;
    stream.write_all(&octets).await.unwrap();
    let answered = async {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.expect("the connection stays");
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            stream.read_exact(&mut payload).await.unwrap();
            if head[8] == 1 {
                return (head[3], payload);
            }
        }
    };
    tokio::time::timeout(SOON, answered).await.expect("an answer in time")
}

#[tokio::test]
async fn a_head_may_come_in_twelve_frames() {
    let world = World::start().await;
    // GET, https, :path and :authority, by the static table of HPACK.
    let head = b"\x82\x87\x04\x0a/a/xxxxxxx\x01\x01a";
    let parts: Vec<&[u8]> = [&head[..6]].into_iter().chain(head[6..].chunks(1)).collect();
    assert_eq!(parts.len(), 12);
    let (kind, head) = answer_to(&world, &parts).await;
    assert_eq!((kind, head[0]), (HEADERS, 0x88), "\":status: 200\" of the static table");
}

#[tokio::test]
async fn a_long_path_is_431_but_for_http_2_where_urls_have_no_room() {
    let world = World::start().await;
    for octets in [66_000_usize, 100_000, 140_000] {
        let head = format!("GET /{} HTTP/1.1\r\n", "p".repeat(octets));
        let text = raw(world.gateway.http, head.as_bytes()).await;
        assert!(text.starts_with("HTTP/1.1 431 "), "{octets}: {text}");

        let more = octets - 0x7f;
        let length = [0x7f, 0x80 | more as u8, 0x80 | (more >> 7) as u8, (more >> 14) as u8];
        let head = [&b"\x82\x87\x01\x01a\x04"[..], &length, "/".repeat(octets).as_bytes()].concat();
        let parts: Vec<&[u8]> = head.chunks(16 << 10).collect();
        let (kind, payload) = answer_to(&world, &parts).await;
        if octets < 130_000 {
            assert_eq!((kind, &*payload), (RST_STREAM, &[0, 0, 0, 1][..]), "PROTOCOL_ERROR");
        } else {
            let is_431 = payload.windows(3).any(|part| part == b"\x69\x90\xff"); // by Huffman
            assert!(kind == HEADERS && is_431, "{payload:?}");
        }
    }
}
