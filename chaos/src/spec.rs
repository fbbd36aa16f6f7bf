//! What processes are started from: the configuration files of the roles, as the documents describe them. Written here once
//! more, because the harness knows the product from outside only.

use std::{net::Ipv4Addr, path::PathBuf};

use serde::Serialize;

/// The usual ports: every node has an address of its own.
pub const API: u16 = 7443;
/// Syncing.
pub const FEDERATION: u16 = 7444;
/// Between control-plane nodes.
pub const RAFT: u16 = 7445;
/// Joining.
pub const ENROLMENT: u16 = 7446;
/// Health and metrics of a control-plane node.
pub const SERVER_ADMIN: u16 = 7449;
/// Health and metrics of an agent.
pub const AGENT_ADMIN: u16 = 7460;
/// Health and metrics of a gateway.
pub const GATEWAY_ADMIN: u16 = 7470;
/// A gateway's clients, in plain HTTP.
pub const HTTP: u16 = 8080;
/// A gateway's clients, with TLS.
pub const HTTPS: u16 = 8443;
/// The sample upstream.
pub const UPSTREAM: u16 = 9000;

/// `server.toml`
#[derive(Debug, Clone, Serialize)]
pub struct ServerSpec {
    /// Its name.
    pub name: String,
    /// Where it keeps everything.
    pub data_dir: PathBuf,
    /// Its addresses.
    pub listen: ServerListen,
    /// Where others reach it, where that is elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<ServerListen>,
}

/// Addresses of a control-plane node.
#[derive(Debug, Clone, Serialize)]
pub struct ServerListen {
    api: String,
    federation: String,
    raft: String,
    enrolment: String,
    admin: String,
}

/// `agent.toml`
#[derive(Debug, Clone, Serialize)]
pub struct AgentSpec {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Where it keeps everything.
    pub data_dir: PathBuf,
    /// Where control-plane nodes publish.
    pub servers: Vec<String>,
    /// Where they enrol.
    pub enrolment: Vec<String>,
    /// The file with its join token.
    pub join_token_file: PathBuf,
    /// Its addresses.
    pub listen: AgentListen,
}

/// Addresses of an agent.
#[derive(Debug, Clone, Serialize)]
pub struct AgentListen {
    federation: String,
    enrolment: String,
    admin: String,
}

/// `gateway.toml`
#[derive(Debug, Clone, Serialize)]
pub struct GatewaySpec {
    /// Its name.
    pub name: String,
    /// Where it keeps everything.
    pub data_dir: PathBuf,
    /// Its region's agents.
    pub agents: Vec<String>,
    /// Where they enrol.
    pub enrolment: Vec<String>,
    /// The file with its join token.
    pub join_token_file: PathBuf,
    /// Threads that serve traffic; none: one per core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<usize>,
    /// Its addresses.
    pub listen: GatewayListen,
}

/// Addresses of a gateway.
#[derive(Debug, Clone, Serialize)]
pub struct GatewayListen {
    http: String,
    https: String,
    admin: String,
}

/// `ADDRESS:PORT`
pub fn at(address: Ipv4Addr, port: u16) -> String {
    format!("{address}:{port}")
}

impl ServerListen {
    /// The usual ports at this address.
    pub fn at(address: Ipv4Addr) -> Self {
        Self {
            api: at(address, API),
            federation: at(address, FEDERATION),
            raft: at(address, RAFT),
            enrolment: at(address, ENROLMENT),
            admin: at(address, SERVER_ADMIN),
        }
    }

    /// The same, but agents sync by way of this address.
    pub fn by_way_of(self, federation: String) -> Self {
        Self { federation, ..self }
    }
}

impl AgentListen {
    /// The usual ports at this address.
    pub fn at(address: Ipv4Addr) -> Self {
        Self {
            federation: at(address, FEDERATION),
            enrolment: at(address, ENROLMENT),
            admin: at(address, AGENT_ADMIN),
        }
    }
}

impl GatewayListen {
    /// The usual ports at this address.
    pub fn at(address: Ipv4Addr) -> Self {
        Self { http: at(address, HTTP), https: at(address, HTTPS), admin: at(address, GATEWAY_ADMIN) }
    }
}
