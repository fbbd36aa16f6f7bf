//! Nodes of a small federation, in this process, over real TLS on loopback.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hanse_identity::{
    Alpn, Authority, Bounds, ClientTls, Clients, Expect, Listener, ListenerMetrics, LiveCredentials,
    LiveTrust, PeerKeys, TrustAnchor, client_tls, install_crypto_provider, server_tls,
};
use hanse_link::{
    Admission, Below, EffectiveSource, Freshness, HeldHead, KeptPlaces, MAX_AGENT_MESSAGE_BYTES, Offer,
    Published, Replicas, ReportSource, Revoked, SubscriberHandle, SubscriberOptions, SubscriberTask,
    Subscribers, Unknown, Wanted, publisher_service, report_of,
};
use hanse_process::ShutdownTrigger;
use hanse_proto::sync::Facts;
use hanse_topology::{Identity, Lineage, Name, Position, Role, ScopeId};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tonic::service::Routes;

/// Longest wait for anything here. Far more than it takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn scope() -> ScopeId {
    ScopeId::runtime(name("eu-west"), name("production"))
}

pub(crate) fn at(revision: u64) -> Position {
    Position { lineage: Lineage { generation: 1, id: [1; 16], parent: None }, revision }
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The authorities.
pub(crate) struct Federation {
    anchor: TrustAnchor,
    control: Authority,
    region: Authority,
}

impl Federation {
    pub(crate) fn new() -> Self {
        install_crypto_provider();
        let root = Authority::new_root().unwrap();
        let control = root.new_control_intermediate(&name("cp-1")).unwrap();
        let region = control.new_regional_intermediate(&name("eu-west")).unwrap();
        Self { anchor: root.trust_anchor().unwrap(), control, region }
    }

    /// Whom a publisher believes, to be told later whom to refuse.
    pub(crate) fn trust(&self) -> LiveTrust {
        (&self.anchor).into()
    }

    fn credentials(&self, identity: &Identity) -> LiveCredentials {
        let authority = if identity.role == Role::Server { &self.control } else { &self.region };
        LiveCredentials::new(authority.issue_credentials(identity, &[]).unwrap())
    }

    pub(crate) fn client(&self, identity: &Identity) -> ClientTls {
        self.client_trusting(identity, &self.trust())
    }

    pub(crate) fn client_trusting(&self, identity: &Identity, trust: &LiveTrust) -> ClientTls {
        let expect = Expect { roles: vec![Role::Server, Role::Agent], region: None };
        client_tls(Some(&self.credentials(identity)), trust, expect).unwrap()
    }

    pub(crate) fn anonymous_client(&self) -> ClientTls {
        client_tls(None, &self.anchor, Expect { roles: vec![Role::Server, Role::Agent], region: None })
            .unwrap()
    }

    /// Serves what `publisher` holds, at `address` or any.
    pub(crate) async fn serve(&self, publisher: &Publisher, address: Option<SocketAddr>) -> Serving {
        let trust = self.anchor.clone();
        self.serve_to(
            publisher,
            address,
            Clients::Mutual {
                trust: trust.into(),
                roles: vec![Role::Agent, Role::Gateway, Role::Dns],
                region: None,
            },
        )
        .await
    }

    pub(crate) async fn serve_to(
        &self,
        publisher: &Publisher,
        address: Option<SocketAddr>,
        clients: Clients,
    ) -> Serving {
        let tcp = TcpListener::bind(address.unwrap_or(([127, 0, 0, 1], 0).into())).await.unwrap();
        let address = tcp.local_addr().unwrap();
        let tls = server_tls(&self.credentials(&publisher.identity), clients, Alpn::Http2).unwrap();
        let (trigger, shutdown) = ShutdownTrigger::new();
        let service = publisher_service(
            Published {
                replicas: publisher.replicas.clone(),
                freshness: publisher.freshness.clone(),
                places: publisher.places.clone(),
            },
            publisher.admission.clone(),
            publisher.subscribers.clone(),
            publisher.identity.to_string(),
            MAX_AGENT_MESSAGE_BYTES,
            shutdown.clone(),
        );
        let listener =
            Listener::new("federation", tcp, Bounds::of_federation(1_000), &ListenerMetrics::default())
                .with_tls(tls);
        let task = tokio::spawn(listener.serve_grpc(Routes::new(service), shutdown));
        Serving { address, trigger, task }
    }

    /// Follows `publishers` into `replicas`.
    pub(crate) fn follow(
        &self,
        identity: Identity,
        publishers: &[&Serving],
        replicas: &Replicas,
    ) -> Following {
        self.follow_as(identity, publishers, replicas, EffectiveSource::Immediate, None)
    }

    pub(crate) fn follow_as(
        &self,
        identity: Identity,
        publishers: &[&Serving],
        replicas: &Replicas,
        effective: EffectiveSource,
        relaying: Option<&Subscribers>,
    ) -> Following {
        let addresses = publishers.iter().map(|serving| serving.address.to_string()).collect();
        let (publishers, known) = watch::channel(addresses);
        let options = SubscriberOptions {
            service: Default::default(),
            tls: self.client(&identity),
            identity,
            publishers: known,
            wanted: Wanted::All,
        };
        let report = relaying.cloned().map(|subscribers| -> ReportSource {
            Arc::new(move || {
                let below = Below::of(&subscribers.snapshot(), Instant::now(), |_| None);
                report_of(&Facts { left_out: below.left_out, ..Facts::default() }, below.row)
            })
        });
        let (mut task, handle) = SubscriberTask::new(options, replicas.clone(), effective, report);
        if let Some(subscribers) = relaying {
            task = task.with_report_on(subscribers.changed());
        }
        let (trigger, shutdown) = ShutdownTrigger::new();
        tokio::spawn(task.run(shutdown));
        Following { handle, publishers, _trigger: trigger }
    }
}

/// What a publisher is made of, whether it serves or not.
pub(crate) struct Publisher {
    pub(crate) identity: Identity,
    pub(crate) replicas: Replicas,
    pub(crate) admission: Arc<Offers>,
    pub(crate) freshness: watch::Receiver<Freshness>,
    pub(crate) subscribers: Subscribers,
    pub(crate) places: KeptPlaces,
}

impl Publisher {
    /// Offers [`scope`] and is always fresh.
    pub(crate) fn new(identity: Identity) -> Self {
        Self::relaying(identity, Replicas::new(), always(true))
    }

    /// Offers [`scope`] out of `replicas`.
    pub(crate) fn relaying(
        identity: Identity,
        replicas: Replicas,
        freshness: watch::Receiver<Freshness>,
    ) -> Self {
        let admission = Arc::new(Offers::new());
        Self {
            identity,
            replicas,
            admission,
            freshness,
            subscribers: Subscribers::new(),
            places: KeptPlaces::default(),
        }
    }

    pub(crate) fn put(&self, revision: u64, key: &str, value: impl Into<Bytes>) {
        let upserts = vec![(key.into(), value.into())];
        self.replicas.update(&scope(), |replica| replica.advance(at(revision), upserts, vec![]).unwrap());
    }

    pub(crate) fn delete(&self, revision: u64, key: &str) {
        self.replicas
            .update(&scope(), |replica| replica.advance(at(revision), vec![], vec![key.into()]).unwrap());
    }
}

/// A freshness of ten minutes from now, which never ages in a test.
pub(crate) fn always(quorum: bool) -> watch::Receiver<Freshness> {
    let confirmed_at = Instant::now() + Duration::from_secs(600);
    watch::channel(Freshness { confirmed_at, quorum }).1
}

/// Offers every known subscriber the same scopes, as of a position, and tells every one the same list.
pub(crate) struct Offers {
    /// All are known but these.
    unknown: watch::Sender<BTreeSet<Identity>>,
    barred: watch::Sender<BTreeSet<Identity>>,
    offered: watch::Sender<(Vec<ScopeId>, Option<Position>)>,
    revoked: watch::Sender<Option<Revoked>>,
    changed: watch::Sender<u64>,
    /// The heads of local scopes that subscribers told.
    pub(crate) heads: watch::Sender<Vec<HeldHead>>,
}

impl Offers {
    fn new() -> Self {
        let offered = watch::Sender::new((vec![scope()], None));
        let (unknown, barred, revoked, changed, heads) = Default::default();
        Self { unknown, barred, offered, revoked, changed, heads }
    }

    pub(crate) fn offer(&self, scopes: Vec<ScopeId>, as_of: Option<Position>) {
        self.offered.send_replace((scopes, as_of));
        self.changed.send_modify(|version| *version += 1);
    }

    /// Knows all but these from now on.
    pub(crate) fn does_not_know(&self, unknown: &[&Identity]) {
        self.unknown.send_replace(unknown.iter().map(|identity| (*identity).clone()).collect());
        self.changed.send_modify(|version| *version += 1);
    }

    /// Does not let these call from now on.
    pub(crate) fn may_not_call(&self, barred: &[&Identity]) {
        self.barred.send_replace(barred.iter().map(|identity| (*identity).clone()).collect());
    }

    pub(crate) fn revoke(&self, revision: u64, identities: &[&Identity]) {
        let identities = identities.iter().map(|identity| identity.to_string()).collect();
        let (authorities, gateway_keys) = (Vec::new(), Vec::new());
        let told = Revoked { as_of: at(revision), identities, authorities, gateway_keys };
        self.revoked.send_replace(Some(told));
        self.changed.send_modify(|version| *version += 1);
    }
}

impl Admission for Offers {
    fn may_call(&self, peer: &Identity, _keys: &PeerKeys) -> Result<(), Unknown> {
        match self.barred.borrow().contains(peer) {
            true => Err(Unknown { why: format!("{peer} may not call") }),
            false => Ok(()),
        }
    }

    fn offer_to(&self, peer: &Identity, _keys: &PeerKeys) -> Result<Offer, Unknown> {
        if self.unknown.borrow().contains(peer) {
            return Err(Unknown { why: format!("{peer} is not known here") });
        }
        let (scopes, as_of) = self.offered.borrow().clone();
        Ok(Offer { scopes, as_of })
    }

    fn revoked_for(&self, _peer: &Identity) -> Option<Revoked> {
        self.revoked.borrow().clone()
    }

    fn note_head(&self, _scope: &ScopeId, head: &HeldHead) {
        self.heads.send_modify(|heads| heads.push(head.clone()));
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

/// A publisher that serves.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    trigger: ShutdownTrigger,
    task: JoinHandle<()>,
}

impl Serving {
    pub(crate) async fn stop(self) {
        self.trigger.trigger();
        tokio::time::timeout(PATIENCE, self.task).await.expect("it stops").unwrap();
    }
}

/// A subscriber that follows.
pub(crate) struct Following {
    pub(crate) handle: SubscriberHandle,
    pub(crate) publishers: watch::Sender<Vec<String>>,
    _trigger: ShutdownTrigger,
}

impl Following {
    pub(crate) fn connected_to(&self, serving: &Serving) -> bool {
        self.handle.status.borrow().connected_to.as_ref() == Some(&serving.address.to_string())
    }
}

pub(crate) fn value(replicas: &Replicas, key: &str) -> Option<Bytes> {
    replicas.read(|map| map.get(&scope())?.get(key).cloned())
}

pub(crate) fn revision(replicas: &Replicas) -> Option<u64> {
    replicas.read(|map| Some(map.get(&scope())?.position()?.revision))
}

pub(crate) fn same(one: &Replicas, other: &Replicas) -> bool {
    let facts = |replicas: &Replicas| {
        replicas.read(|map| map.get(&scope()).map(|replica| (replica.position().copied(), replica.root())))
    };
    facts(one).is_some() && facts(one) == facts(other)
}

pub(crate) fn server(text: &str) -> Identity {
    Identity::server(name(text))
}

pub(crate) fn agent(text: &str) -> Identity {
    Identity::agent(name(text), name("eu-west"))
}

pub(crate) fn gateway(text: &str) -> Identity {
    Identity::gateway(name(text), name("eu-west"))
}
