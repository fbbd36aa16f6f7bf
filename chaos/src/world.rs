//! A whole federation from typed specs, every node with an address of its own: on loopback, or each in a network namespace,
//! so that links can be cut.

mod bootstrap;
mod faults;
mod place;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    delay::{Road, Way},
    http::Client,
    load::{Target, Window},
    netns::Network,
    operator::Operator,
    process::{Process, until},
    spec,
};
pub use place::Placement;
use place::Places;

/// How long a process may take until it serves: some hundreds of milliseconds, on a loaded machine with a dev build more.
const SERVES_WITHIN: Duration = Duration::from_secs(60);

/// For an election, and those before it that no node won: about 2 s each.
const LEADER_WITHIN: Duration = Duration::from_secs(30);

/// How large a federation is, and where it lives.
#[derive(Debug, Clone)]
pub struct WorldOptions {
    /// Where its nodes live.
    pub placement: Placement,
    /// Control-plane nodes: `cp-1`, `cp-2`, …
    pub control_nodes: usize,
    /// Its regions.
    pub regions: Vec<String>,
    /// The agents of each region, each with so many gateways: `agent-REGION`, `agent-REGION-2`, … and `gateway-REGION`,
    /// `gateway-REGION-2`, …, counted through the region.
    pub agents: Vec<usize>,
    /// Threads of a gateway that serve traffic; none: one per core.
    pub gateway_workers: Option<usize>,
    /// The road between control plane and agents, up and down; none: they are next to each other.
    pub road: Option<[Way; 2]>,
    /// Descriptors that each node may have (RLIMIT_NOFILE, soft and hard); none: as many as the harness.
    pub descriptors: Option<u32>,
    /// Whether the wall clocks of control-plane nodes can be set ([`World::set_clock`]): needs libfaketime.
    pub clocks: bool,
    /// A bug that is brought back in every node, which must be a dev build.
    pub seeded_bug: Option<String>,
    /// Where its agents read wishes for local scopes, each in a directory of its own name: they must be dev builds.
    pub test_origin: Option<PathBuf>,
    /// What its nodes are run from; none: the binary under test.
    pub binary: Option<PathBuf>,
}

impl Default for WorldOptions {
    /// As `hanse dev` makes it: three control-plane nodes, two regions.
    fn default() -> Self {
        Self {
            placement: Placement::Loopback,
            control_nodes: 3,
            regions: vec!["eu-west".into(), "us-east".into()],
            agents: vec![1],
            gateway_workers: None,
            road: None,
            descriptors: None,
            clocks: false,
            seeded_bug: None,
            test_origin: None,
            binary: None,
        }
    }
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A control-plane node.
    Server,
    /// A region's agent.
    Agent,
    /// A gateway.
    Gateway,
    /// The sample upstream.
    Upstream,
}

#[derive(Debug)]
struct Node {
    role: Role,
    address: Ipv4Addr,
    process: Process,
}

/// A running federation. Everything of it is gone when it is dropped.
#[derive(Debug)]
pub struct World {
    options: WorldOptions,
    binary: PathBuf,
    nodes: BTreeMap<String, Node>,
    /// When connections to which process may break.
    windows: Vec<Window>,
    operator: Operator,
    client: Client,
    /// From agents to each control-plane node, if they are far apart.
    roads: BTreeMap<String, Road>,
    // Dropped after the processes.
    places: Places,
    dir: TempDir,
}

impl World {
    /// Waits until a process says that it serves.
    pub async fn serves(&mut self, name: &str) -> Result<()> {
        let url = {
            let node = self.node(name)?;
            let (port, path) = match node.role {
                Role::Server => (spec::SERVER_ADMIN, "/readyz"),
                Role::Agent => (spec::AGENT_ADMIN, "/readyz"),
                Role::Gateway => (spec::GATEWAY_ADMIN, "/readyz"),
                Role::Upstream => (spec::UPSTREAM, "/"),
            };
            format!("http://{}{path}", spec::at(node.address, port))
        };
        let deadline = Instant::now() + SERVES_WITHIN;
        loop {
            if let Some(status) = self.node_mut(name)?.process.ended()? {
                bail!("{name} ended with {status}:\n{}", self.node(name)?.process.log());
            }
            let answer = self.client.get(&url, &[]).await;
            if answer.as_ref().is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{name} does not serve after {SERVES_WITHIN:?}; {url}: {answer:?}\n{}",
                self.node(name)?.process.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The operator's client.
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// An HTTP client that trusts the federation's root.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The options it was made with.
    pub fn options(&self) -> &WorldOptions {
        &self.options
    }

    /// The network, where nodes live in namespaces.
    pub fn network(&self) -> Result<&Network> {
        self.places.network().context("on loopback there are no links to cut")
    }

    /// The roads from agents to control-plane nodes, where [`WorldOptions::road`] asked for some.
    pub fn roads(&self) -> impl Iterator<Item = &Road> {
        self.roads.values()
    }

    /// The harness's own address, as nodes reach it.
    pub fn own_address(&self) -> Ipv4Addr {
        self.places.own_address()
    }

    /// A node's address.
    pub fn address(&self, name: &str) -> Result<Ipv4Addr> {
        Ok(self.node(name)?.address)
    }

    /// A node's process.
    pub fn process(&self, name: &str) -> Result<&Process> {
        Ok(&self.node(name)?.process)
    }

    /// A node's process, to ask how it ended.
    pub fn process_mut(&mut self, name: &str) -> Result<&mut Process> {
        Ok(&mut self.node_mut(name)?.process)
    }

    /// The root's certificate, as clients trust it.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    /// Every node's name, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// The names of the nodes of a role, in order.
    pub fn of_role(&self, role: Role) -> Vec<String> {
        self.nodes.iter().filter(|(_, node)| node.role == role).map(|(name, _)| name.clone()).collect()
    }

    /// `http://ADDRESS:PORT` of the operator API (with https), a gateway's or the upstream's HTTP.
    pub fn url(&self, name: &str) -> Result<String> {
        let node = self.node(name)?;
        Ok(match node.role {
            Role::Server => format!("https://{}", spec::at(node.address, spec::API)),
            Role::Gateway => format!("http://{}", spec::at(node.address, spec::HTTP)),
            Role::Upstream => format!("http://{}", spec::at(node.address, spec::UPSTREAM)),
            Role::Agent => format!("http://{}", spec::at(node.address, spec::AGENT_ADMIN)),
        })
    }

    /// A target of load: a path of a gateway, called with this key.
    pub fn target(&self, gateway: &str, path: &str, key: Option<&str>) -> Result<Target> {
        let url = format!("{}{path}", self.url(gateway)?);
        let target = Target::echoing(gateway, url);
        Ok(match key {
            Some(key) => target.header("x-api-key", key),
            None => target,
        })
    }

    /// What `hanse status -o json` says.
    pub fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.operator.ok(&["status", "-o", "json"])?)?)
    }

    /// What one control node says of the federation, from what it has: it answers without a quorum too.
    pub async fn status_of(&self, name: &str) -> Result<Value> {
        let client = Client::new(Some(&self.ca_file()))?;
        let bearer = format!("Bearer {}", self.token()?);
        let url = format!("{}/v1/status", self.url(name)?);
        let answer = client.get(&url, &[("authorization", &bearer)]).await?;
        ensure!(answer.status == 200, "{url}: {answer:?}");
        answer.json()
    }

    /// The node that leads, once there is one that the others follow.
    pub async fn leader(&self) -> Result<String> {
        let found = RefCell::new(None);
        until("a leader", LEADER_WITHIN, || async {
            let status = self.status()?;
            ensure!(status["quorum"] == true, "no quorum: {status}");
            let leader = status["leader"].as_str().context("no leader")?.to_owned();
            *found.borrow_mut() = Some(leader);
            Ok(())
        })
        .await?;
        found.into_inner().context("until() returned without a leader")
    }

    /// The node that leads, once every control node says so: no node is about to call another election.
    pub async fn agreed_leader(&self) -> Result<String> {
        let found = RefCell::new(None);
        until("a leader that all agree on", LEADER_WITHIN, || async {
            let mut said = BTreeSet::new();
            for node in self.of_role(Role::Server) {
                let status = self.status_of(&node).await?;
                ensure!(status["quorum"] == true, "{node} knows of no quorum: {status}");
                said.insert((status["term"].as_u64(), status["leader"].as_str().map(str::to_owned)));
            }
            ensure!(said.len() == 1, "nodes say {said:?}");
            *found.borrow_mut() = said.into_iter().next().and_then(|(_, leader)| leader);
            ensure!(found.borrow().is_some(), "nobody leads");
            Ok(())
        })
        .await?;
        found.into_inner().context("until() returned without a leader")
    }

    /// The operator's token, for REST.
    pub fn token(&self) -> Result<String> {
        let token = fs::read_to_string(self.dir.path().join("operator.token"))?;
        Ok(token.trim().to_owned())
    }

    /// Where a node keeps everything.
    pub fn data_dir(&self, name: &str) -> PathBuf {
        self.node_dir(name).join("data")
    }

    fn node_dir(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A directory that goes with the federation.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn node(&self, name: &str) -> Result<&Node> {
        self.nodes.get(name).with_context(|| format!("no process {name}"))
    }

    fn node_mut(&mut self, name: &str) -> Result<&mut Node> {
        self.nodes.get_mut(name).with_context(|| format!("no process {name}"))
    }

    /// The ends of all logs, for a failing test.
    pub fn logs(&self) -> String {
        self.nodes.values().map(|node| node.process.log()).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            use std::io::Write;
            let _ = std::io::stderr().write_all(self.logs().as_bytes());
        }
        // Before their namespaces go.
        self.nodes.clear();
    }
}
