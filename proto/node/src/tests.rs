use std::{collections::BTreeMap, path::Path, time::Duration};

use axum::{Router, routing::get};
use hanse_identity::{
    Alpn, Authority, Bounds, Clients, Credentials, JoinToken, Listener, ListenerMetrics, LiveCredentials,
    server_tls,
};
use hanse_link::{EffectiveSource, Wanted};
use hanse_process::{ShutdownTrigger, WallClock, telemetry};
use hanse_topology::{Identity, Lineage, Name, Position, Role, ScopeId};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use super::*;

/// The bound of every wait: far above what a busy machine needs.
const SOON: Duration = Duration::from_secs(30);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A node without publishers, whose data is in `dir`.
fn config(role: Role, dir: &Path) -> NodeConfig {
    NodeConfig {
        role,
        name: name("node-1"),
        region: None,
        data_dir: dir.join("data"), // the store's key goes beside it
        store_key: None,
        publishers: Vec::new(),
        enrolment: vec![free_address()],
        join_token_file: None,
        wanted: Wanted::All,
        admin: free_address(),
    }
}

async fn start(config: &NodeConfig) -> (ShutdownTrigger, Shell) {
    let (trigger, shutdown) = ShutdownTrigger::new();
    (trigger, Shell::start(config.clone(), WallClock::system(), shutdown).await.unwrap())
}

async fn page(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    timeout(SOON, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

#[tokio::test]
async fn the_admin_port_is_open_before_the_node_has_joined_and_shows_its_pages_later() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(Role::Gateway, dir.path());
    let (trigger, shell) = start(&config).await;
    assert!(page(&config.admin, "/readyz").await.ends_with("not ready: not joined yet\n"));
    assert!(page(&config.admin, "/config").await.starts_with("HTTP/1.1 404 "));
    shell.show(Router::new().route("/config", get(async || "the table")));
    assert!(page(&config.admin, "/config").await.ends_with("the table"));
    trigger.trigger();
    timeout(SOON, shell.close(async {})).await.unwrap();
    assert!(TcpStream::connect(&config.admin).await.is_err(), "it is closed at the end");
}

#[tokio::test]
async fn the_admin_port_says_that_a_node_drains_for_as_long_as_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(Role::Gateway, dir.path());
    let (trigger, shell) = start(&config).await;
    assert!(page(&config.admin, "/readyz").await.ends_with("not ready: not joined yet\n"));
    trigger.trigger();
    let (written, writing) = tokio::sync::oneshot::channel::<()>();
    let closing = tokio::spawn(shell.close(async { drop(writing.await) }));
    for _ in 0..3 {
        timeout(SOON, async {
            while !page(&config.admin, "/readyz").await.ends_with("not ready: draining\n") {}
        })
        .await
        .expect("it answers, and says so");
        sleep(Duration::from_millis(20)).await;
    }
    written.send(()).unwrap();
    timeout(SOON, closing).await.unwrap().unwrap();
    assert!(TcpStream::connect(&config.admin).await.is_err(), "it is closed at the end");
}

#[tokio::test]
async fn who_has_no_token_is_told_how_to_make_one() {
    let check = async |role: Role, expected: &str| {
        let dir = tempfile::tempdir().unwrap();
        let config = config(role, dir.path());
        let (_trigger, shell) = start(&config).await;
        let error = shell.join::<Credentials>(&config.pki_dir()).await.unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
    };
    check(
        Role::Gateway,
        "make one with `hanse agent mint-token --join gateway` in the node's region and give it as join_token_file or \
         HANSE_GATEWAY_JOIN_TOKEN",
    )
    .await;
    check(
        Role::Dns,
        "make one with `hanse agent mint-token --join dns` in the node's region and give it as join_token_file or HANSE_DNS_JOIN_TOKEN",
    )
    .await;
    check(
        Role::Agent,
        "make one with `hanse token create --join agent --region …` and give it as join_token_file or HANSE_AGENT_JOIN_TOKEN",
    )
    .await;
}

#[test]
fn an_empty_variable_holds_no_token() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "of the file\n").unwrap();
    let without = config(Role::Agent, dir.path());
    let with = NodeConfig { join_token_file: Some(file), ..without.clone() };
    for (variable, config, expected) in [
        (Some(""), &with, Some("of the file")),
        (Some(" "), &without, None),
        (None, &with, Some("of the file")),
        (Some("given\n"), &with, Some("given")),
    ] {
        let token = config.join_token_of(variable.map(str::to_owned)).unwrap();
        assert_eq!(token.as_deref(), expected, "{variable:?}");
    }
}

#[tokio::test]
async fn a_node_asks_again_until_it_is_answered_and_stops_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let root = Authority::new_root().unwrap();
    let token = dir.path().join("token");
    let text = JoinToken::generate(name("t-1"), &root.trust_anchor().unwrap()).to_string();
    std::fs::write(&token, text).unwrap();
    // It is there, and admits nothing.
    let stranger = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(Role::Agent, dir.path());
    config.enrolment = vec![stranger.local_addr().unwrap().to_string()];
    config.join_token_file = Some(token);
    let (trigger, shell) = start(&config).await;
    let pki = config.pki_dir();
    let joining = tokio::spawn(async move { shell.join::<Authority>(&pki).await });
    for _ in 0..2 {
        drop(timeout(SOON, stranger.accept()).await.expect("it asks again").unwrap());
    }
    let said = format!(
        "not ready: not joined yet: could not join at any address: cannot connect to {}",
        config.enrolment[0]
    );
    assert!(page(&config.admin, "/readyz").await.contains(&said));
    trigger.trigger();
    assert!(timeout(SOON, joining).await.unwrap().unwrap().unwrap().is_none());
}

/// It would ask for ever, and be refused for ever.
#[tokio::test]
async fn a_token_of_another_federation_ends_the_node_with_its_cause() {
    let (theirs, ours) = (Authority::new_root().unwrap(), Authority::new_root().unwrap());
    let control = theirs.new_control_intermediate(&name("cp-1")).unwrap();
    let region = control.new_regional_intermediate(&name("eu-west")).unwrap();
    let agent = Identity::agent(name("a"), name("eu-west"));
    for (role, own) in [
        (Role::Agent, control.issue_credentials(&Identity::server(name("cp-1")), &[]).unwrap()),
        (Role::Gateway, region.issue_credentials(&agent, &[]).unwrap()),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let tls = server_tls(&LiveCredentials::new(own), Clients::Anyone, Alpn::Http2).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let token = dir.path().join("token");
        let text = JoinToken::generate(name("t-1"), &ours.trust_anchor().unwrap()).to_string();
        std::fs::write(&token, text).unwrap();
        let mut config = config(role, dir.path());
        config.enrolment = vec![tcp.local_addr().unwrap().to_string()];
        config.join_token_file = Some(token);
        let (trigger, shell) = start(&config).await;
        let listener = Listener::new("test", tcp, Bounds::of_enrolment(10), &ListenerMetrics::default());
        tokio::spawn(listener.with_tls(tls).serve(Router::new(), trigger.shutdown()));
        let joining = shell.join::<Authority>(&shell.config.pki_dir()).await;
        let said = telemetry::causes(&joining.unwrap_err()).to_string();
        assert!(said.contains("token of another federation"), "{said}");
    }
}

/// The credentials of `node-1` of `eu-west`.
fn credentials() -> LiveCredentials {
    let control = Authority::new_root().unwrap().new_control_intermediate(&name("cp-1")).unwrap();
    let region = control.new_regional_intermediate(&name("eu-west")).unwrap();
    let own = Identity::gateway(name("node-1"), name("eu-west"));
    LiveCredentials::new(region.issue_credentials(&own, &[]).unwrap())
}

#[tokio::test]
async fn another_nodes_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = NodeConfig { name: name("node-2"), ..config(Role::Gateway, dir.path()) };
    let (_trigger, shell) = start(&config).await;
    let error = JoinedNode::open(shell, credentials()).await.unwrap_err();
    let said = telemetry::causes(&error).to_string();
    assert!(said.contains("holds the certificate of node-1.gateway.eu-west.hanse.internal"), "{said}");
    assert!(said.contains("a gateway does not change its name"), "{said}");
}

/// A consumer without a publisher; it adds nothing to the report.
fn consumer() -> Consumer {
    Consumer {
        effective: EffectiveSource::Immediate,
        report: std::sync::Arc::new(|facts| hanse_link::report_of(&facts, Default::default())),
        report_on: None,
        relays: false,
    }
}

/// A role may find in its store that what is there must not be used as it is.
#[tokio::test]
async fn nothing_is_written_to_the_store_before_the_node_follows() {
    let dir = tempfile::tempdir().unwrap();
    let config = NodeConfig { publishers: Vec::new(), ..config(Role::Gateway, dir.path()) };
    let (trigger, shell) = start(&config).await;
    let node = JoinedNode::open(shell, credentials()).await.unwrap();
    let scope = ScopeId::runtime(name("eu-west"), name("production"));
    let lineage = Lineage { generation: 1, id: [1; 16], parent: None };
    let at = Position { lineage, revision: 3 };
    node.replicas
        .update(&scope, |replica| replica.advance(at, vec![("a".into(), "1".into())], vec![]))
        .unwrap();
    let ready = page(&node.shell.config.admin, "/readyz").await;
    assert!(ready.ends_with("not ready: starting\n"), "it has joined: {ready}");
    let mut durable = node.durable.clone();
    let written = timeout(Duration::from_millis(200), durable.changed()).await;
    assert!(written.is_err(), "ten times as long as changes are gathered");
    node.follow(consumer()).unwrap();
    let is_written = |held: &BTreeMap<ScopeId, Position>| held.get(&scope) == Some(&at);
    timeout(SOON, durable.wait_for(is_written)).await.expect("it is written").unwrap();
    trigger.trigger();
    timeout(SOON, node.close()).await.unwrap();
}

#[tokio::test]
async fn a_node_proves_its_life_with_nobody_to_follow() {
    for publishers in [Vec::new(), vec![free_address()]] {
        let dir = tempfile::tempdir().unwrap();
        let config = NodeConfig { publishers, ..config(Role::Gateway, dir.path()) };
        let (trigger, shell) = start(&config).await;
        let node = JoinedNode::open(shell, credentials()).await.unwrap();
        node.follow(consumer()).unwrap();
        let proven = async || {
            while node.shell.supervisor.proof().is_err() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        for _ in 0..3 {
            timeout(SOON, proven()).await.expect("the link and the hub turn");
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(120)).await;
            tokio::time::resume();
        }
        trigger.trigger();
        timeout(SOON, node.close()).await.unwrap();
    }
}
