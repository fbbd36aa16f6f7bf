//! The file a control-plane node is configured by.

use std::{collections::BTreeSet, path::PathBuf};

use hanse_link::{StoreKey, StoreOptions};
use hanse_topology::{Identity, Name};
use serde::{Deserialize, Serialize};

/// A control-plane node's configuration (TOML).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The node's name, unique in the control plane: `cp-1`.
    pub name: Name,
    /// Where it keeps its log, snapshots and keys and, sealed, what it published.
    pub data_dir: PathBuf,
    /// What seals the store and the private key in `data_dir`; a file beside `data_dir` unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_key: Option<StoreKey>,
    /// The addresses it binds.
    pub listen: Addresses,
    /// The addresses others reach it at, where they differ from `listen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<Addresses>,
    /// Host names and IP addresses operators reach the API at, beside `localhost` and the addresses above: they go into
    /// its certificate.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub api_names: BTreeSet<String>,
}

/// One address, `host:port`, per face.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addresses {
    /// The operator API (HTTPS).
    pub api: String,
    /// Agents sync here (mTLS gRPC).
    pub federation: String,
    /// Control-plane nodes talk here (mTLS gRPC).
    pub raft: String,
    /// Joining (TLS gRPC).
    pub enrolment: String,
    /// `/livez`, `/readyz`, `/metrics` in plain HTTP: bind it to loopback.
    pub admin: String,
}

impl Config {
    /// Where others reach the node.
    pub fn advertised(&self) -> &Addresses {
        self.advertise.as_ref().unwrap_or(&self.listen)
    }

    /// The directory of certificates and keys.
    pub fn pki_dir(&self) -> PathBuf {
        self.data_dir.join("pki")
    }

    /// Where what it published is kept, and what seals it.
    pub(crate) fn store(&self) -> StoreOptions {
        StoreOptions {
            dir: self.data_dir.join("store"),
            node: Identity::server(self.name.clone()).to_string(),
            key: self.store_key.clone().unwrap_or_else(|| StoreKey::beside(&self.data_dir)),
            // It seals the private key too. `init` and `join` made it.
            makes_key: false,
        }
    }

    /// The file `init` leaves for the first start.
    pub(crate) fn bootstrap_file(&self) -> PathBuf {
        self.data_dir.join("bootstrap.json")
    }

    /// The file `join` leaves for the first start.
    pub(crate) fn join_file(&self) -> PathBuf {
        self.data_dir.join("join.json")
    }
}
