//! What an operator says about one gateway: `gateway.toml`.

use std::{path::PathBuf, time::Duration};

use hanse_link::{StoreKey, Wanted};
use hanse_topology::Name;
use serde::{Deserialize, Serialize};

/// The largest request body accepted where neither the file nor the Api says less: 16 MiB, enough for API traffic,
/// small enough that a careless client cannot fill a backend's memory.
const DEFAULT_MAX_BODY_BYTES: u64 = 16 << 20;
/// How long a client may take for a request's head, and how long an idle connection is kept: above the 60 s after which
/// common balancers in front close theirs, so that they never send into a connection that we are closing.
const DEFAULT_HEADER_TIMEOUT_MS: u64 = 75_000;
/// How long requests in flight may go on after the order to stop: half of what `hanse dev` allows a process.
const DEFAULT_DRAIN_TIMEOUT_MS: u64 = 5_000;
/// How long a client may send nothing of a request's body, or take nothing of an answer: a phone in a tunnel may come
/// back, an attacker who stands still holds nothing longer.
const DEFAULT_CLIENT_SILENCE_MS: u64 = 60_000;
/// How long an upstream may send nothing of an answer's body: event streams are silent between two events, and their
/// keep-alive comments come every 15 to 60 s; what is silent for five minutes is dead.
const DEFAULT_ANSWER_SILENCE_MS: u64 = 300_000;
/// Client connections of the process: each may cost two descriptors (its own and an upstream's) of the 65,536 that
/// services commonly get, and some 100 KB of buffers: 2 GB at worst.
const DEFAULT_MAX_CONNECTIONS: u32 = 20_000;

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
    /// Where to enrol when there is no certificate yet, `host:port`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enrolment: Vec<String>,
    /// A file with the join token, needed for the first start only. `HANSE_GATEWAY_JOIN_TOKEN` wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_token_file: Option<PathBuf>,
    /// Serve these environments only; empty: all the agent offers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<Name>,
    /// Threads that serve traffic; default: one per core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<usize>,
    /// Addresses to listen on.
    pub listen: Listen,
    /// Bounds on what clients may do.
    #[serde(default)]
    pub limits: Limits,
    /// One line per request; off unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLogTarget>,
}

/// Listening addresses, `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Plain HTTP/1.1 for clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// HTTP/1.1 and HTTP/2 over TLS for clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<String>,
    /// Health, metrics and a summary of the configuration: keep it on loopback.
    pub admin: String,
}

/// Bounds on what clients may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest request body in bytes; an Api may allow less, never more.
    pub max_body_bytes: u64,
    /// For a request's head, and for an idle connection, in milliseconds.
    pub header_timeout_ms: u64,
    /// For requests in flight after the order to stop, in milliseconds.
    pub drain_timeout_ms: u64,
    /// For the next octets of a request's body to come, or of an answer to be taken, in milliseconds.
    pub client_silence_ms: u64,
    /// For the next octets of an upstream's answer, in milliseconds.
    pub answer_silence_ms: u64,
    /// Client connections at once; more are closed unread.
    pub max_connections: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            header_timeout_ms: DEFAULT_HEADER_TIMEOUT_MS,
            drain_timeout_ms: DEFAULT_DRAIN_TIMEOUT_MS,
            client_silence_ms: DEFAULT_CLIENT_SILENCE_MS,
            answer_silence_ms: DEFAULT_ANSWER_SILENCE_MS,
            max_connections: DEFAULT_MAX_CONNECTIONS,
        }
    }
}

impl Limits {
    /// For a request's head, and for an idle connection.
    pub fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    /// For requests in flight after the order to stop.
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }

    /// For the next octets of a request's body to come, or of an answer to be taken.
    pub fn client_silence(&self) -> Duration {
        Duration::from_millis(self.client_silence_ms)
    }

    /// For the next octets of an upstream's answer.
    pub fn answer_silence(&self) -> Duration {
        Duration::from_millis(self.answer_silence_ms)
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
    pub key: &'static str,
    /// What is wrong, and what to write.
    pub why: &'static str,
}

impl Config {
    /// The environment variable that may carry the join token.
    pub const JOIN_TOKEN_VARIABLE: &'static str = "HANSE_GATEWAY_JOIN_TOKEN";

    /// Refuses values that cannot work.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let refuse = |key, why| Err(InvalidConfig { key, why });
        if self.agents.is_empty() {
            return refuse("agents", "name at least one agent, \"host:7444\"");
        }
        if self.listen.http.is_none() && self.listen.https.is_none() {
            return refuse("listen", "name at least one of http and https, \"0.0.0.0:8080\"");
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
            ("limits.max_connections", u64::from(self.limits.max_connections)),
        ] {
            if value == 0 {
                return refuse(key, "must be above 0; leave it out for the default");
            }
        }
        Ok(())
    }

    /// Where its own key and certificate are kept.
    pub(crate) fn pki_dir(&self) -> PathBuf {
        self.data_dir.join("pki")
    }

    /// Where the configuration it serves is kept, sealed.
    pub(crate) fn store_dir(&self) -> PathBuf {
        self.data_dir.join("store")
    }

    /// What seals that.
    pub(crate) fn store_key(&self) -> StoreKey {
        self.store_key.clone().unwrap_or_else(|| StoreKey::beside(&self.data_dir))
    }

    /// The scopes it asks for.
    pub(crate) fn wanted(&self) -> Wanted {
        match self.environments.as_slice() {
            [] => Wanted::All,
            names => Wanted::Environments(names.to_vec()),
        }
    }

    /// How many threads serve traffic.
    pub fn worker_count(&self) -> usize {
        self.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |cores| cores.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
        name = "gateway-1"
        data_dir = "data"
        agents = ["127.0.0.1:7444"]
        [listen]
        http = "127.0.0.1:0"
        admin = "127.0.0.1:0"
    "#;

    #[test]
    fn a_small_file_gets_defaults() {
        let config: Config = toml::from_str(SMALL).unwrap();
        config.check().unwrap();
        assert!(config.worker_count() >= 1);
        assert_eq!(config.limits.max_body_bytes, DEFAULT_MAX_BODY_BYTES);
        assert_eq!(config.access_log, None);
    }

    #[test]
    fn unknown_keys_are_refused_with_their_line() {
        let error = toml::from_str::<Config>(&format!("colour = 1\n{SMALL}")).unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("colour"), "{error}");
    }

    #[test]
    fn access_logs_go_to_stdout_or_a_file() {
        let config: Config = toml::from_str(&format!("access_log = \"stdout\"\n{SMALL}")).unwrap();
        assert_eq!(config.access_log, Some(AccessLogTarget::Stdout));
        let config: Config =
            toml::from_str(&format!("access_log = {{ file = \"a.log\" }}\n{SMALL}")).unwrap();
        assert_eq!(config.access_log, Some(AccessLogTarget::File("a.log".into())));
    }

    #[test]
    fn what_cannot_work_is_named() {
        let check = |from: &str, to: &str, key: &str| {
            let config: Config = toml::from_str(&SMALL.replace(from, to)).unwrap();
            assert_eq!(config.check().unwrap_err().key, key);
        };
        check("\"127.0.0.1:7444\"", "", "agents");
        check("http = \"127.0.0.1:0\"", "", "listen");
        check("[listen]", "workers = 0\n[listen]", "workers");
        check("[listen]", "limits = { header_timeout_ms = 0 }\n[listen]", "limits.header_timeout_ms");
        for key in ["client_silence_ms", "answer_silence_ms", "max_connections"] {
            check("[listen]", &format!("limits = {{ {key} = 0 }}\n[listen]"), &format!("limits.{key}"));
        }
    }
}
