//! The file an agent is configured by.

use std::path::PathBuf;

use hanse_link::StoreKey;
use hanse_topology::Name;
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
    /// Where control-plane nodes enrol, `host:port`; needed once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enrolment: Vec<String>,
    /// A file with the join token; else it comes from the environment (`HANSE_AGENT_JOIN_TOKEN`). Needed once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_token_file: Option<PathBuf>,
    /// The addresses it binds.
    pub listen: Addresses,
    /// The addresses gateways reach it at, where they differ from `listen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<Addresses>,
}

/// One address, `host:port`, per face.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addresses {
    /// Gateways sync here (mTLS gRPC).
    pub federation: String,
    /// Gateways join here (TLS gRPC).
    pub enrolment: String,
    /// `/livez`, `/readyz`, `/metrics` in plain HTTP: bind it to loopback.
    pub admin: String,
}

impl Config {
    /// The environment variable that may carry the join token.
    pub const JOIN_TOKEN_VARIABLE: &'static str = "HANSE_AGENT_JOIN_TOKEN";

    /// Where others reach the agent.
    pub(crate) fn advertised(&self) -> &Addresses {
        self.advertise.as_ref().unwrap_or(&self.listen)
    }

    /// The directory of the regional intermediate.
    pub(crate) fn authority_dir(&self) -> PathBuf {
        self.data_dir.join("pki").join("region")
    }

    /// What it relays, sealed.
    pub(crate) fn store_dir(&self) -> PathBuf {
        self.data_dir.join("store")
    }

    /// What seals that.
    pub(crate) fn store_key(&self) -> StoreKey {
        self.store_key.clone().unwrap_or_else(|| StoreKey::beside(&self.data_dir))
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
