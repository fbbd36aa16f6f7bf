//! A whole agent under a control node that is played by the real publisher.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use hanse_identity::{Bounds, Listener, ListenerMetrics, PeerKeys};
use hanse_link::{
    Admission, Freshness, KeptPlaces, MAX_AGENT_MESSAGE_BYTES, Offer, Published, Replicas, Unknown,
};
use hanse_process::ShutdownTrigger;
use hanse_topology::{Lineage, Name, Position, ScopeId};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};

use super::*;
use crate::testbed;

/// The bound of every wait: far above what a busy machine needs.
const SOON: Duration = Duration::from_secs(30);

/// The next report of `agent-1` is made with a panic, which ends the task of the link. One test sets it; agents of other tests have
/// other names.
static FAULT: AtomicBool = AtomicBool::new(false);

pub(super) fn fault(own: &Identity) {
    let is_meant = own.name.as_str() == "agent-1";
    assert!(!is_meant || !FAULT.swap(false, Ordering::SeqCst), "a fault on purpose");
}

struct Everything(Replicas);

impl Admission for Everything {
    fn offer_to(&self, _peer: &Identity, _keys: &PeerKeys) -> Result<Offer, Unknown> {
        let lineage = Lineage { generation: 1, id: [7; 16], parent: None };
        let scope = ScopeId::runtime(name("eu-west"), name("production"));
        Ok(Offer { scopes: [scope].into(), as_of: Some(Position { lineage, revision: 3 }) })
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A control node, and the authority of an agent that joined at it.
async fn control_node(trigger: &ShutdownTrigger) -> (SocketAddr, Authority) {
    let root = Authority::new_root().unwrap();
    let control = root.new_control_intermediate(&name("cp-1")).unwrap();
    let own = control.issue_credentials(&Identity::server(name("cp-1")), &[]).unwrap();
    let trust = root.trust_anchor().unwrap().into();
    let clients = Clients::Mutual { trust, roles: vec![Role::Agent], region: None };
    let tls = server_tls(&LiveCredentials::new(own), clients, Alpn::Http2).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let replicas = Replicas::new();
    let (freshness, fresh) = watch::channel(Freshness { confirmed_at: Instant::now(), quorum: true });
    let publisher = publisher_service(
        Published { replicas: replicas.clone(), freshness: fresh, places: KeptPlaces::default() },
        Arc::new(Everything(replicas)),
        Subscribers::new(),
        "cp-1".to_owned(),
        MAX_AGENT_MESSAGE_BYTES,
        trigger.shutdown(),
    );
    let listener = Listener::new("test", tcp, Bounds::of_federation(100), &ListenerMetrics::default());
    let (listener, shutdown) = (listener.with_tls(tls), trigger.shutdown());
    tokio::spawn(async move {
        let _freshness = freshness;
        listener.serve_grpc(Routes::new(publisher), shutdown).await;
    });
    (address, control.new_regional_intermediate(&name("eu-west")).unwrap())
}

/// The body of a page, once it has this status.
async fn until(address: &str, path: &str, status: u16) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let mut text = String::new();
    let asked = timeout(SOON, async {
        loop {
            text.clear();
            if let Ok(mut stream) = TcpStream::connect(address).await {
                stream.write_all(request.as_bytes()).await.unwrap();
                stream.read_to_string(&mut text).await.unwrap();
            }
            if text.starts_with(&format!("HTTP/1.1 {status} ")) {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(asked.await.is_ok(), "{path} is not {status}: {text}");
    text
}

fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn an_agent_whose_link_ends_is_not_ready_until_it_runs_again_and_serves_on() {
    let (trigger, shutdown) = ShutdownTrigger::new();
    let (server, authority) = control_node(&trigger).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = testbed::config(&dir.path().join("data")); // the store's key goes beside it
    authority.save(config.authority_dir()).unwrap();
    config.servers = vec![server.to_string()];
    config.enrolment = vec![free_address()];
    config.listen.admin = free_address();
    config.listen.federation = free_address();
    let admin = config.listen.admin.clone();
    let running = tokio::spawn(run(config.clone(), shutdown));
    until(&admin, "/readyz", 200).await;
    assert!(until(&admin, "/metrics", 200).await.contains("hanse_task_restarts_total{task=\"link\"} 0\n"));

    FAULT.store(true, Ordering::SeqCst);
    let said = until(&admin, "/readyz", 503).await;
    assert!(said.contains("not ready: the task link ended and is started again"), "{said}");
    TcpStream::connect(&config.listen.federation).await.expect("gateways are served on");
    until(&admin, "/readyz", 200).await;
    assert!(until(&admin, "/metrics", 200).await.contains("hanse_task_restarts_total{task=\"link\"} 1\n"));

    trigger.trigger();
    timeout(SOON, running).await.unwrap().unwrap().unwrap();
}
