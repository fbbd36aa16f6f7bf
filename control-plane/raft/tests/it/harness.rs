//! Control-plane nodes as a test runs them: a replica and its listener.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hanse_identity::{
    Alpn, Authority, Bounds, ClientTls, Clients, Credentials, Expect, Listener, ListenerMetrics,
    LiveCredentials, client_tls, install_crypto_provider, key_digest, server_tls,
};
use hanse_management::{
    Digest, Kind, Problem, ResourceKey, Revision,
    kinds::{JoinRole, JoinTokenSpec, OrganizationSpec},
};
use hanse_process::ShutdownTrigger;
use hanse_proto::raft::{ControlNode, ReportsResponse};
use hanse_raft::{Compaction, RaftGroup, RaftOptions, Timing};
use hanse_state::{
    Accepted, Action, Change, Command, CommandBody, Incumbent, Lineage, Outcome, SeatAsked, State,
    port::{Consistency, Replicated},
    server_identity,
};
use hanse_topology::{Identity, Name, Role};
use tempfile::TempDir;
use tokio::{net::TcpListener, time::sleep};
use tonic::service::Routes;

use crate::slow_road;

/// No wait in these tests may last longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Slower than the defaults: the tests share two cores with other processes.
pub(crate) const TIMING: Timing = Timing {
    heartbeat: Duration::from_millis(150),
    election_min: Duration::from_millis(600),
    election_max: Duration::from_millis(900),
};

/// What a join token lets a control node do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admit {
    /// Join under a name of its own.
    Plain,
    /// Take the place of a node that is gone.
    Replace,
    /// Take any place.
    Force,
}

/// What the nodes of a test have in common.
pub(crate) struct World {
    authorities: Arc<Authorities>,
    dir: TempDir,
    pub(crate) compaction: Compaction,
    /// What each connection to a node carries a second; `None`: what the loopback does.
    pub(crate) bytes_per_second: Option<u32>,
}

/// A running node.
pub(crate) struct TestNode {
    pub(crate) group: Arc<RaftGroup>,
    pub(crate) description: ControlNode,
    authorities: Arc<Authorities>,
    stop: ShutdownTrigger,
    served: tokio::task::JoinHandle<()>,
}

/// Each node has a control intermediate of its own, by its id: the key it goes by.
struct Authorities {
    root: Authority,
    of: Mutex<BTreeMap<u64, Authority>>,
}

impl Authorities {
    fn issue(&self, id: u64, identity: &Identity) -> Credentials {
        let mut of = self.of.lock().unwrap();
        let own = of.entry(id).or_insert_with(|| self.root.new_control_intermediate(&identity.name).unwrap());
        own.issue_credentials(identity, &[]).unwrap()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        install_crypto_provider();
        let root = Authority::new_root().unwrap();
        Self {
            authorities: Arc::new(Authorities { root, of: Mutex::default() }),
            dir: tempfile::tempdir().unwrap(),
            compaction: Compaction::default(),
            bytes_per_second: None,
        }
    }

    pub(crate) fn data_dir(&self, id: u64) -> PathBuf {
        self.dir.path().join(id.to_string())
    }

    /// Starts node `id`, called `cp-ID`, on a free port.
    pub(crate) async fn start(&self, id: u64) -> TestNode {
        self.start_at(id, &format!("cp-{id}"), "127.0.0.1:0".parse().unwrap()).await
    }

    /// Starts a node that was stopped, where it was.
    pub(crate) async fn restart(&self, stopped: ControlNode) -> TestNode {
        self.start_at(stopped.id, &stopped.name, stopped.raft_address.parse().unwrap()).await
    }

    pub(crate) async fn start_at(&self, id: u64, as_name: &str, address: SocketAddr) -> TestNode {
        let tcp = TcpListener::bind(address).await.unwrap();
        let mut address = tcp.local_addr().unwrap();
        if let Some(bytes_per_second) = self.bytes_per_second {
            address = slow_road::to(address, bytes_per_second).await;
        }
        let identity = Identity { name: name(as_name), role: Role::Server, region: None };
        let credentials = self.authorities.issue(id, &identity);
        let trust = self.authorities.root.trust_anchor().unwrap();
        let credentials = LiveCredentials::new(credentials);
        let expect = Expect { roles: vec![Role::Server], region: None };
        let outgoing = client_tls(Some(&credentials), &trust, expect).unwrap();
        let incoming = server_tls(
            &credentials,
            Clients::Mutual { trust: trust.into(), roles: vec![Role::Server], region: None },
            Alpn::Http2,
        )
        .unwrap();

        let description = ControlNode {
            id,
            name: as_name.to_owned(),
            raft_address: address.to_string(),
            api_url: format!("https://{as_name}.example:7443"),
            federation_address: String::new(),
        };
        let mut options = RaftOptions::new(description.clone(), self.data_dir(id));
        options.timing = TIMING;
        options.compaction = self.compaction;
        let group = RaftGroup::open(options, outgoing).await.unwrap();
        let (raft, peer) = group.services(Arc::new(ReportsResponse::default), Arc::new(|_| Vec::new()));
        let (stop, shutdown) = ShutdownTrigger::new();
        let listener = Listener::new("raft", tcp, Bounds::of_raft(128, &[]), &ListenerMetrics::default());
        let routes = Routes::new(raft).add_service(peer);
        let served = group.handle().spawn(listener.with_tls(incoming).serve_grpc(routes, shutdown));
        let authorities = self.authorities.clone();
        TestNode { group, description, authorities, stop, served }
    }

    /// What the control node of this id and name shows the others.
    pub(crate) fn shown_by(&self, id: u64, named: &str) -> ClientTls {
        let identity = Identity { name: name(named), role: Role::Server, region: None };
        let credentials = LiveCredentials::new(self.authorities.issue(id, &identity));
        let trust = self.authorities.root.trust_anchor().unwrap();
        client_tls(Some(&credentials), &trust, Expect { roles: vec![Role::Server], region: None }).unwrap()
    }

    /// Starts nodes 1 to 3, all of them voters; 1 leads.
    pub(crate) async fn three_voters(&self) -> Vec<TestNode> {
        let mut nodes = vec![self.start(1).await];
        nodes[0].group.bootstrap().await.unwrap();
        nodes[0].write(begin_lineage()).await.unwrap();
        for id in 2..=3 {
            let node = self.start(id).await;
            let via = [nodes[(id - 2) as usize].description.raft_address.clone()];
            node.group.join(&via).await.unwrap();
            nodes.push(node);
        }
        nodes
    }
}

impl TestNode {
    /// Stops it, as a process that gets a signal would: connections break, files are closed.
    pub(crate) async fn stop(self) -> ControlNode {
        let Self { group, description, stop, served, .. } = self;
        drop(stop);
        served.abort();
        let _ = served.await;
        group.shutdown().await;
        description
    }

    pub(crate) async fn write(&self, body: CommandBody) -> Result<Outcome, Problem> {
        let command = Command {
            actor: "test".to_owned(),
            request_id: String::new(),
            time_ms: 1,
            idempotency_key: None,
            only_in_term: None,
            force_grants: false,
            origin: hanse_state::Origin::default(),
            body,
        };
        self.group.propose(command).await
    }

    /// Asks for a place in the group for the node `node_id` of this name, with a token of the kind wanted.
    pub(crate) async fn admit(&self, as_name: &str, node_id: u64, kind: Admit) -> Outcome {
        let digest = Digest::of(&node_id.to_be_bytes());
        let token = name(&format!("t-{as_name}-{}", kind as u8));
        let spec = JoinTokenSpec {
            role: JoinRole::Server,
            region: None,
            environments: Vec::new(),
            uses: 9,
            replace: kind == Admit::Replace,
            force: kind == Admit::Force,
            expires_at: 60, // the time of these tests stands still
            digest,
        };
        let key = ResourceKey::global(Kind::JoinToken, token.clone());
        let action = Action::put(Default::default(), spec);
        self.write(CommandBody::Apply(vec![Change { key, action, if_revision: None }])).await.unwrap();
        let identity = Identity { name: name(as_name), role: Role::Server, region: None };
        let key_digest = key_digest(&self.authorities.issue(node_id, &identity).chain()[1]).unwrap();
        let spend = CommandBody::UseJoinToken {
            token,
            secret_digest: digest.0,
            joiner: server_identity(as_name),
            key_digest,
            seat: Some(SeatAsked { node_id, incumbent: Incumbent::Unknown }),
        };
        match self.write(spend).await {
            Ok(outcome) => outcome,
            Err(problem) => Outcome::Rejected(problem),
        }
    }

    /// Writes an organization and expects it to be accepted.
    pub(crate) async fn accepted(&self, organization: &str) -> Accepted {
        match self.write(put(organization, "Acme", None)).await {
            Ok(Outcome::Accepted(accepted)) => accepted,
            other => panic!("{organization}: {other:?}"),
        }
    }

    pub(crate) async fn read(&self, consistency: Consistency) -> Result<State, Problem> {
        self.group.read(consistency).await
    }

    pub(crate) fn leads(&self) -> bool {
        let status = self.group.group();
        status.quorum && status.leader.as_ref() == Some(&status.this)
    }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// The node that leads, once one does.
pub(crate) async fn leader(nodes: &[TestNode]) -> usize {
    until("one node leads", || nodes.iter().any(TestNode::leads)).await;
    nodes.iter().position(TestNode::leads).unwrap_or(0)
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn key(organization: &str) -> ResourceKey {
    ResourceKey::global(Kind::Organization, name(organization))
}

pub(crate) fn begin_lineage() -> CommandBody {
    CommandBody::StartLineage(Lineage { generation: 1, id: [7; 16], parent: None })
}

pub(crate) fn put(organization: &str, display_name: &str, if_revision: Option<Revision>) -> CommandBody {
    let spec = OrganizationSpec { display_name: Some(display_name.to_owned()) };
    let action = Action::put(Default::default(), spec);
    CommandBody::Apply(vec![Change { key: key(organization), action, if_revision }])
}

/// How many organizations of these names a state has.
pub(crate) fn count(state: &State, organizations: &[String]) -> usize {
    organizations.iter().filter(|organization| state.get(&key(organization)).is_some()).count()
}

/// Files below `dir`, by name.
pub(crate) fn files(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir).unwrap();
    files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned()).collect()
}
