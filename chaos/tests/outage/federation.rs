//! One control node, one region with an agent and gateways, all on one clock.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    slice,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, SystemTime},
};

use hanse_identity::{
    Authority, ClientTls, Credentials, Expect, JoinToken, LiveCredentials, LiveTrust, TrustAnchor, Validity,
    client_tls,
};
use hanse_process::{ClockHand, Shutdown, ShutdownTrigger, WallClock};
use hanse_topology::{Name, Role};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};

/// For all that must happen soon: far above what a busy machine needs, and above the longest wait between attempts.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A role that runs in this process.
pub(crate) struct Running {
    trigger: ShutdownTrigger,
    task: JoinHandle<()>,
}

impl Running {
    fn start<F: Future<Output = ()> + Send + 'static>(run: impl FnOnce(Shutdown) -> F) -> Self {
        let (trigger, shutdown) = ShutdownTrigger::new();
        Self { trigger, task: tokio::spawn(run(shutdown)) }
    }

    pub(crate) async fn stop(self) {
        self.trigger.trigger();
        timeout(SOON, self.task).await.expect("it stops").unwrap();
    }
}

/// Addresses, directories and the clock.
pub(crate) struct Federation {
    dir: tempfile::TempDir,
    pub(crate) clock: WallClock,
    pub(crate) hand: ClockHand,
    server: hanse_server::Config,
    agent: hanse_agent::Config,
    operator: String,
}

/// Addresses that no other process takes before they are used: ports of a loopback address of their own, which no
/// outgoing connection of another test is given as its own port.
fn addresses<const N: usize>() -> [String; N] {
    static GIVEN: AtomicU8 = AtomicU8::new(0);
    let own = Ipv4Addr::new(127, 0, 66, GIVEN.fetch_add(1, Ordering::Relaxed));
    let bound: [_; N] = std::array::from_fn(|_| std::net::TcpListener::bind((own, 0)).unwrap());
    bound.map(|listener| listener.local_addr().unwrap().to_string())
}

impl Federation {
    pub(crate) fn found() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (clock, hand) = WallClock::simulated(SystemTime::now());
        let [api, federation, raft, enrolment, admin] = addresses();
        let server = hanse_server::Config {
            name: name("cp-1"),
            data_dir: dir.path().join("cp-1"),
            store_key: None,
            listen: hanse_server::Addresses { api, federation, raft, enrolment, admin },
            advertise: None,
            api_names: Default::default(),
        };
        let operator = hanse_server::init(&server).unwrap();
        let [federation, enrolment, admin] = addresses();
        let agent = hanse_agent::Config {
            name: name("agent-1"),
            region: name("eu-west"),
            data_dir: dir.path().join("agent-1"),
            store_key: None,
            servers: vec![server.listen.federation.clone()],
            enrolment: vec![server.listen.enrolment.clone()],
            join_token_file: Some(dir.path().join("agent-token")),
            listen: hanse_agent::Addresses { federation, enrolment, admin },
            advertise: None,
        };
        Self { dir, clock, hand, server, agent, operator }
    }

    fn trust(&self) -> LiveTrust {
        let pem = fs::read_to_string(self.server.pki_dir().join("root.crt")).unwrap();
        LiveTrust::new(TrustAnchor::from_pem(&pem).unwrap(), self.clock.clone())
    }

    /// Where the control node syncs.
    pub(crate) fn server_address(&self) -> &str {
        &self.server.listen.federation
    }

    /// Where the agent syncs.
    pub(crate) fn agent_address(&self) -> &str {
        &self.agent.listen.federation
    }

    /// Where the agent keeps everything.
    pub(crate) fn agent_dir(&self) -> &Path {
        &self.agent.data_dir
    }

    /// An authority over another region, as an agent of it gets one.
    pub(crate) fn authority_of(&self, region: &str) -> Authority {
        let control = hanse_server::control_intermediate(&self.server).unwrap();
        control.with_clock(self.clock.clone()).new_regional_intermediate(&name(region)).unwrap()
    }

    /// TLS as a peer with these credentials speaks it.
    pub(crate) fn client(&self, credentials: Credentials, servers: &[Role]) -> ClientTls {
        let expect = Expect { roles: servers.to_vec(), region: None };
        client_tls(Some(&LiveCredentials::new(credentials)), self.trust(), expect).unwrap()
    }

    pub(crate) async fn start_server(&self) -> Running {
        self.start_this_server(&self.server).await
    }

    pub(crate) async fn start_this_server(&self, config: &hanse_server::Config) -> Running {
        let running = self.launch_server(config);
        self.eventually("the control node serves", async || ready(&config.listen.admin).await).await;
        running
    }

    /// Starts a control node that may not be ready for long.
    pub(crate) fn launch_server(&self, config: &hanse_server::Config) -> Running {
        let (config, clock) = (config.clone(), self.clock.clone());
        Running::start(async move |shutdown| {
            hanse_server::run_with_clock(config, clock, shutdown).await.unwrap();
        })
    }

    /// The founding control node.
    pub(crate) fn server(&self) -> &hanse_server::Config {
        &self.server
    }

    /// Another control node, which joined and was not started yet.
    pub(crate) async fn another_server(&self, node: &str) -> hanse_server::Config {
        let token = JoinToken::generate(name(node), &self.trust().current().anchors()[0]);
        let spec = json!({
            "role": "server",
            "expiresAt": self.clock.unix_seconds() + 3600,
            "digest": format!("sha256:{}", hex::encode(token.secret_digest())),
        });
        self.apply(json!([{"kind": "JoinToken", "name": node, "spec": spec}])).await;
        let [api, federation, raft, enrolment, admin] = addresses();
        let config = hanse_server::Config {
            name: name(node),
            data_dir: self.dir.path().join(node),
            listen: hanse_server::Addresses { api, federation, raft, enrolment, admin },
            ..self.server.clone()
        };
        hanse_server::join(&config, &token, slice::from_ref(&self.server.listen.enrolment)).await.unwrap();
        config
    }

    pub(crate) async fn start_agent(&self) -> Running {
        self.start_this_agent(&self.agent).await
    }

    pub(crate) async fn start_this_agent(&self, config: &hanse_agent::Config) -> Running {
        let admin = &config.listen.admin;
        let (config, clock) = (config.clone(), self.clock.clone());
        let running = Running::start(async move |shutdown| {
            hanse_agent::run_with_clock(config, clock, shutdown).await.unwrap();
        });
        self.eventually("the agent lives", async || get(admin, "/livez").await.is_some()).await;
        running
    }

    /// Another agent of the region, with a join token and what the first knows of gateways.
    pub(crate) async fn another_agent(&self, agent: &str) -> hanse_agent::Config {
        let token = JoinToken::generate(name(agent), &self.trust().current().anchors()[0]);
        let file = self.dir.path().join(format!("{agent}-token"));
        fs::write(&file, token.to_string()).unwrap();
        self.apply(json!([self.join_token(&token)])).await;
        let data_dir = self.dir.path().join(agent);
        fs::create_dir_all(data_dir.join("gateways")).unwrap();
        for entry in fs::read_dir(self.agent.data_dir.join("gateways")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), data_dir.join("gateways").join(entry.file_name())).unwrap();
        }
        let [federation, enrolment, admin] = addresses();
        hanse_agent::Config {
            name: name(agent),
            data_dir,
            join_token_file: Some(file),
            listen: hanse_agent::Addresses { federation, enrolment, admin },
            ..self.agent.clone()
        }
    }

    /// The resource of an agent's join token.
    fn join_token(&self, token: &JoinToken) -> Value {
        json!({"kind": "JoinToken", "name": token.id(), "spec": {
            "role": "agent",
            "region": "eu-west",
            "expiresAt": self.clock.unix_seconds() + 3600,
            "digest": format!("sha256:{}", hex::encode(token.secret_digest())),
        }})
    }

    /// A gateway's configuration; with a join token minted now, if it has not joined yet.
    pub(crate) fn gateway(&self, gateway: &str) -> Gateway {
        let data_dir = self.dir.path().join(gateway);
        let token = self.dir.path().join(format!("{gateway}-token"));
        fs::write(&token, hanse_agent::mint_token_by(&self.clock, &self.agent, Role::Gateway, &[]).unwrap())
            .unwrap();
        let [http, admin] = addresses();
        let config: hanse_gateway::Config = serde_json::from_value(json!({
            "name": gateway,
            "data_dir": data_dir,
            "agents": [self.agent.listen.federation],
            "enrolment": [self.agent.listen.enrolment],
            "join_token_file": token,
            "workers": 1,
            "listen": {"http": http, "admin": admin},
        }))
        .unwrap();
        Gateway { config, token }
    }

    pub(crate) async fn start_gateway(&self, gateway: &Gateway) -> Running {
        let (config, clock) = (gateway.config.clone(), self.clock.clone());
        Running::start(async move |shutdown| {
            hanse_gateway::run_with_clock(config, clock, shutdown).await.unwrap();
        })
    }

    /// Tells the control plane of the region, an environment and the agent's join token.
    pub(crate) async fn set_up(&self) {
        let trust = self.trust();
        let token = JoinToken::generate(name("agent-token"), &trust.current().anchors()[0]);
        fs::write(self.agent.join_token_file.as_ref().unwrap(), token.to_string()).unwrap();
        self.apply(json!([
            {"kind": "Region", "name": "eu-west", "spec": {"provider": "cloud",
                "location": {"latitude": 53.35, "longitude": -6.26, "country": "IE", "continent": "EU"}}},
            {"kind": "Environment", "name": "production", "spec": {"regions": ["eu-west"]}},
            self.join_token(&token),
        ]))
        .await;
    }

    /// Publishes an Api that every client may call at `/NAME/now`.
    pub(crate) async fn publish(&self, api: &str, upstream: SocketAddr) -> u64 {
        self.apply(json!([
            {"kind": "Organization", "name": "default", "spec": {}},
            {"kind": "Api", "organization": "default", "name": api, "spec":
                {"context": format!("/{api}"), "version": "1", "operations": [{"method": "GET", "path": "/now"}]}},
            {"kind": "Upstream", "organization": "default", "name": api, "spec":
                {"endpoints": [{"url": format!("http://{upstream}")}]}},
            {"kind": "Binding", "organization": "default", "name": api, "spec":
                {"api": api, "environment": "production", "upstream": api}},
        ]))
        .await
    }

    /// How many snapshots the agent has applied since it started, for any reason.
    pub(crate) async fn agents_snapshots(&self) -> u64 {
        snapshots(&self.agent.listen.admin).await
    }

    /// Applies resources and returns the revision.
    pub(crate) async fn apply(&self, resources: Value) -> u64 {
        let answer =
            self.operate(Method::POST, "/v1/apply", json!({"resources": resources}).to_string()).await;
        answer["revision"].as_u64().unwrap()
    }

    /// A request to the operator API that must succeed.
    pub(crate) async fn operate(&self, method: Method, path: &str, body: String) -> Value {
        self.operate_at(&self.server, method, path, body).await
    }

    /// The same to this control node.
    pub(crate) async fn operate_at(
        &self,
        node: &hanse_server::Config,
        method: Method,
        path: &str,
        body: String,
    ) -> Value {
        let expect = Expect { roles: vec![Role::Server], region: None };
        let mut tls = (*client_tls(None, self.trust(), expect).unwrap()).clone();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let api = &node.listen.api;
        let tcp = TcpStream::connect(api).await.unwrap();
        let host = "localhost".try_into().unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(host, tcp).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", api)
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", self.operator))
            .body(Full::new(bytes::Bytes::from(body)))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    /// Whether the control node has a stream of the agent.
    pub(crate) async fn agent_is_connected(&self) -> bool {
        let status = self.operate(Method::GET, "/v1/status", String::new()).await;
        status["regions"][0]["agents"][0]["connected"] == json!(true)
    }

    /// Whether the agent has its authority.
    pub(crate) fn has_joined(&self) -> bool {
        hanse_identity::Authority::is_saved(&self.agent.data_dir.join("pki").join("region"))
    }

    /// When the agent's authority is valid, by its certificate on disk.
    pub(crate) fn authority(&self) -> Validity {
        let dir = self.agent.data_dir.join("pki").join("region");
        hanse_identity::Authority::load(dir).unwrap().validity()
    }

    /// Waits until a condition holds. A simulated clock stands still meanwhile.
    pub(crate) async fn eventually(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let waiting = async {
            while !condition().await {
                tokio::time::sleep(LOOK).await;
            }
        };
        let waited = timeout(SOON, waiting).await;
        assert!(waited.is_ok(), "not within {SOON:?}: {what}");
    }
}

/// One gateway.
pub(crate) struct Gateway {
    config: hanse_gateway::Config,
    token: PathBuf,
}

impl Gateway {
    /// From now on it has nothing but its certificate.
    pub(crate) fn forget_token(&self) {
        fs::remove_file(&self.token).unwrap();
    }

    /// From its next start on it also knows this agent.
    pub(crate) fn add_agent(&mut self, agent: &hanse_agent::Config) {
        self.config.agents.push(agent.listen.federation.clone());
    }

    /// Its certificate on disk; `None` before it has joined.
    pub(crate) fn credentials(&self) -> Option<Credentials> {
        let dir: &Path = &self.config.data_dir.join("pki");
        Credentials::load(dir).ok()
    }

    /// The agent it follows; null between two.
    pub(crate) async fn followed(&self) -> Option<Value> {
        let page = get(&self.config.listen.admin, "/config").await?;
        let page: Value = serde_json::from_slice(&page).ok()?;
        Some(page["agent"]["name"].clone())
    }

    pub(crate) async fn follows_its_agent(&self) -> bool {
        self.followed().await == Some(json!("agent-1.agent.eu-west.hanse.internal"))
    }

    /// Why it is not connected to an agent; `None` while it is.
    pub(crate) async fn cut_off_because(&self) -> Option<String> {
        let page = get(&self.config.listen.admin, "/config").await?;
        let page: Value = serde_json::from_slice(&page).ok()?;
        let connected = page["agent"]["connectedTo"].is_string();
        page["agent"]["lastFailure"].as_str().filter(|_| !connected).map(str::to_owned)
    }

    /// The status it answers a call of `/API/now` with; 0: it does not answer.
    pub(crate) async fn call(&self, api: &str) -> u16 {
        let http = &self.config.listen.http.0[0].address;
        let client = hanse_chaos::Client::new(None).unwrap();
        let answer = client.get(&format!("http://{http}/{api}/now"), &[]).await;
        answer.map_or(0, |answer| answer.status.as_u16())
    }

    /// How many snapshots it has applied since it started, for any reason.
    pub(crate) async fn snapshots(&self) -> u64 {
        snapshots(&self.config.listen.admin).await
    }

    /// The revision it serves.
    pub(crate) async fn revision(&self) -> Option<u64> {
        let page = get(&self.config.listen.admin, "/config").await?;
        let page: Value = serde_json::from_slice(&page).ok()?;
        page["scopes"][0]["revision"].as_u64()
    }
}

/// The sum of a role's counters of snapshots applied.
async fn snapshots(admin: &str) -> u64 {
    let page = get(admin, "/metrics").await.expect("it runs");
    let page = String::from_utf8(page.to_vec()).unwrap();
    let counters = page.lines().filter(|line| line.starts_with("hanse_link_snapshots_applied_total"));
    counters.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

async fn ready(admin: &str) -> bool {
    get(admin, "/readyz").await.is_some()
}

/// The body of a page, if it is there.
async fn get(address: &str, path: &str) -> Option<bytes::Bytes> {
    let client = hanse_chaos::Client::new(None).unwrap();
    let answer = client.get(&format!("http://{address}{path}"), &[]).await.ok()?;
    (answer.status == StatusCode::OK).then_some(answer.body)
}

/// A page's status and text, if anything answers.
pub(crate) async fn answer(address: &str, path: &str) -> Option<(u16, String)> {
    let client = hanse_chaos::Client::new(None).unwrap();
    let answer = client.get(&format!("http://{address}{path}"), &[]).await.ok()?;
    Some((answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned()))
}

/// Waits until the gateway is connected to its agent.
pub(crate) async fn follows(federation: &Federation, gateway: &Gateway) {
    federation.eventually("the gateway follows its agent", async || gateway.follows_its_agent().await).await;
}

/// A federation at work: its control node, its agent, and a gateway that has joined and has nothing left but its
/// certificate.
pub(crate) async fn at_work() -> (Federation, Running, Running, Gateway, Running) {
    let federation = Federation::found();
    let server = federation.start_server().await;
    federation.set_up().await;
    let agent = federation.start_agent().await;
    federation.eventually("the agent has joined", async || federation.has_joined()).await;
    let gateway = federation.gateway("gateway-1");
    let running = federation.start_gateway(&gateway).await;
    follows(&federation, &gateway).await;
    federation.eventually("it serves", async || gateway.revision().await.is_some()).await;
    gateway.forget_token();
    (federation, server, agent, gateway, running)
}
