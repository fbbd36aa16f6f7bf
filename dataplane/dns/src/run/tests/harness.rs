//! An agent played by the real publisher, over mutual TLS, and what a responder is asked.

use std::{path::Path, sync::Mutex, time::Instant};

use hanse_identity::{
    Alpn, Authority, Bounds, Clients, JoinToken, Listener, ListenerMetrics, PeerKeys, ServerTls, server_tls,
};
use hanse_link::{
    Admission, Freshness, KeptPlaces, MAX_GATEWAY_MESSAGE_BYTES, Offer, Published, Replicas, Subscribers,
    Unknown, publisher_service,
};
use hanse_process::ShutdownTrigger;
use hanse_proto::enrolment::{
    EnrolRequest, EnrolResponse, RenewRequest, RenewResponse,
    enrolment_server::{Enrolment, EnrolmentServer},
};
use hanse_topology::{Identity, Lineage, Name, Position, Role};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tonic::{Request, Response, Status, service::Routes};

pub(super) use super::super::*;
use super::Duration;

/// Generous: the machine may be busy.
pub(super) const SOON: Duration = Duration::from_secs(30);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn scope() -> ScopeId {
    ScopeId::Dns { region: name("eu-west") }
}

/// An agent of `eu-west`.
pub(super) struct Agent {
    token: JoinToken,
    replicas: Replicas,
    subscribers: Subscribers,
    /// What the responder is told of places.
    pub(super) places: KeptPlaces,
    federation: SocketAddr,
    enrolment: SocketAddr,
    _freshness: watch::Sender<Freshness>,
    pub(super) trigger: ShutdownTrigger,
}

struct Everything(Replicas);

impl Admission for Everything {
    fn offer_to(&self, _peer: &Identity, _keys: &PeerKeys) -> Result<Offer, Unknown> {
        Ok(Offer { scopes: self.0.read(|map| map.keys().cloned().collect()), as_of: None })
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// Enrols the caller that shows the token, as a responder.
struct Desk {
    authority: Mutex<Authority>,
    token: JoinToken,
}

#[tonic::async_trait]
impl Enrolment for Desk {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        let request = request.into_inner();
        if self.token.secret()[..] != request.secret[..] {
            return Err(Status::permission_denied("another join token"));
        }
        let identity = Identity { name: name(&request.name), role: Role::Dns, region: Some(name("eu-west")) };
        let chain = self.authority.lock().unwrap().issue_leaf(&request.public_key, &identity, &[]).unwrap();
        Ok(Response::new(EnrolResponse {
            chain: chain.into_iter().map(|certificate| certificate.to_vec().into()).collect(),
            role: "dns".to_owned(),
            region: "eu-west".to_owned(),
            ..Default::default()
        }))
    }

    async fn renew(&self, _: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        Err(Status::permission_denied("this desk renews nobody"))
    }
}

impl Agent {
    pub(super) async fn start() -> Self {
        let root = Authority::new_root().unwrap();
        let control = root.new_control_intermediate(&name("cp-1")).unwrap();
        let authority = control.new_regional_intermediate(&name("eu-west")).unwrap();
        let token = JoinToken::generate(name("t-1"), &root.trust_anchor().unwrap());
        let identity = Identity::agent(name("agent-1"), name("eu-west"));
        let credentials = LiveCredentials::new(authority.issue_credentials(&identity, &[]).unwrap());
        let replicas = Replicas::new();
        let (subscribers, places) = (Subscribers::new(), KeptPlaces::default());
        let (trigger, shutdown) = ShutdownTrigger::new();
        let trust = root.trust_anchor().unwrap().into();
        let clients = Clients::Mutual { trust, roles: vec![Role::Dns], region: None };
        let federation_tls = server_tls(&credentials, clients, Alpn::Http2).unwrap();
        let enrolment_tls = server_tls(&credentials, Clients::Anyone, Alpn::Http2).unwrap();
        let federation = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let enrolment = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (freshness, fresh) = watch::channel(Freshness { confirmed_at: Instant::now(), quorum: true });
        let publisher = publisher_service(
            Published { replicas: replicas.clone(), freshness: fresh, places: places.clone() },
            Arc::new(Everything(replicas.clone())),
            subscribers.clone(),
            "agent-1".to_owned(),
            MAX_GATEWAY_MESSAGE_BYTES,
            shutdown.clone(),
        );
        let addresses = (federation.local_addr().unwrap(), enrolment.local_addr().unwrap());
        let serve = |tcp, tls: ServerTls, bounds, routes| {
            let listener = Listener::new("test", tcp, bounds, &ListenerMetrics::default()).with_tls(tls);
            tokio::spawn(listener.serve_grpc(routes, shutdown.clone()));
        };
        serve(federation, federation_tls, Bounds::of_federation(100), Routes::new(publisher));
        let desk = Desk { authority: Mutex::new(authority), token: token.clone() };
        serve(enrolment, enrolment_tls, Bounds::of_enrolment(100), Routes::new(EnrolmentServer::new(desk)));
        Self {
            token,
            replicas,
            subscribers,
            places,
            federation: addresses.0,
            enrolment: addresses.1,
            _freshness: freshness,
            trigger,
        }
    }

    /// Publishes these resources at a revision.
    pub(super) fn publish(&self, revision: u64, resources: Vec<(Arc<str>, bytes::Bytes)>) {
        let lineage = Lineage { generation: 1, id: [7; 16], parent: None };
        let to = Position { lineage, revision };
        self.replicas.update(&scope(), |replica| replica.advance(to, resources, Vec::new())).unwrap();
    }

    /// The revision that the only responder acknowledged.
    pub(super) fn acknowledged(&self) -> Option<u64> {
        let record = self.subscribers.snapshot().into_iter().next()?;
        Some(record.scopes.get(&scope())?.effective.as_ref()?.revision)
    }

    /// The revision that it acknowledged as surviving its restart.
    pub(super) fn durable(&self) -> Option<u64> {
        let record = self.subscribers.snapshot().into_iter().next()?;
        Some(record.scopes.get(&scope())?.durable.as_ref()?.revision)
    }

    /// The keys of what it said that it cannot use.
    pub(super) fn quarantined(&self) -> Vec<String> {
        let record = self.subscribers.snapshot().into_iter().next();
        let ack = record.and_then(|record| record.scopes.get(&scope()).cloned());
        let named = ack.map(|ack| ack.quarantine.named().to_vec()).unwrap_or_default();
        named.into_iter().map(|quarantined| quarantined.key).collect()
    }

    /// What it last said of itself.
    fn responder(&self) -> Option<Responder> {
        let (report, _) = self.subscribers.snapshot().into_iter().next()?.report?;
        nested::read::<Facts>("facts", &report.facts).unwrap().responder
    }

    /// The TSIG keys that it said it lacks.
    pub(super) fn missing_keys(&self) -> Vec<String> {
        self.responder().map(|responder| responder.missing_keys).unwrap_or_default()
    }

    /// The zones that it said it answers for, with their serials.
    pub(super) fn zones(&self) -> Vec<(String, u32)> {
        let zones = self.responder().map(|responder| responder.zones).unwrap_or_default();
        zones.into_iter().map(|served| (served.zone, served.serial)).collect()
    }

    pub(super) fn config(&self, dir: &Path) -> Config {
        let dns = sockets::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let dns = dns[0].udp.local_addr().unwrap();
        let admin = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let data = dir.join("data"); // the store's key goes beside it
        let file = dir.join("join-token");
        std::fs::write(&file, format!("{}\n", self.token)).unwrap();
        toml::from_str(&format!(
            r#"
                name = "dns-1"
                data_dir = {data:?}
                agents = ["{}"]
                enrolment = ["{}"]
                join_token_file = {file:?}
                workers = 2
                listen = {{ dns = ["{dns}"], admin = "{admin}" }}
            "#,
            self.federation, self.enrolment
        ))
        .unwrap()
    }
}

/// Status and body of a GET; status 0: no answer.
pub(super) async fn get(address: &str, path: &str) -> (u16, String) {
    let Ok(mut stream) = TcpStream::connect(address).await else { return (0, String::new()) };
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let mut text = String::new();
    let exchange = async {
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_string(&mut text).await
    };
    match tokio::time::timeout(SOON, exchange).await {
        Ok(Ok(_)) => {}
        Ok(Err(_)) | Err(_) => return (0, String::new()),
    }
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// Waits until that is so.
pub(super) async fn eventually(what: &str, is: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !is().await {
        assert!(begun.elapsed() < SOON, "not within {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks until the status is as wanted.
pub(super) async fn until(address: &str, path: &str, wanted: u16) -> String {
    let last = Mutex::new(String::new());
    eventually(path, async || {
        let (status, body) = get(address, path).await;
        *last.lock().unwrap() = body;
        status == wanted
    })
    .await;
    last.into_inner().unwrap()
}

pub(super) type Running = (ShutdownTrigger, JoinHandle<Result<(), Error>>);

pub(super) fn start(config: &Config) -> Running {
    let (trigger, shutdown) = ShutdownTrigger::new();
    (trigger, tokio::spawn(run(config.clone(), shutdown)))
}

pub(super) async fn stop((trigger, running): Running) {
    trigger.trigger();
    tokio::time::timeout(SOON, running).await.unwrap().unwrap().unwrap();
}
