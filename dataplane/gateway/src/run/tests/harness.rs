//! An agent played by the real publisher, over mutual TLS, and what a gateway is asked.

use std::{net::SocketAddr, path::Path, sync::Mutex, time::Duration};

use hanse_identity::{
    Alpn, Authority, Bounds, Clients, JoinToken, Listener, ListenerMetrics, PeerKeys, ServerTls, server_tls,
};
use hanse_link::{
    Admission, Freshness, KeptPlaces, MAX_GATEWAY_MESSAGE_BYTES, Offer, Published, Replicas, Subscribers,
    Unknown, publisher_service,
};
use hanse_process::ShutdownTrigger;
use hanse_proto::{
    enrolment::{
        EnrolRequest, EnrolResponse, RenewRequest, RenewResponse,
        enrolment_server::{Enrolment, EnrolmentServer},
    },
    runtime::{self, resource::Kind},
};
use hanse_topology::{Identity, Lineage, Name, Position, Role, ScopeId};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tonic::{Request, Response, Status, service::Routes};

use super::super::*;
use crate::{
    keeper::tests::PANICS_THE_TASK,
    testbed::{DEADLY, SOON, entry, listener, route, route_entry, scope, upstream, upstream_entry},
};

/// The local scope of an Origin.
pub(super) const EAST: &str = "local/eu-west/production/east";

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// An agent of `eu-west`.
pub(super) struct Agent {
    pub(super) authority: Authority,
    pub(super) token: JoinToken,
    /// The token while it is unspent.
    pub(super) unspent: Arc<Mutex<Option<JoinToken>>>,
    replicas: Replicas,
    subscribers: Subscribers,
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

/// Enrols the caller that shows the token, once, and again for the key that it was spent by.
struct Desk {
    authority: Authority,
    token: Arc<Mutex<Option<JoinToken>>>,
    spent: Mutex<Option<(JoinToken, bytes::Bytes)>>,
}

#[tonic::async_trait]
impl Enrolment for Desk {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        let request = request.into_inner();
        let unspent = self.token.lock().unwrap().take();
        let mut spent = self.spent.lock().unwrap();
        if let Some(token) = unspent {
            *spent = Some((token, request.public_key.clone()));
        }
        let fits = |(token, key): &(JoinToken, bytes::Bytes)| {
            token.secret()[..] == request.secret[..] && *key == request.public_key
        };
        if !spent.as_ref().is_some_and(fits) {
            return Err(Status::permission_denied("the join token is used up"));
        }
        let identity = Identity::gateway(name(&request.name), name("eu-west"));
        let chain = self.authority.issue_leaf(&request.public_key, &identity, &[]).unwrap();
        Ok(Response::new(EnrolResponse {
            chain: chain.into_iter().map(|certificate| certificate.to_vec().into()).collect(),
            role: "gateway".to_owned(),
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
        let subscribers = Subscribers::new();
        let (trigger, shutdown) = ShutdownTrigger::new();

        let unspent = Arc::new(Mutex::new(Some(token.clone())));
        let desk = Desk {
            authority: Authority::from_parts(authority.chain().clone(), authority_key(&authority)).unwrap(),
            token: unspent.clone(),
            spent: Mutex::default(),
        };
        let enrolment = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let enrolment_tls = server_tls(&credentials, Clients::Anyone, Alpn::Http2).unwrap();
        let federation_tls = server_tls(
            &credentials,
            Clients::Mutual {
                trust: root.trust_anchor().unwrap().into(),
                roles: vec![Role::Gateway],
                region: None,
            },
            Alpn::Http2,
        )
        .unwrap();
        let federation = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (freshness, fresh) = watch::channel(Freshness { confirmed_at: Instant::now(), quorum: true });
        let publisher = publisher_service(
            Published { replicas: replicas.clone(), freshness: fresh, places: KeptPlaces::default() },
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
        let desk = Routes::new(EnrolmentServer::new(desk));
        serve(enrolment, enrolment_tls, Bounds::of_enrolment(100), desk);
        Self {
            authority,
            token,
            unspent,
            replicas,
            subscribers,
            federation: addresses.0,
            enrolment: addresses.1,
            _freshness: freshness,
            trigger,
        }
    }

    /// Publishes an Api at a revision.
    pub(super) fn publish(&self, revision: u64, api: &str) {
        self.publish_at(revision, api, &format!("/{api}"));
    }

    /// Publishes an Environment of one host, with an Api of the same name.
    pub(super) fn publish_environment(&self, revision: u64, name: &str, listener: (Arc<str>, bytes::Bytes)) {
        let lineage = Lineage { generation: 1, id: [7; 16], parent: None };
        let resources = vec![
            listener,
            route_entry(route(name, &format!("/{name}"), &["GET /"])),
            upstream_entry(name, upstream(&["http://127.0.0.1:9"])),
        ];
        let advance = |replica: &mut hanse_link::Replica| {
            replica.advance(Position { lineage, revision }, resources, Vec::new())
        };
        self.replicas.update(&scope(name), advance).unwrap();
    }

    /// The same, with another context.
    pub(super) fn publish_at(&self, revision: u64, api: &str, context: &str) {
        let lineage = Lineage { generation: 1, id: [7; 16], parent: None };
        let resources = vec![
            listener("production", &[]),
            route_entry(route(api, context, &["GET /"])),
            upstream_entry(api, upstream(&["http://127.0.0.1:9"])),
        ];
        self.replicas
            .update(&scope("production"), |replica| {
                replica.advance(Position { lineage, revision }, resources, Vec::new())
            })
            .unwrap();
    }

    /// Publishes a Route in place of that of `/orders` that ends what compiles it, with another Upstream. That of before is gone.
    pub(super) fn publish_deadly(&self, revision: u64, way: &str) {
        let lineage = Lineage { generation: 1, id: [7; 16], parent: None };
        let name = format!("{DEADLY}{way}");
        let mut deadly = route("orders", "/orders", &["GET /"]);
        deadly.upstream = format!("upstream/default{name}");
        let resources =
            vec![route_entry(deadly), upstream_entry(&name[1..], upstream(&["http://127.0.0.1:9"]))];
        let advance = |replica: &mut hanse_link::Replica| {
            replica.advance(Position { lineage, revision }, resources, vec!["upstream/default/orders".into()])
        };
        self.replicas.update(&scope("production"), advance).unwrap();
    }

    /// Moves on without a change.
    pub(super) fn publish_nothing(&self, revision: u64) {
        let lineage = Lineage { generation: 1, id: [7; 16], parent: None };
        let advance = |replica: &mut hanse_link::Replica| {
            replica.advance(Position { lineage, revision }, Vec::new(), Vec::new())
        };
        self.replicas.update(&scope("production"), advance).unwrap();
    }

    /// Publishes where an Api's backend is.
    pub(super) fn publish_upstream(&self, revision: u64, api: &str, url: &str) {
        let lineage = Lineage { generation: 1, id: [7; 16], parent: None };
        let resource = upstream_entry(api, upstream(&[url]));
        let advance = |replica: &mut hanse_link::Replica| {
            replica.advance(Position { lineage, revision }, vec![resource], Vec::new())
        };
        self.replicas.update(&scope("production"), advance).unwrap();
    }

    /// Publishes `/pets`, whose Upstream refers to a set of the Origin `east`, and that set, signed by the agent.
    pub(super) fn publish_set(&self, revision: u64, url: &str) {
        const MADE_AT_MS: u64 = 1;
        let key = authority_key(&self.authority);
        let digest = Sha256::digest(key.public_key_der());
        let origin = runtime::Origin {
            made_at_ms: MADE_AT_MS,
            name: "east".to_owned(),
            organizations: vec!["default".to_owned()],
            kinds: vec!["endpoints".to_owned()],
            holders: vec![runtime::Holder { name: "agent-1".to_owned(), key: digest.to_vec().into() }],
        };
        let from = runtime::EndpointsFrom { origin: "east".to_owned(), name: "pods".to_owned() };
        let refers = runtime::Upstream { endpoints_from: Some(from), ..upstream(&[]) };
        let made = vec![
            listener("production", &[]),
            entry("origin/east", Kind::Origin(origin)),
            route_entry(route("pets", "/pets", &["GET /"])),
            upstream_entry("pets", refers),
        ];
        let lineage = Lineage { generation: 1, id: [7; 16], parent: None };
        let advance = |replica: &mut hanse_link::Replica| {
            replica.advance(Position { lineage, revision }, made, Vec::new())
        };
        self.replicas.update(&scope("production"), advance).unwrap();

        // A lineage of this key and this Origin.
        let holder = Sha256::new().chain_update(digest).chain_update(MADE_AT_MS.to_be_bytes()).finalize();
        let mut id = [7; 16];
        id[..8].copy_from_slice(&holder[..8]);
        let position = Position { lineage: Lineage { generation: 1 << 32, id, parent: None }, revision };
        let set = runtime::Endpoints {
            organization: "default".to_owned(),
            name: "pods".to_owned(),
            endpoints: upstream(&[url]).endpoints,
        };
        let set = vec![entry("endpoints/default/pods", Kind::Endpoints(set))];
        let east: ScopeId = EAST.parse().unwrap();
        self.replicas.update(&east, |replica| {
            let change = replica.prepare_snapshot(position, set).unwrap();
            let signature = hanse_local::sign(&key, &east, change.to(), &change.root()).unwrap();
            replica.commit(change.signed(signature)).unwrap();
        });
    }

    /// Publishes what ends the task that keeps the table, once.
    pub(super) fn publish_fault(&self, revision: u64) {
        let lineage = Lineage { generation: 1, id: [7; 16], parent: None };
        let fault = (PANICS_THE_TASK.into(), Default::default());
        let advance = |replica: &mut hanse_link::Replica| {
            replica.advance(Position { lineage, revision }, vec![fault], Vec::new())
        };
        self.replicas.update(&scope("production"), advance).unwrap();
    }

    /// Publishes so many Apis that compiling them takes a while.
    pub(super) fn publish_many(&self, revision: u64) {
        /// Some hundred milliseconds' worth, unoptimized.
        const APIS: usize = 2_000;
        let lineage = Lineage { generation: 1, id: [7; 16], parent: None };
        let apis = (0..APIS).map(|n| format!("many-{n}"));
        let resources = apis.map(|api| route_entry(route(&api, &format!("/{api}"), &["GET /"]))).collect();
        let advance = |replica: &mut hanse_link::Replica| {
            replica.advance(Position { lineage, revision }, resources, Vec::new())
        };
        self.replicas.update(&scope("production"), advance).unwrap();
    }

    /// The content root of what it publishes.
    pub(super) fn root(&self) -> hanse_link::ContentRoot {
        self.replicas.read(|map| map[&scope("production")].root())
    }

    /// The revision that the only gateway acknowledged.
    pub(super) fn acknowledged(&self) -> Option<u64> {
        let record = self.subscribers.snapshot().into_iter().next()?;
        Some(record.scopes.get(&scope("production"))?.effective.as_ref()?.revision)
    }

    /// What it said of what it cannot use.
    pub(super) fn quarantined(&self) -> Vec<hanse_proto::sync::Quarantined> {
        let record = self.subscribers.snapshot().into_iter().next();
        let ack = record.and_then(|record| record.scopes.get(&scope("production")).cloned());
        ack.map(|ack| ack.quarantine.named().to_vec()).unwrap_or_default()
    }

    /// The revision that it acknowledged as surviving its restart.
    pub(super) fn durable(&self) -> Option<u64> {
        self.durable_of(&scope("production"))
    }

    /// The same, of any scope.
    pub(super) fn durable_of(&self, scope: &ScopeId) -> Option<u64> {
        let record = self.subscribers.snapshot().into_iter().next()?;
        Some(record.scopes.get(scope)?.durable.as_ref()?.revision)
    }

    pub(super) fn config(&self, dir: &Path) -> Config {
        let port = free_port();
        let admin = free_port();
        let data = dir.join("data"); // the store's key goes beside it
        let mut config: Config = toml::from_str(&format!(
            r#"
                name = "gateway-1"
                data_dir = {data:?}
                agents = ["{}"]
                enrolment = ["{}"]
                workers = 2
                listen = {{ http = "127.0.0.1:{port}", https = "127.0.0.1:0", admin = "127.0.0.1:{admin}" }}
            "#,
            self.federation, self.enrolment
        ))
        .unwrap();
        let file = dir.join("join-token");
        std::fs::write(&file, format!("{}\n", self.token)).unwrap();
        config.join_token_file = Some(file);
        config
    }
}

/// The same key, for a second holder of the authority.
pub(super) fn authority_key(authority: &Authority) -> hanse_identity::KeyPair {
    let dir = tempfile::tempdir().unwrap();
    authority.save(dir.path()).unwrap();
    let pem = std::fs::read_to_string(dir.path().join("key.pem")).unwrap();
    hanse_identity::KeyPair::from_pem(&pem).unwrap()
}

/// The first address of plain HTTP.
pub(super) fn http_of(config: &Config) -> String {
    config.listen.http.0[0].address.clone()
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
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

/// Asks until the status is as wanted.
pub(super) async fn until(address: &str, path: &str, wanted: u16) -> String {
    let begun = Instant::now();
    loop {
        let (status, body) = get(address, path).await;
        if status == wanted {
            return body;
        }
        assert!(begun.elapsed() < SOON, "{path} stays {status} {body}, not {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(super) fn start(config: &Config) -> (ShutdownTrigger, JoinHandle<Result<(), Error>>) {
    let (trigger, shutdown) = ShutdownTrigger::new();
    (trigger, tokio::spawn(run(config.clone(), shutdown)))
}

pub(super) async fn stop((trigger, running): (ShutdownTrigger, JoinHandle<Result<(), Error>>)) {
    trigger.trigger();
    tokio::time::timeout(SOON, running).await.unwrap().unwrap().unwrap();
}
