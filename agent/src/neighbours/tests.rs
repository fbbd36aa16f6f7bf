//! Whole agents of one region under a control node that is played by the real publisher.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use hanse_identity::{
    Alpn, Authority, Bounds, Clients, Expect, Listener, ListenerMetrics, LiveCredentials, LiveTrust,
    PeerKeys, client_tls, server_tls,
};
use hanse_link::{
    Admission, EffectiveSource, Freshness, KeptPlaces, LinkStatus, MAX_AGENT_MESSAGE_BYTES, Offer, Published,
    Replicas, Service, SubscriberOptions, SubscriberTask, Subscribers, Unknown, Wanted, publisher_service,
};
use hanse_local::{Wish, Wishes};
use hanse_process::{ShutdownTrigger, WallClock};
use hanse_proto::{
    places::Place,
    runtime::{Holder, Neighbour, Origin, Resource, resource::Kind},
    sync::Health,
};
use hanse_topology::{Identity, Lineage, Name, Position, Role, ScopeId};
use prost::Message as _;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tonic::service::Routes;

use crate::{Addresses, Config, Error, RegionWatcher, run_observed, run_with_origins, testbed};

mod region;

/// The bound of every wait: far above what a busy machine needs.
const SOON: Duration = Duration::from_secs(60);
const RUNTIME: &str = "runtime/eu-west/production";
const AGENTS: &str = "agents/eu-west";
const LOCAL: &str = "local/eu-west/production/pods";

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Offers all that is published.
struct Everything(Replicas);

impl Admission for Everything {
    fn offer_to(&self, _peer: &Identity, _keys: &PeerKeys) -> Result<Offer, Unknown> {
        let scopes = self.0.read(|map| map.keys().cloned().collect());
        Ok(Offer { scopes, as_of: Some(at(1)) })
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

fn at(revision: u64) -> Position {
    Position { lineage: Lineage { generation: 1, id: [7; 16], parent: None }, revision }
}

/// A region with a control node and agents.
struct World {
    control: Authority,
    trust: LiveTrust,
    replicas: Replicas,
    /// What the control node knows of places.
    places: KeptPlaces,
    server: SocketAddr,
    stop: ShutdownTrigger,
    _freshness: watch::Sender<Freshness>,
}

/// An agent's directory and addresses, whether it runs or not.
struct Agent {
    config: Config,
    key: [u8; 32],
    wishes: watch::Sender<Wishes>,
    running: Option<(ShutdownTrigger, JoinHandle<Result<(), Error>>)>,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let root = Authority::new_root().unwrap();
        let control = root.new_control_intermediate(&name("cp-1")).unwrap();
        let own = control.issue_credentials(&Identity::server(name("cp-1")), &[]).unwrap();
        let trust: LiveTrust = root.trust_anchor().unwrap().into();
        let clients = Clients::Mutual { trust: trust.clone(), roles: vec![Role::Agent], region: None };
        let tls = server_tls(&LiveCredentials::new(own), clients, Alpn::Http2).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = tcp.local_addr().unwrap();
        let (stop, shutdown) = ShutdownTrigger::new();
        let (replicas, places) = (Replicas::new(), KeptPlaces::default());
        let confirmed_at = std::time::Instant::now() + SOON;
        let (freshness, fresh) = watch::channel(Freshness { confirmed_at, quorum: true });
        let publisher = publisher_service(
            Published { replicas: replicas.clone(), freshness: fresh, places: places.clone() },
            Arc::new(Everything(replicas.clone())),
            Subscribers::new(),
            "cp-1".to_owned(),
            MAX_AGENT_MESSAGE_BYTES,
            shutdown.clone(),
        );
        let bounds = Bounds::of_federation(100);
        let listener = Listener::new("test", tcp, bounds, &ListenerMetrics::default()).with_tls(tls);
        tokio::spawn(listener.serve_grpc(Routes::new(publisher), shutdown));
        Self { control, trust, replicas, places, server, stop, _freshness: freshness }
    }

    /// Calls a service of an agent, as a process with this identity, whose certificate another agent's authority issued.
    fn call(
        &self,
        agent: &Agent,
        issuer: &Agent,
        identity: Identity,
        service: Service,
    ) -> watch::Receiver<LinkStatus> {
        let issuer = Authority::load(issuer.config.authority_dir()).unwrap();
        let own = LiveCredentials::new(issuer.issue_credentials(&identity, &[]).unwrap());
        let expect = Expect { roles: vec![Role::Agent], region: None };
        let options = SubscriberOptions {
            identity,
            publishers: watch::channel(vec![agent.config.listen.federation.clone()]).1,
            tls: client_tls(Some(&own), self.trust.clone(), expect).unwrap(),
            wanted: Wanted::All,
            service,
        };
        let (task, handle) = SubscriberTask::new(options, Replicas::new(), EffectiveSource::Immediate, None);
        tokio::spawn(task.run(self.stop.shutdown()));
        handle.status
    }

    /// An agent that joined; it does not run yet.
    fn agent(&self, agent: &str) -> Agent {
        let dir = tempfile::tempdir().unwrap();
        let authority = self.control.new_regional_intermediate(&name("eu-west")).unwrap();
        let [federation, enrolment, admin] = std::array::from_fn(|_| free_address());
        let config = Config {
            name: name(agent),
            servers: vec![self.server.to_string()],
            enrolment: vec![free_address()],
            listen: Addresses { federation, enrolment, admin },
            ..testbed::config(&dir.path().join("data")) // the store's key goes beside it
        };
        authority.save(config.authority_dir()).unwrap();
        let key = hanse_identity::digest_secret(&authority.key().public_key_der());
        Agent { config, key, wishes: watch::Sender::default(), running: None, _dir: dir }
    }

    /// Publishes at this revision: the agents, with a key each, and an Origin with a holder.
    fn publish(&self, revision: u64, agents: &[(&Agent, [u8; 32])], holder: &Agent) {
        let bytes = |kind: Kind| Resource { kind: Some(kind), requires: Vec::new() }.encode_to_vec().into();
        let neighbour = |(agent, key): &(&Agent, [u8; 32])| {
            let Config { name, listen, .. } = &agent.config;
            let kind = Kind::Neighbour(Neighbour {
                name: name.to_string(),
                key: key.to_vec().into(),
                environments: Vec::new(),
                address: listen.federation.clone(),
                relay: true,
            });
            (format!("agent/{name}").into(), bytes(kind))
        };
        let origin = bytes(Kind::Origin(Origin {
            name: "pods".into(),
            organizations: vec!["shop".into()],
            kinds: vec!["route".into(), "upstream".into()],
            holders: vec![Holder { name: holder.config.name.to_string(), key: holder.key.to_vec().into() }],
            made_at_ms: 1,
        }));
        let agents: BTreeMap<Arc<str>, Bytes> = agents.iter().map(neighbour).collect();
        self.replicas.update_all(|replicas| {
            for (scope, content) in [(AGENTS, agents), (RUNTIME, [("origin/pods".into(), origin)].into())] {
                let scope: ScopeId = scope.parse().unwrap();
                let replica = replicas.replica(&scope);
                let gone = replica.iter().filter(|(key, _)| !content.contains_key(*key));
                let gone = gone.map(|(key, _)| key.into()).collect();
                replica.advance(at(revision), content.into_iter().collect(), gone).unwrap();
            }
        });
    }
}

impl Agent {
    fn start(&mut self) {
        let (trigger, shutdown) = ShutdownTrigger::new();
        let wishes = self.wishes.subscribe();
        let running = run_with_origins(self.config.clone(), WallClock::system(), wishes, shutdown);
        self.running = Some((trigger, tokio::spawn(running)));
    }

    /// The same, and what it knows of its region.
    async fn start_observed(&mut self) -> RegionWatcher {
        let (trigger, shutdown) = ShutdownTrigger::new();
        let (observer, observed) = oneshot::channel();
        let (config, wishes) = (self.config.clone(), self.wishes.subscribe());
        let running = run_observed(config, WallClock::system(), wishes, observer, shutdown);
        self.running = Some((trigger, tokio::spawn(running)));
        timeout(SOON, observed).await.expect("it starts").unwrap().region
    }

    async fn stop(&mut self) {
        let (trigger, running) = self.running.take().expect("it runs");
        trigger.trigger();
        timeout(SOON, running).await.expect("it stops").unwrap().unwrap();
    }

    /// Wishes for a Route in the local scope.
    fn wish(&self, value: &'static [u8]) {
        let content = BTreeMap::from([("route/shop/pets".into(), Bytes::from_static(value))]);
        let wish = Arc::new(Wish { term: 1, content });
        self.wishes.send_replace([(LOCAL.parse().unwrap(), wish)].into());
    }

    /// What `/neighbours` shows of the link to another agent; null: there is none, or the agent does not answer.
    async fn link_to(&self, other: &str) -> Value {
        let links = self.page().await["links"].take();
        let links = links.as_array().cloned().unwrap_or_default();
        links.into_iter().find(|link| link["agent"] == other).unwrap_or_default()
    }

    async fn page(&self) -> Value {
        self.page_at("/neighbours").await
    }

    async fn page_at(&self, path: &str) -> Value {
        let address = &self.config.listen.admin;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        let mut text = String::new();
        if let Ok(mut stream) = TcpStream::connect(address).await {
            let _ = stream.write_all(request.as_bytes()).await;
            let _ = stream.read_to_string(&mut text).await;
        }
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        serde_json::from_str(body).unwrap_or_default()
    }

    /// Waits until the agent holds the local scope at another position than this.
    async fn own_is_another(&self, before: &Value) -> Value {
        let deadline = Instant::now() + SOON;
        loop {
            let held = self.page().await["localScopes"][LOCAL].take();
            if held.is_string() && held != *before {
                return held;
            }
            assert!(Instant::now() < deadline, "{} holds {held}", self.config.name);
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for what is shown of the link to another agent.
    async fn until(&self, other: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + SOON;
        loop {
            let link = self.link_to(other).await;
            if holds(&link) {
                return link;
            }
            assert!(Instant::now() < deadline, "{} to {other}: not {what}: {link}", self.config.name);
            sleep(Duration::from_millis(50)).await;
        }
    }
}

fn is_connected(link: &Value) -> bool {
    link["connected"] == true
}

#[tokio::test]
async fn agents_follow_one_another_also_after_a_restart_without_the_control_plane() {
    let world = World::new().await;
    let (mut a, mut b) = (world.agent("a"), world.agent("b"));
    world.publish(1, &[(&a, a.key), (&b, b.key)], &a);
    a.start();
    b.start();
    a.until("b", "connected", is_connected).await;
    b.until("a", "connected", is_connected).await;
    assert_eq!(a.page().await["relays"], serde_json::json!(["a", "b"]));

    a.wish(b"one");
    let holds = |link: &Value| link["localScopes"][LOCAL].is_string();
    let link = b.until("a", "holding the local scope", holds).await;
    assert_eq!(link["localScopes"].as_object().unwrap().len(), 1, "nothing else comes this way: {link}");
    let held = async |agent: &Agent| agent.page().await["localScopes"][LOCAL].clone();
    let first = b.own_is_another(&Value::Null).await;
    assert_eq!(first, held(&a).await, "b holds what a published");

    world.stop.trigger();
    a.wish(b"two");
    let second = b.own_is_another(&first).await;
    assert_eq!(second, held(&a).await, "also without the control plane");
    let deadline = Instant::now() + SOON;
    while b.page().await["stored"] != serde_json::json!({LOCAL: second}) {
        assert!(
            Instant::now() < deadline,
            "b has what it holds on its disk, and says so of local scopes alone"
        );
        sleep(Duration::from_millis(50)).await;
    }
    a.stop().await;
    b.until("a", "told that a is gone", |link| link["connected"] == false).await;
    b.stop().await;
    b.start();
    a.start();
    b.until("a", "connected again", is_connected).await;
    a.until("b", "connected again", is_connected).await;
    b.until("a", "holding the local scope again", holds).await;
    a.wish(b"three");
    b.own_is_another(&second).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn without_the_control_plane_health_of_others_becomes_unknown_and_addresses_stay() {
    let world = World::new().await;
    let mut a = world.agent("a");
    world.publish(1, &[(&a, a.key)], &a);
    let place = |environment: &str| Place {
        region: name("us-east"),
        environment: name(environment),
        health: Health::Up,
        age: Duration::from_secs(10),
        addresses: vec!["192.0.2.7".parse().unwrap()],
        tunnels: vec!["192.0.2.7:7447".to_owned()],
        left_out: 0,
    };
    world.places.take_own([place("production"), place("elsewhere")], std::time::Instant::now());
    a.start();
    let until = async |a: &Agent, health: &str| {
        let deadline = Instant::now() + SOON;
        loop {
            let page = a.page_at("/places").await;
            if page[0]["health"] == health {
                assert_eq!(page.as_array().unwrap().len(), 1, "of environments that it may learn: {page}");
                assert_eq!(page[0]["region"], "us-east");
                assert_eq!(page[0]["addresses"], serde_json::json!(["192.0.2.7"]));
                assert_eq!(page[0]["tunnels"], serde_json::json!(["192.0.2.7:7447"]));
                return;
            }
            assert!(Instant::now() < deadline, "not {health}: {page}");
            sleep(Duration::from_millis(50)).await;
        }
    };
    until(&a, "up").await;
    world.stop.trigger();
    until(&a, "unknown").await;
    a.stop().await;
    a.start();
    until(&a, "unknown").await;
    a.stop().await;
}

#[tokio::test]
async fn an_agent_with_another_key_and_one_that_is_no_member_are_not_followed_and_not_served() {
    let world = World::new().await;
    let (mut a, mut b) = (world.agent("a"), world.agent("b"));
    // As far as the control plane knows, b has another key.
    world.publish(1, &[(&a, a.key), (&b, [9; 32])], &a);
    a.start();
    b.start();
    let fails = |link: &Value, why: &str| {
        link["connected"] == false && link["lastFailure"].as_str().is_some_and(|text| text.contains(why))
    };
    a.until("b", "refused", |link| fails(link, "b.agent.eu-west.hanse.internal is refused here")).await;
    b.until("a", "refused", |link| fails(link, "joined with another key")).await;

    world.publish(2, &[(&a, a.key), (&b, b.key)], &a);
    a.until("b", "connected", is_connected).await;
    b.until("a", "connected", is_connected).await;

    // Without b, as after a revocation.
    world.publish(3, &[(&a, a.key)], &a);
    a.until("b", "left", Value::is_null).await;
    b.until("a", "refused", |link| fails(link, "does not know that b.agent.eu-west")).await;
    a.stop().await;
    b.stop().await;
}

/// The port of an agent admits both, and each service one of them.
#[tokio::test]
async fn agents_may_call_neighbours_only_and_gateways_sync_only() {
    let world = World::new().await;
    let (mut a, b) = (world.agent("a"), world.agent("b"));
    world.publish(1, &[(&a, a.key), (&b, b.key)], &a);
    a.start();
    let agent = Identity::agent(name("b"), name("eu-west"));
    let gateway = Identity::gateway(name("g"), name("eu-west"));
    for (identity, issuer, service, why) in [
        (agent, &b, Service::Sync, "is no gateway"),
        (gateway.clone(), &a, Service::Neighbours, "is no agent of eu-west"),
        // It reached the service: only its agent could say so.
        (gateway, &a, Service::Sync, "did not admit g.gateway"),
    ] {
        let mut status = world.call(&a, issuer, identity.clone(), service);
        let is_refused =
            |status: &LinkStatus| status.last_failure.as_ref().is_some_and(|text| text.contains(why));
        timeout(SOON, status.wait_for(is_refused)).await.expect(why).unwrap();
        assert!(status.borrow().connected_to.is_none(), "{identity}");
    }
    a.stop().await;
}
