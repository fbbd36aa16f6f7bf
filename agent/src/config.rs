//! The file an agent is configured by.

use std::path::PathBuf;

use hanse_link::{StoreKey, Wanted};
use hanse_node::NodeConfig;
use hanse_topology::{Name, Role, dialable, is_loopback};
use serde::{Deserialize, Serialize};

/// An agent's configuration (TOML).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The agent's name, unique in its region: `agent-eu-west`.
    pub name: Name,
    /// Its region, as its join token says it.
    pub region: Name,
    /// Where it keeps its keys, its gateways' tokens and, sealed, what it relays.
    pub data_dir: PathBuf,
    /// What seals the store in `data_dir`; a file beside `data_dir` unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_key: Option<StoreKey>,
    /// Where control-plane nodes publish, `host:port`; tried in turn. Those learnt at enrolment are tried too.
    pub servers: Vec<String>,
    /// Where control-plane nodes enrol and renew, `host:port`; tried in turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enrolment: Vec<String>,
    /// A file with the join token, needed for the first start only. `HANSE_AGENT_JOIN_TOKEN` wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_token_file: Option<PathBuf>,
    /// The addresses it binds.
    pub listen: Addresses,
    /// The addresses gateways and other agents of its region reach it at, where they differ from `listen`. Without it, an agent that
    /// listens on all interfaces is no relay, for others cannot find it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<Advertised>,
}

/// One address, `host:port`, per face.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addresses {
    /// Gateways sync here (mTLS gRPC).
    pub federation: String,
    /// Gateways join and renew here (TLS gRPC).
    pub enrolment: String,
    /// `/livez`, `/readyz`, `/metrics` in plain HTTP: bind it to loopback.
    pub admin: String,
}

/// Where others reach the agent, `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advertised {
    /// Gateways and other agents of the region sync here.
    pub federation: String,
}

impl Config {
    /// What it has in common with every other node.
    pub(crate) fn node(&self) -> NodeConfig {
        NodeConfig {
            role: Role::Agent,
            name: self.name.clone(),
            region: Some(self.region.clone()),
            data_dir: self.data_dir.clone(),
            store_key: self.store_key.clone(),
            publishers: self.servers.clone(),
            enrolment: self.enrolment.clone(),
            join_token_file: self.join_token_file.clone(),
            wanted: Wanted::All,
            admin: self.listen.admin.clone(),
        }
    }

    /// Where gateways and other agents sync from it.
    pub(crate) fn advertised(&self) -> &str {
        self.advertise.as_ref().map_or(&self.listen.federation, |advertised| &advertised.federation)
    }

    /// Where other agents of the region find it; `None`: nowhere. A loopback address leads them to themselves. It counts only where
    /// the agent reaches a control node by one: all of the region runs on one machine then.
    pub(crate) fn found_at(&self) -> Option<&str> {
        let address = dialable(self.advertised())?;
        let is_found = !is_loopback(address) || self.servers.iter().any(|server| is_loopback(server));
        is_found.then_some(address)
    }

    /// The directory of the regional intermediate.
    pub(crate) fn authority_dir(&self) -> PathBuf {
        self.data_dir.join("pki").join("region")
    }

    /// Join tokens it minted, one file each.
    pub(crate) fn tokens_dir(&self) -> PathBuf {
        self.data_dir.join("tokens")
    }

    /// Gateways it admitted, one file each.
    pub(crate) fn gateways_dir(&self) -> PathBuf {
        self.data_dir.join("gateways")
    }
}
