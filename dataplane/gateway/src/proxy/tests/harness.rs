//! A gateway on real sockets, a real upstream behind it, a real client before it.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use hanse_identity::TunnelServer;
use hanse_process::ShutdownTrigger;
use hanse_proto::runtime::{self, resource::Kind};
use hanse_runtime::{Resource, ResourceKind};
use hanse_topology::Exposure;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

pub(super) use crate::testbed::{SOON, eventually};
use crate::{
    access_log::AccessLog,
    config::{Drain, Limits, Network},
    health::{Endpoints, HealthChecks},
    metrics::{ApiCounters, GatewayMetrics, HostCounters},
    proxy::{BoundEntry, BoundTunnel, Dataplane, DataplaneOptions, Slots, bind},
    table::{ConnectProfiles, FACES, Protocol, RoutingTable, SetId, index::ScopeIndex},
    testbed,
    testbed::scope,
    tunnel::Tunnels,
};

/// How gateways of tests show themselves in `CDN-Loop`.
pub(super) const LOOP_ID: &str = "hanse-0123456789abcdef";

pub(super) type Resources = Vec<(Arc<str>, Bytes)>;

/// One Api at `/a`, to be read and written, with one endpoint.
pub(super) fn one_api(url: &str) -> Resources {
    vec![
        testbed::listener("production", &[]),
        testbed::route_entry(testbed::route("a", "/a", &["GET /{p}", "POST /{p}"])),
        testbed::upstream_entry("a", testbed::upstream(&[url])),
    ]
}

/// A gateway with two threads; it stops when dropped.
pub(super) struct Gateway {
    pub(super) http: SocketAddr,
    pub(super) https: Option<SocketAddr>,
    /// Internal entries; `http` and `https` are external.
    pub(super) internal: SocketAddr,
    pub(super) internal_https: Option<SocketAddr>,
    /// For gateways of other regions.
    pub(super) tunnel: Option<SocketAddr>,
    pub(super) metrics: Arc<GatewayMetrics>,
    pub(super) hosts: HostCounters,
    pub(super) endpoints: Endpoints,
    pub(super) slots: Arc<Slots>,
    pub(super) trigger: ShutdownTrigger,
    pub(super) dataplane: Option<Dataplane>,
    table: Arc<ArcSwap<RoutingTable>>,
    index: Mutex<(ScopeIndex, ConnectProfiles)>,
}

/// How a gateway under test differs from the usual one.
pub(super) struct Setup {
    pub(super) limits: Limits,
    pub(super) drain: Drain,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) log: Option<Box<dyn std::io::Write + Send>>,
    pub(super) workers: usize,
    /// Connections to upstreams at once.
    pub(super) upstream_connections: usize,
    pub(super) trusted_proxies: Vec<Network>,
    /// On both listeners.
    pub(super) proxy_protocol: bool,
    pub(super) tunnels: Arc<Tunnels>,
    /// It takes requests over tunnels.
    pub(super) tunnel: Option<TunnelServer>,
}

impl Default for Setup {
    /// Ends at once: most tests are over then.
    fn default() -> Self {
        let drain = Drain { announce_ms: 0, ..Drain::default() };
        Self {
            limits: Limits::default(),
            drain,
            tls: None,
            log: None,
            workers: 2,
            upstream_connections: 1_024,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            tunnels: Arc::default(),
            tunnel: None,
        }
    }
}

impl Gateway {
    pub(super) fn serving(resources: Resources) -> Self {
        Self::with(Setup::default(), resources)
    }

    pub(super) fn with(setup: Setup, resources: Resources) -> Self {
        let (trigger, shutdown) = ShutdownTrigger::new();
        let metrics = GatewayMetrics::new(setup.workers);
        let table = Arc::<ArcSwap<RoutingTable>>::default();
        let slots = Slots::new(setup.upstream_connections);
        let any = "127.0.0.1:0".parse().unwrap();
        let mut entries = Vec::new();
        let mut bound = |protocol, exposure| {
            let sockets = bind(any, setup.workers).unwrap();
            let address = sockets[0].local_addr().unwrap();
            entries.push(BoundEntry { protocol, exposure, proxy_protocol: setup.proxy_protocol, sockets });
            address
        };
        let http = bound(Protocol::Http, Exposure::External);
        let https = setup.tls.as_ref().map(|_| bound(Protocol::Https, Exposure::External));
        let internal = bound(Protocol::Http, Exposure::Internal);
        let internal_https = setup.tls.as_ref().map(|_| bound(Protocol::Https, Exposure::Internal));
        let tunnel =
            setup.tunnel.map(|server| BoundTunnel { server, sockets: bind(any, setup.workers).unwrap() });
        let tunnel_address = tunnel.as_ref().map(|tunnel| tunnel.sockets[0].local_addr().unwrap());
        let options = DataplaneOptions {
            tunnel,
            tunnels: setup.tunnels,
            table: table.clone(),
            limits: setup.limits,
            max_connections: setup.limits.connections(4_096, 0).clients,
            slots: slots.clone(),
            drain: setup.drain,
            entries,
            tls: setup.tls,
            trusted_proxies: setup.trusted_proxies.into(),
            loop_id: HeaderValue::from_static(LOOP_ID),
            access_log: setup.log.map(|output| AccessLog::writing_to(output, metrics.clone()).unwrap().0),
            metrics: metrics.clone(),
            abort_on_panic: false,
        };
        let dataplane = Dataplane::start(options, &shutdown).unwrap();
        let endpoints = Endpoints::default();
        let mut checks = HealthChecks::new(endpoints.clone(), metrics.clone(), slots.clone());
        tokio::spawn(async move { checks.run(shutdown).await });
        let (profiles, counters) = (ConnectProfiles::over(endpoints.clone()), ApiCounters::default());
        let gateway = Self {
            http,
            https,
            internal,
            internal_https,
            tunnel: tunnel_address,
            metrics,
            hosts: counters.hosts.clone(),
            endpoints,
            slots,
            trigger,
            dataplane: Some(dataplane),
            table,
            index: Mutex::new((ScopeIndex::counting(scope("production"), counters), profiles)),
        };
        if !resources.is_empty() {
            gateway.change(resources);
        }
        gateway
    }

    /// Applies changes and puts the new table in force.
    pub(super) fn change(&self, upserts: Resources) {
        let (index, profiles) = &mut *self.index.lock().unwrap();
        index.apply(upserts, Vec::new(), profiles);
        self.serve(index);
    }

    /// Takes a resource away and puts the new table in force.
    pub(super) fn remove(&self, key: &str) {
        let (index, profiles) = &mut *self.index.lock().unwrap();
        index.apply(Vec::new(), vec![key.into()], profiles);
        self.serve(index);
    }

    /// Has the set `endpoints/default/pods` of the Origin `east` be there, or another version of it.
    pub(super) fn publish_set(&self, urls: &[&str]) {
        let set = runtime::Endpoints {
            organization: "default".to_owned(),
            name: "pods".to_owned(),
            endpoints: testbed::upstream(urls).endpoints,
        };
        let (key, bytes) = testbed::entry("endpoints/default/pods", Kind::Endpoints(set));
        let Ok(Resource::Endpoints(set)) = hanse_runtime::check(ResourceKind::Endpoints, &bytes) else {
            panic!("{urls:?} cannot be used")
        };
        let (index, profiles) = &mut *self.index.lock().unwrap();
        profiles.sets.insert(SetId::new(&"local/eu-west/production/east".parse().unwrap(), &key), set);
        index.follow_sets(&profiles.sets.take_changed(), profiles);
        self.serve(index);
    }

    /// Serves these environments instead.
    pub(super) fn serve_all(&self, environments: Vec<(&str, Resources)>) {
        let (_, profiles) = &mut *self.index.lock().unwrap();
        let tables = environments.into_iter().map(|(environment, resources)| {
            let mut index = ScopeIndex::new(scope(environment));
            index.apply(resources, Vec::new(), profiles);
            index.table()
        });
        let table = RoutingTable::new(tables.collect(), &FACES);
        self.endpoints.enforce(&table.egress());
        self.table.store(Arc::new(table));
    }

    fn serve(&self, index: &ScopeIndex) {
        let table = RoutingTable::new(vec![index.table()], &FACES);
        self.endpoints.enforce(&table.egress());
        self.table.store(Arc::new(table));
    }

    /// One request on a connection of its own.
    pub(super) async fn call(&self, request: Request<Full<Bytes>>) -> Answer {
        Client::connect(self.http).await.call(request).await
    }

    /// `"METHOD TARGET"`, without a body.
    pub(super) async fn get(&self, line: &str) -> Answer {
        self.call(request(line, &[], "")).await
    }
}

/// A request from `"METHOD TARGET"`, headers and body.
pub(super) fn request(line: &str, headers: &[(&str, &str)], body: &'static str) -> Request<Full<Bytes>> {
    let (method, target) = line.split_once(' ').unwrap();
    let mut builder = Request::builder().method(method).uri(target).header("host", "gateway.example:8080");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Full::from(body)).unwrap()
}

/// An answer with all of its body.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
    pub(super) trailers: Option<HeaderMap>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The NAME of its `urn:hanse:problem:NAME`, checked against its status.
    pub(super) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let document: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(document["status"], self.status.as_u16(), "{self:?}");
        document["type"].as_str().unwrap().strip_prefix("urn:hanse:problem:").unwrap().to_owned()
    }

    /// What the echoing upstream saw.
    pub(super) fn seen(&self) -> Seen {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A client connection.
pub(super) struct Client {
    sender: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await
    }

    pub(super) async fn over<S>(stream: S) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender }
    }

    pub(super) async fn call(&mut self, request: Request<Full<Bytes>>) -> Answer {
        self.try_call(request).await.unwrap()
    }

    pub(super) async fn try_call(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, hyper::Error> {
        let exchange = async {
            self.sender.ready().await?;
            collect(self.sender.send_request(request).await?).await
        };
        tokio::time::timeout(SOON, exchange).await.expect("an answer in time")
    }
}

pub(super) async fn collect(response: Response<Incoming>) -> Result<Answer, hyper::Error> {
    let (parts, body) = response.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned();
    let body = String::from_utf8(collected.to_bytes().to_vec()).unwrap();
    Ok(Answer { status: parts.status, headers: parts.headers, body, trailers })
}

/// Sends octets as they are and reads until the other side closes.
pub(super) async fn raw(address: SocketAddr, octets: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(octets).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut answer))
        .await
        .expect("the connection closes")
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request as the echoing upstream saw it.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
    pub(super) trailers: Vec<(String, String)>,
}

impl Seen {
    /// The values of a header, joined by `|`.
    pub(super) fn header(&self, name: &str) -> String {
        let values: Vec<&str> =
            self.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str()).collect();
        values.join("|")
    }
}

/// An upstream that answers what it saw, and some paths in special ways.
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    pub(super) connections: Arc<AtomicUsize>,
    pub(super) requests: Arc<AtomicUsize>,
}

impl Upstream {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(AtomicUsize::new(0));
        tokio::spawn({
            let (connections, requests) = (connections.clone(), requests.clone());
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    connections.fetch_add(1, Ordering::SeqCst);
                    let requests = requests.clone();
                    let service = hyper::service::service_fn(move |request| {
                        requests.fetch_add(1, Ordering::SeqCst);
                        async { Ok::<_, Infallible>(echo(request).await) }
                    });
                    tokio::spawn(
                        hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                            .http1_only()
                            .serve_connection(TokioIo::new(stream), service)
                            .into_owned(),
                    );
                }
            }
        });
        Self { address, connections, requests }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

type EchoBody = http_body_util::combinators::BoxBody<Bytes, Infallible>;

async fn echo(request: Request<Incoming>) -> Response<EchoBody> {
    let whole = |text: String| Full::new(Bytes::from(text)).boxed();
    let frames = |frames: Vec<Frame<Bytes>>| {
        StreamBody::new(futures_util::stream::iter(frames.into_iter().map(Ok::<_, Infallible>))).boxed()
    };
    let (parts, body) = request.into_parts();
    let mut response = match parts.uri.path() {
        "/never" => std::future::pending().await,
        "/no-content" => {
            let mut response = Response::new(whole(String::new()));
            *response.status_mut() = StatusCode::NO_CONTENT;
            return response;
        }
        "/not-modified" => {
            let mut response = Response::new(whole(String::new()));
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response.headers_mut().insert("etag", "\"7\"".parse().unwrap());
            return response;
        }
        "/chunks" => Response::new(frames(vec![
            Frame::data(Bytes::from_static(b"one ")),
            Frame::data(Bytes::from_static(b"two ")),
            Frame::data(Bytes::from_static(b"three")),
        ])),
        "/silent" => {
            let first =
                futures_util::stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"first")))]);
            let stream = futures_util::StreamExt::chain(first, futures_util::stream::pending());
            Response::new(StreamBody::new(stream).boxed())
        }
        "/large" => Response::new(whole("x".repeat(4 << 20))),
        "/trailers" => {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", "42".parse().unwrap());
            let mut response = Response::new(frames(vec![
                Frame::data(Bytes::from_static(b"data")),
                Frame::trailers(trailers),
            ]));
            response.headers_mut().insert("trailer", "x-sum".parse().unwrap());
            response
        }
        _ => {
            let collected = match body.collect().await {
                Ok(collected) => collected,
                Err(_) => return Response::new(whole(String::new())),
            };
            let pairs = |headers: &HeaderMap| -> Vec<(String, String)> {
                headers
                    .iter()
                    .map(|(name, value)| {
                        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                    })
                    .collect()
            };
            let seen = Seen {
                method: parts.method.to_string(),
                target: parts.uri.to_string(),
                headers: pairs(&parts.headers),
                trailers: collected.trailers().map(pairs).unwrap_or_default(),
                body: String::from_utf8_lossy(&collected.to_bytes()).into_owned(),
            };
            let mut response = Response::new(whole(serde_json::to_string(&seen).unwrap()));
            response.headers_mut().insert("x-received", seen.body.len().into());
            response.headers_mut().insert("connection", "x-hop".parse().unwrap());
            response.headers_mut().insert("x-hop", "not for the client".parse().unwrap());
            response
        }
    };
    if parts.method == Method::HEAD {
        *response.body_mut() = whole(String::new());
        response.headers_mut().insert("content-length", "1234".parse().unwrap());
    }
    response.headers_mut().insert("x-upstream", "yes".parse().unwrap());
    response
}

/// An upstream that plays the same octets on every connection after each head of a request, and then closes or not.
pub(super) async fn script(answer: &'static [u8], close: bool) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, serve_script(listener, answer, close))
}

/// The same, on a listener that is there already.
pub(super) fn serve_script(listener: TcpListener, answer: &'static [u8], close: bool) -> Arc<AtomicUsize> {
    let requests = Arc::new(AtomicUsize::new(0));
    tokio::spawn({
        let requests = requests.clone();
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(play(stream, answer, close, requests.clone()));
            }
        }
    });
    requests
}

async fn play(mut stream: TcpStream, answer: &[u8], close: bool, requests: Arc<AtomicUsize>) {
    let mut got = Vec::new();
    let mut room = [0; 1_024];
    loop {
        match stream.read(&mut room).await {
            Ok(0) | Err(_) => return,
            Ok(read) => got.extend_from_slice(&room[..read]),
        }
        if let Some(end) = got.windows(4).position(|window| window == b"\r\n\r\n") {
            got.drain(..end + 4);
            requests.fetch_add(1, Ordering::SeqCst);
            if stream.write_all(answer).await.is_err() || close {
                return;
            }
        }
    }
}

/// An access log that tests can read.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// A gateway's setup that writes it.
    pub(super) fn setup(&self) -> Setup {
        Setup { log: Some(Box::new(self.clone())), ..Default::default() }
    }

    /// The whole lines so far.
    pub(super) fn lines(&self) -> Vec<serde_json::Value> {
        let octets = self.0.lock().unwrap();
        let whole = octets.iter().rposition(|&octet| octet == b'\n').map_or(0, |end| end + 1);
        let lines = octets[..whole].split(|&octet| octet == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
