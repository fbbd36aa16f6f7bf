//! What an operator says about one gateway: `gateway.toml`.

mod listen;
mod tunnel;

use std::{borrow::Cow, net::IpAddr, path::PathBuf, time::Duration};

use hanse_link::{StoreKey, Wanted};
use hanse_node::NodeConfig;
use hanse_runtime::{Cidr, is_public_url};
use hanse_topology::{Exposure, Name, Role};
use serde::{Deserialize, Serialize};

pub use self::{
    listen::{Advertised, Entries, Entry, Listen},
    tunnel::TunnelConfig,
};
use crate::proxy::MOST_LOOKUP_DESCRIPTORS;

/// The largest request body accepted where neither the file nor the Api says less: 16 MiB, enough for API traffic,
/// small enough that a careless client cannot fill a backend's memory.
const DEFAULT_MAX_BODY_BYTES: u64 = 16 << 20;
/// How long a client may take for a request's head, and how long an idle connection is kept: above the 60 s after which
/// common balancers in front close theirs, so that they never send into a connection that we are closing.
const DEFAULT_HEADER_TIMEOUT_MS: u64 = 75_000;
/// How long a gateway that was told to stop still takes connections, while `/readyz` says so: for clients that are
/// active to leave by themselves. Balancers look every 1 to 10 s and want more; with the limit below and the last lines
/// of the access log it must stay inside the 7 s that `hanse dev` allows a process.
const DEFAULT_DRAIN_ANNOUNCE_MS: u64 = 500;
/// How long requests in flight may go on after that: most of what `hanse dev` allows a process.
const DEFAULT_DRAIN_LIMIT_MS: u64 = 5_000;
/// How long a client may send nothing of a request's body, or take nothing of an answer: a phone in a tunnel may come
/// back, an attacker who stands still holds nothing longer.
const DEFAULT_CLIENT_SILENCE_MS: u64 = 60_000;
/// How long an upstream may send nothing of an answer's body: event streams are silent between two events, and their
/// keep-alive comments come every 15 to 60 s; what is silent for five minutes is dead.
const DEFAULT_ANSWER_SILENCE_MS: u64 = 300_000;
/// Client connections of the process where there are descriptors for them: 2 GB of buffers at worst, some 100 KB each.
const DEFAULT_MAX_CONNECTIONS: usize = 20_000;
/// Descriptors for everything but traffic, lookups and the sockets of entries: the store and small files, the admin port, connections to agents, and
/// connections that are being closed.
const RESERVED_DESCRIPTORS: usize = 128;
/// One descriptor in so many is for lookups of upstreams' names: at 1,024 that is seven names at once in the worst case.
const LOOKUPS_SHARE: usize = 8;
/// No gateway takes fewer connections, however few descriptors there are.
const LEAST_CONNECTIONS: usize = 16;
/// Connections to upstreams at once, however many descriptors there are: 3 GB of buffers at worst, some 50 KB each. Local ports
/// are no such bound, for each endpoint has as many.
const MOST_UPSTREAM_CONNECTIONS: usize = 65_536;

/// URLs that a gateway may advertise: one per scheme, for clients inside and outside. With their length they leave half of what it may say
/// of itself to its scopes.
const MOST_ADVERTISED: usize = 4;

/// Every value of a gateway's configuration file. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The gateway's own name, unique in its region.
    pub name: Name,
    /// Where keys, certificates and, sealed, the configuration it serves are kept.
    pub data_dir: PathBuf,
    /// What seals the store in `data_dir`; a file beside `data_dir` unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_key: Option<StoreKey>,
    /// The region's agents, `host:port` of their federation listeners.
    pub agents: Vec<String>,
    /// Where the region's agents enrol and renew, `host:port`; tried in turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enrolment: Vec<String>,
    /// A file with the join token, needed for the first start only. `HANSE_GATEWAY_JOIN_TOKEN` wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_token_file: Option<PathBuf>,
    /// Serve these environments only; empty: all the agent offers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<Name>,
    /// The proxies before the gateway, whose word about clients goes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<Network>,
    /// Threads that serve traffic; default: one per core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<usize>,
    /// Addresses to listen on.
    pub listen: Listen,
    /// Where clients reach the gateway, for those who look at the region.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advertise: Vec<Advertised>,
    /// Requests between regions; without it there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<TunnelConfig>,
    /// Bounds on what clients may do.
    #[serde(default)]
    pub limits: Limits,
    /// How it stops.
    #[serde(default)]
    pub drain: Drain,
    /// One line per request; off unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLogTarget>,
}

/// A network in CIDR notation, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(Cidr);

impl Network {
    /// Whether the address is of the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(address.to_canonical())
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let network = match text.parse::<IpAddr>() {
            Ok(address @ IpAddr::V4(_)) => format!("{address}/32"),
            Ok(address @ IpAddr::V6(_)) => format!("{address}/128"),
            Err(_no_address) => text,
        };
        Cidr::parse(&network).map(Self).map_err(|bad| format!("{}: {}", bad.detail, bad.remedy))
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.0.to_string()
    }
}

/// The largest head of a request, in octets as HTTP/1.1 writes it: what common servers allow.
pub(crate) const MAX_HEAD: usize = 64 << 10;
/// The most headers of a request: what hyper's parser has room for without an allocation, and far above what clients send.
pub(crate) const MAX_HEADERS: usize = 100;

/// Bounds on what clients may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest request body in bytes; an Api may allow less, never more.
    pub max_body_bytes: u64,
    /// For a request's head, and for an idle connection, in milliseconds.
    pub header_timeout_ms: u64,
    /// For the next octets of a request's body to come, or of an answer to be taken, in milliseconds.
    pub client_silence_ms: u64,
    /// For the next octets of an upstream's answer, in milliseconds.
    pub answer_silence_ms: u64,
    /// Client connections at once; by default as many as there are descriptors for, and no more than 20,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            header_timeout_ms: DEFAULT_HEADER_TIMEOUT_MS,
            client_silence_ms: DEFAULT_CLIENT_SILENCE_MS,
            answer_silence_ms: DEFAULT_ANSWER_SILENCE_MS,
            max_connections: None,
        }
    }
}

impl Limits {
    /// For a request's head, and for an idle connection.
    pub fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    /// For the next octets of a request's body to come, or of an answer to be taken.
    pub fn client_silence(&self) -> Duration {
        Duration::from_millis(self.client_silence_ms)
    }

    /// How a process with so many descriptors shares them out, of which it listens for clients with `sockets`. A client costs up to two: its own and an upstream's. What clients
    /// leave is for upstreams too: on HTTP/2 one client may need many.
    pub fn connections(&self, descriptors: usize, sockets: usize) -> Shares {
        let lookups = (descriptors / LOOKUPS_SHARE).min(MOST_LOOKUP_DESCRIPTORS);
        let free = descriptors.saturating_sub(RESERVED_DESCRIPTORS + sockets + lookups);
        let safe = (free / 2).max(LEAST_CONNECTIONS);
        let (clients, warning) = match self.max_connections.map(|wanted| wanted as usize) {
            None => (safe.min(DEFAULT_MAX_CONNECTIONS), None),
            Some(wanted) => {
                let taken = wanted.min(free.max(LEAST_CONNECTIONS));
                let warning = (wanted > safe).then(|| {
                    let needed = needed(wanted, sockets);
                    format!(
                        "limits.max_connections is {wanted}, but this process may open {descriptors} files only: with more \
                         than {safe} clients it may run out of them, and it takes {taken} at most; allow it {needed} files \
                         (ulimit -n, LimitNOFILE= of its unit), or write a smaller number"
                    )
                });
                (taken, warning)
            }
        };
        let upstreams = free.saturating_sub(clients).clamp(LEAST_CONNECTIONS, MOST_UPSTREAM_CONNECTIONS);
        Shares { clients, upstreams, lookups, warning }
    }

    /// For the next octets of an upstream's answer.
    pub fn answer_silence(&self) -> Duration {
        Duration::from_millis(self.answer_silence_ms)
    }
}

/// What a process does with its descriptors, beside its reserve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shares {
    /// Connections of clients.
    pub clients: usize,
    /// Connections to upstreams, those of health checks included.
    pub upstreams: usize,
    /// Descriptors of lookups.
    pub lookups: usize,
    /// What the operator should know of that.
    pub warning: Option<String>,
}

/// How many descriptors it takes for so many clients.
fn needed(clients: usize, sockets: usize) -> usize {
    let traffic = clients * 2 + RESERVED_DESCRIPTORS + sockets;
    let with_lookups = (traffic * LOOKUPS_SHARE).div_ceil(LOOKUPS_SHARE - 1);
    with_lookups.min(traffic + MOST_LOOKUP_DESCRIPTORS)
}

/// How a gateway stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// It still takes connections for so long after the order, in milliseconds, while `/readyz` says that it stops.
    pub announce_ms: u64,
    /// Requests in flight may go on for so long after that, in milliseconds.
    pub limit_ms: u64,
}

impl Default for Drain {
    fn default() -> Self {
        Self { announce_ms: DEFAULT_DRAIN_ANNOUNCE_MS, limit_ms: DEFAULT_DRAIN_LIMIT_MS }
    }
}

impl Drain {
    /// For balancers to notice.
    pub fn announce(&self) -> Duration {
        Duration::from_millis(self.announce_ms)
    }

    /// For requests in flight.
    pub fn limit(&self) -> Duration {
        Duration::from_millis(self.limit_ms)
    }
}

/// Where access log lines go: `access_log = "stdout"` or `access_log = { file = "PATH" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLogTarget {
    /// Standard output.
    Stdout,
    /// Appended to this file.
    File(PathBuf),
}

/// A value that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct InvalidConfig {
    /// The key as in the file.
    pub key: Cow<'static, str>,
    /// What is wrong, and what to write.
    pub why: &'static str,
}

impl Config {
    /// Refuses values that cannot work.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let refuse = |key: &'static str, why| Err(InvalidConfig { key: key.into(), why });
        if self.agents.is_empty() {
            return refuse("agents", "name at least one agent, \"host:7444\"");
        }
        let tunnel = self.tunnel.as_ref();
        self.listen.check(!self.trusted_proxies.is_empty(), tunnel.and_then(|own| own.listen.as_deref()))?;
        tunnel.map_or(Ok(()), TunnelConfig::check)?;
        if self.advertise.len() > MOST_ADVERTISED {
            return refuse("advertise", "name at most 4 URLs: those that most clients use");
        }
        let is_new = |(at, told): (usize, &Advertised)| {
            !self.advertise[..at].iter().any(|earlier| earlier.url == told.url)
        };
        if !self.advertise.iter().enumerate().all(is_new) {
            return refuse("advertise", "a URL stands there twice: name each once");
        }
        if !self.advertise.iter().all(|told| is_public_url(&told.url)) {
            return refuse(
                "advertise",
                "each is https://HOST or http://HOST, in lower case and with at most 200 characters, without a path: \
                 \"https://api.example.com:8443\"",
            );
        }
        let has_entry = |exposure| self.listen.entries().any(|(_, _, entry)| entry.exposure == exposure);
        for told in &self.advertise {
            match told.exposure {
                exposure if has_entry(exposure) => {}
                Exposure::External => {
                    return refuse(
                        "advertise",
                        "a URL is external, and no entry under [listen] is: write { url = \"…\", exposure = \"internal\" }",
                    );
                }
                Exposure::Internal => {
                    return refuse(
                        "advertise",
                        "a URL is internal, and no entry under [listen] is: add one with exposure = \"internal\"",
                    );
                }
            }
        }
        if self.workers == Some(0) {
            return refuse("workers", "must be at least 1; leave it out for one per core");
        }
        if self.limits.header_timeout_ms == 0 {
            return refuse(
                "limits.header_timeout_ms",
                "must be above 0: without it slow clients hold connections",
            );
        }
        for (key, value) in [
            ("limits.client_silence_ms", self.limits.client_silence_ms),
            ("limits.answer_silence_ms", self.limits.answer_silence_ms),
            ("limits.max_connections", self.limits.max_connections.map_or(1, u64::from)),
        ] {
            if value == 0 {
                return refuse(key, "must be above 0; leave it out for the default");
            }
        }
        if tunnel.is_some() {
            return refuse("tunnel", "this release gives gateways no certificates for it yet: leave it out");
        }
        Ok(())
    }

    /// What it has in common with every other node.
    pub(crate) fn node(&self) -> NodeConfig {
        NodeConfig {
            role: Role::Gateway,
            name: self.name.clone(),
            region: None,
            data_dir: self.data_dir.clone(),
            store_key: self.store_key.clone(),
            publishers: self.agents.clone(),
            enrolment: self.enrolment.clone(),
            join_token_file: self.join_token_file.clone(),
            wanted: match self.environments.as_slice() {
                [] => Wanted::All,
                names => Wanted::Environments(names.to_vec()),
            },
            admin: self.listen.admin.clone(),
        }
    }

    /// The addresses that traffic comes in by.
    pub(crate) fn listeners(&self) -> usize {
        let of_tunnel = self.tunnel.as_ref().is_some_and(|tunnel| tunnel.listen.is_some());
        self.listen.entries().count() + usize::from(of_tunnel)
    }

    /// How many threads serve traffic.
    pub fn worker_count(&self) -> usize {
        self.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |cores| cores.get()))
    }
}

#[cfg(test)]
mod tests;
