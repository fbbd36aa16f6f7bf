//! A whole gateway against an agent played by the real publisher, over mutual TLS.

use std::{path::Path, sync::Mutex, time::Instant};

use hanse_link::{Admission, Freshness, Lineage, Offer, Position, Subscribers, publisher_service};
use hanse_proto::enrolment::{
    EnrolRequest, EnrolResponse, RenewRequest, RenewResponse,
    enrolment_server::{Enrolment, EnrolmentServer},
};
use hanse_topology::Name;
use hanse_transport::{
    Alpn, Authority, Clients, Identity, JoinToken, PeerKeys, ShutdownTrigger, TlsListener, grpc_server,
    server_tls,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{Request, Response, Status};

use super::*;
use crate::testbed::{listener, route, route_entry, scope, upstream, upstream_entry};

/// For whatever must happen soon: far above what a busy machine needs.
const SOON: Duration = Duration::from_secs(30);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// An agent of `eu-west`.
struct Agent {
    authority: Authority,
    token: JoinToken,
    /// The token while it is unspent.
    unspent: Arc<Mutex<Option<JoinToken>>>,
    replicas: Replicas,
    subscribers: Subscribers,
    federation: SocketAddr,
    enrolment: SocketAddr,
    _freshness: watch::Sender<Freshness>,
    trigger: ShutdownTrigger,
}

struct Everything(Replicas);

impl Admission for Everything {
    fn offer_to(&self, _peer: &Identity, _keys: &PeerKeys) -> Offer {
        Offer { scopes: self.0.read(|map| map.keys().cloned().collect()), as_of: None }
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// Enrols whoever shows the token, once, and again for the key that it was spent by.
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
    async fn start() -> Self {
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
        let enrolment = listen(server_tls(&credentials, Clients::Anyone, Alpn::Http2).unwrap()).await;
        let federation_tls = server_tls(
            &credentials,
            Clients::Mutual { trust: root.trust_anchor().unwrap().into(), roles: vec![Role::Gateway] },
            Alpn::Http2,
        );
        let federation = listen(federation_tls.unwrap()).await;
        let (freshness, fresh) = watch::channel(Freshness { confirmed_at: Instant::now(), quorum: true });
        let publisher = publisher_service(
            replicas.clone(),
            Arc::new(Everything(replicas.clone())),
            fresh,
            subscribers.clone(),
            "agent-1".to_owned(),
            shutdown.clone(),
        );
        let addresses = (federation.local_addr().unwrap(), enrolment.local_addr().unwrap());
        let stop = shutdown.clone();
        tokio::spawn(async move {
            let stopped = async move { stop.wait().await };
            grpc_server()
                .add_service(publisher)
                .serve_with_incoming_shutdown(federation.incoming(), stopped)
                .await
        });
        tokio::spawn(async move {
            let stopped = async move { shutdown.wait().await };
            grpc_server()
                .add_service(EnrolmentServer::new(desk))
                .serve_with_incoming_shutdown(enrolment.incoming(), stopped)
                .await
        });
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
    fn publish(&self, revision: u64, api: &str) {
        let lineage = Lineage { generation: 1, id: [7; 16], parent: None };
        let resources = vec![
            listener("production", &[]),
            route_entry(route(api, &format!("/{api}"), &["GET /"])),
            upstream_entry(api, upstream(&["http://127.0.0.1:9"])),
        ];
        self.replicas
            .update(&scope("production"), |replica| {
                replica.advance(Position { lineage, revision }, resources, Vec::new())
            })
            .unwrap();
    }

    /// Publishes so many Apis that compiling them takes a while.
    fn publish_many(&self, revision: u64) {
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

    /// The revision that the only gateway acknowledged.
    fn acknowledged(&self) -> Option<u64> {
        let record = self.subscribers.snapshot().into_iter().next()?;
        Some(record.scopes.get(&scope("production"))?.effective.as_ref()?.revision)
    }

    /// The revision that it acknowledged as surviving its restart.
    fn durable(&self) -> Option<u64> {
        let record = self.subscribers.snapshot().into_iter().next()?;
        Some(record.scopes.get(&scope("production"))?.durable.as_ref()?.revision)
    }

    fn config(&self, dir: &Path) -> Config {
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
fn authority_key(authority: &Authority) -> hanse_transport::KeyPair {
    let dir = tempfile::tempdir().unwrap();
    authority.save(dir.path()).unwrap();
    let pem = std::fs::read_to_string(dir.path().join("key.pem")).unwrap();
    hanse_transport::KeyPair::from_pem(&pem).unwrap()
}

async fn listen(tls: hanse_transport::ServerTls) -> TlsListener {
    TlsListener::new(TcpListener::bind("127.0.0.1:0").await.unwrap(), tls)
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Status and body of a GET; status 0: nobody answers.
async fn get(address: &str, path: &str) -> (u16, String) {
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
async fn until(address: &str, path: &str, wanted: u16) -> String {
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

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < SOON, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn start(config: &Config) -> (ShutdownTrigger, JoinHandle<Result<(), Error>>) {
    let (trigger, shutdown) = ShutdownTrigger::new();
    (trigger, tokio::spawn(run(config.clone(), shutdown)))
}

#[tokio::test]
async fn a_gateway_joins_serves_follows_and_goes_on_alone() {
    let agent = Agent::start().await;
    let dir = tempfile::tempdir().unwrap();
    let config = agent.config(dir.path());
    let (http, admin) = (config.listen.http.clone().unwrap(), config.listen.admin.clone());
    let (trigger, running) = start(&config);

    until(&admin, "/livez", 200).await;
    assert!(until(&admin, "/readyz", 503).await.contains("no configuration"));
    assert!(until(&http, "/orders", 503).await.contains("not-ready"));

    agent.publish(3, "orders");
    until(&http, "/orders", 502).await; // nobody listens on port 9
    until(&admin, "/readyz", 200).await;
    eventually("revision 3 is acknowledged", || agent.acknowledged() == Some(3)).await;
    agent.publish(4, "items");
    eventually("revision 4 is acknowledged", || agent.acknowledged() == Some(4)).await;
    assert_eq!(get(&http, "/items").await.0, 502); // acknowledged means served

    let shown = until(&admin, "/config", 200).await;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["identity"], "gateway-1.gateway.eu-west.hanse.internal");
    assert_eq!(shown["scopes"][0]["scope"], "runtime/eu-west/production");
    assert_eq!((&shown["scopes"][0]["revision"], &shown["scopes"][0]["routes"]), (&4.into(), &2.into()));
    assert_eq!(shown["agent"]["name"], "agent-1");
    let metrics = until(&admin, "/metrics", 200).await;
    assert!(
        metrics.contains("hanse_gateway_config_revision{scope=\"runtime/eu-west/production\"} 4"),
        "{metrics}"
    );
    assert!(metrics.contains("hanse_gateway_rejected_total{reason=\"upstream-unreachable\"}"), "{metrics}");

    // Without its agent it goes on.
    agent.trigger.trigger();
    let begun = Instant::now();
    loop {
        let shown: serde_json::Value = serde_json::from_str(&until(&admin, "/config", 200).await).unwrap();
        if shown["agent"]["connectedTo"].is_null() {
            break;
        }
        assert!(begun.elapsed() < SOON, "the loss is never noticed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((get(&http, "/items").await.0, get(&admin, "/readyz").await.0), (502, 200));

    trigger.trigger();
    tokio::time::timeout(SOON, running).await.unwrap().unwrap().unwrap();
    assert_eq!(get(&http, "/items").await.0, 0);
}

#[tokio::test]
async fn a_gateway_that_was_told_to_stop_says_so_and_serves_on_for_a_while() {
    let agent = Agent::start().await;
    agent.publish(3, "orders");
    let dir = tempfile::tempdir().unwrap();
    let mut config = agent.config(dir.path());
    config.drain.announce_ms = 1_500;
    let (http, admin) = (config.listen.http.clone().unwrap(), config.listen.admin.clone());
    let (trigger, running) = start(&config);
    until(&admin, "/readyz", 200).await;
    let shown: serde_json::Value = serde_json::from_str(&until(&admin, "/upstreams", 200).await).unwrap();
    assert_eq!(shown["endpoints"], serde_json::json!([{"url": "http://127.0.0.1:9", "health": "healthy"}]));
    assert_eq!(get(&http, "/orders").await.0, 502);
    let shown: serde_json::Value = serde_json::from_str(&until(&admin, "/upstreams", 200).await).unwrap();
    assert_eq!(shown["endpoints"][0]["lastFailure"], "no connection");
    let metrics = until(&admin, "/metrics", 200).await;
    assert!(metrics.contains("hanse_gateway_upstream_endpoints{health=\"healthy\"} 1\n"), "{metrics}");

    trigger.trigger();
    assert!(until(&admin, "/readyz", 503).await.contains("draining"));
    assert_eq!((get(&http, "/orders").await.0, get(&admin, "/livez").await.0), (502, 200));
    assert!(!running.is_finished());
    tokio::time::timeout(SOON, running).await.unwrap().unwrap().unwrap();
    assert_eq!((get(&http, "/orders").await.0, get(&admin, "/livez").await.0), (0, 0));
}

#[tokio::test]
async fn a_certificate_on_disk_is_used_again_and_a_token_is_not() {
    let agent = Agent::start().await;
    agent.publish(3, "orders");
    let dir = tempfile::tempdir().unwrap();
    let mut config = agent.config(dir.path());
    for _ in 0..2 {
        let (trigger, running) = start(&config);
        until(config.listen.http.as_ref().unwrap(), "/orders", 502).await;
        trigger.trigger();
        tokio::time::timeout(SOON, running).await.unwrap().unwrap().unwrap();
    }
    // Under another name the directory is another's.
    config.name = name("gateway-2");
    let (_trigger, running) = start(&config);
    let error = running.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::OtherIdentity { .. }), "{error}");
    // And a second gateway cannot come in by the same token.
    let elsewhere = tempfile::tempdir().unwrap();
    config.data_dir = elsewhere.path().join("data");
    let (_trigger, running) = start(&config);
    let error = running.await.unwrap().unwrap_err();
    assert!(hanse_transport::telemetry::causes(&error).to_string().contains("used up"), "{error:?}");
    // Without a token it says what to do.
    config.join_token_file = None;
    let (_trigger, running) = start(&config);
    let error = running.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("hanse agent mint-token"), "{error}");
}

#[tokio::test]
async fn a_join_that_was_cut_off_is_repeated_with_the_same_key() {
    let agent = Agent::start().await;
    agent.publish(3, "orders");
    let dir = tempfile::tempdir().unwrap();
    let config = agent.config(dir.path());
    // The token is spent, and what came of it cannot be saved.
    std::fs::create_dir_all(&config.data_dir).unwrap();
    std::fs::write(config.pki_dir(), "a file where the directory should be").unwrap();
    let (_trigger, running) = start(&config);
    assert!(matches!(running.await.unwrap().unwrap_err(), Error::Pki(_)));
    // Or only the key could be, which is written first.
    std::fs::remove_file(config.pki_dir()).unwrap();
    std::fs::create_dir(config.pki_dir()).unwrap();
    std::fs::write(config.pki_dir().join("key.pem"), "half").unwrap();
    let running = start(&config);
    until(config.listen.http.as_ref().unwrap(), "/orders", 502).await;
    assert!(!config.data_dir.join("joining-key.json").exists(), "it has joined");
    stop(running).await;
}

async fn stop((trigger, running): (ShutdownTrigger, JoinHandle<Result<(), Error>>)) {
    trigger.trigger();
    tokio::time::timeout(SOON, running).await.unwrap().unwrap().unwrap();
}

/// An agent that can be asked no more, and a gateway that has stored what it served.
async fn stored_and_alone(dir: &Path) -> (Agent, Config) {
    let agent = Agent::start().await;
    agent.publish(3, "orders");
    agent.publish_many(4);
    let config = agent.config(dir);
    let running = start(&config);
    until(config.listen.http.as_ref().unwrap(), "/orders", 502).await;
    eventually("what is served is durable", || agent.durable() == Some(4)).await;
    stop(running).await;
    agent.trigger.trigger();
    (agent, config)
}

#[tokio::test]
async fn a_restarted_gateway_serves_alone_from_its_first_request_on() {
    let dir = tempfile::tempdir().unwrap();
    let (agent, mut config) = stored_and_alone(dir.path()).await;
    config.join_token_file = None;
    let running = start(&config);
    // Whoever can connect is served: there is no moment between listening and serving.
    let http = config.listen.http.clone().unwrap();
    let begun = Instant::now();
    let first = loop {
        match get(&http, "/orders").await {
            (0, _) if begun.elapsed() < SOON => tokio::time::sleep(Duration::from_millis(1)).await,
            (status, _) => break status,
        }
    };
    assert_eq!(first, 502, "nobody listens on port 9, which it was told by nobody but its disk");
    until(&config.listen.admin, "/readyz", 200).await;
    let shown = until(&config.listen.admin, "/config", 200).await;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["scopes"][0]["revision"], &shown["agent"]["name"]), (&4.into(), &().into()));
    stop(running).await;
    drop(agent);
}

#[tokio::test]
async fn an_expired_certificate_keeps_nobody_from_serving_what_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (agent, mut config) = stored_and_alone(dir.path()).await;
    let found = hanse_transport::Credentials::load(&config.pki_dir()).unwrap();
    let expired = expired_like(&found, &agent.authority);
    expired.save(&config.pki_dir()).unwrap();
    config.join_token_file = None;
    let running = start(&config);
    until(config.listen.http.as_ref().unwrap(), "/orders", 502).await;
    stop(running).await;
}

/// A certificate as the one given, whose time is over.
fn expired_like(found: &hanse_transport::Credentials, authority: &Authority) -> hanse_transport::Credentials {
    let chain = found.chain();
    let key = rcgen::KeyPair::from_pem(&found.key().to_pem()).unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec![found.identity().to_string()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2020, 1, 2);
    let signing = rcgen::KeyPair::from_pem(&authority_key(authority).to_pem()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(&chain[1], signing).unwrap();
    let leaf = parameters.signed_by(&key, &issuer).unwrap();
    let mut expired = chain.clone();
    expired[0] = leaf.der().clone();
    hanse_transport::Credentials::new(expired, found.key().clone()).unwrap()
}

#[tokio::test]
async fn a_store_of_other_environments_is_not_served_as_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (_agent, config) = stored_and_alone(dir.path()).await;
    let identity = hanse_transport::Credentials::load(&config.pki_dir()).unwrap().identity().clone();
    let may_serve = async |config: &Config| {
        let stored = Stored::open(config, &identity).await.unwrap();
        let persisting = stored.persistence.persister.run(ShutdownTrigger::new().1);
        tokio::time::timeout(SOON, persisting).await.unwrap(); // once, since it is told to stop
        stored.may_serve
    };
    assert!(may_serve(&config).await, "as long as nothing is missing");
    let narrower = Config { environments: vec![name("production")], ..config.clone() };
    assert!(!may_serve(&narrower).await);
    assert!(!may_serve(&config).await, "and that is remembered until all is there again");
}

#[tokio::test]
async fn a_gateway_waits_for_its_agent_and_stops_when_told() {
    let agent = Agent::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = agent.config(dir.path());
    config.enrolment = vec![format!("127.0.0.1:{}", free_port())];
    let (trigger, running) = start(&config);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!running.is_finished());
    trigger.trigger();
    tokio::time::timeout(SOON, running).await.unwrap().unwrap().unwrap();
    assert!(agent.authority.chain().len() > 1);
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let agent = Agent::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = agent.config(dir.path());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    config.listen.http = Some(taken.local_addr().unwrap().to_string());
    let (_trigger, running) = start(&config);
    let error = running.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("listen.http"), "{error}");
}

#[tokio::test]
async fn a_task_that_ends_by_itself_is_an_error_and_one_that_was_told_to_is_not() {
    let (trigger, shutdown) = ShutdownTrigger::new();
    let tasks = || {
        let waits = shutdown.clone();
        let one = tokio::spawn(async { panic!("on purpose") });
        [("one", one), ("other", tokio::spawn(async move { waits.wait().await }))]
    };
    let error = tokio::time::timeout(SOON, unexpected_end(tasks(), &shutdown)).await.unwrap();
    assert!(error.to_string().starts_with("one ended"), "{error}");
    trigger.trigger();
    assert!(
        tokio::time::timeout(Duration::from_millis(20), unexpected_end(tasks(), &shutdown)).await.is_err()
    );
}

/// Its agent lost what it knew of the gateway, and the operator left a new token where the first was.
#[tokio::test]
async fn who_is_not_renewed_joins_again_with_the_key_it_has() {
    let agent = Agent::start().await;
    let dir = tempfile::tempdir().unwrap();
    let config = agent.config(dir.path());
    let (clock, hand) = WallClock::simulated(std::time::SystemTime::now());
    let (_trigger, shutdown) = ShutdownTrigger::new();
    let live = identity::credentials(&config, &clock, &shutdown).await.unwrap().unwrap();
    let first = live.current();

    *agent.unspent.lock().unwrap() = Some(agent.token.clone());
    let trust = LiveTrust::new(first.trust_anchor().unwrap(), clock);
    hand.advance(Duration::from_secs(15 * 3600));
    let renewing = tokio::spawn(identity::keep_renewed(config.clone(), live.clone(), trust, shutdown));
    let renewed = async {
        while live.current().chain()[0] == first.chain()[0] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, renewed).await.expect("it joins again");
    assert_eq!(live.current().key().public_key_der(), first.key().public_key_der());
    assert_eq!(live.identity(), *first.identity());
    assert!(agent.unspent.lock().unwrap().is_none(), "the token did it");
    renewing.abort();
}
