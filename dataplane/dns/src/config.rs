//! What an operator says about one responder: `dns.toml`.

use std::{num::NonZeroU32, path::PathBuf};

use hanse_dns_wire::absolute;
use hanse_link::{StoreKey, Wanted};
use hanse_node::NodeConfig;
use hanse_topology::{Name, Role, dialable};
use serde::{Deserialize, Deserializer, Serialize};

/// Answers a second to one network over UDP. The resolvers of a large provider are in one network and ask less of one name server: their
/// caches ask once per host and TTL. A forger gets less than one megabit a second for a victim.
const DEFAULT_ANSWERS_PER_SECOND: u32 = 1_000;
/// The database of places, in `data_dir`.
const GEO_FILE: &str = "geo.mmdb";
/// Addresses to listen on: one of each family, on each of a few interfaces.
const MOST_LISTENED: usize = 8;
/// TSIG keys: one for each of the secondaries of a few zones.
const MOST_KEYS: usize = 64;

/// Every value of a responder's configuration file. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The responder's own name, unique in its region.
    pub name: Name,
    /// Where keys, certificates and, sealed, the configuration it answers from are kept.
    pub data_dir: PathBuf,
    /// What seals the store in `data_dir`; a file beside `data_dir` unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_key: Option<StoreKey>,
    /// The region's agents, `host:port` of their federation listeners.
    pub agents: Vec<String>,
    /// Where the region's agents enrol and renew, `host:port`; tried in turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enrolment: Vec<String>,
    /// A file with the join token, needed for the first start only. `HANSE_DNS_JOIN_TOKEN` wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_token_file: Option<PathBuf>,
    /// Threads that answer; default: one per core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<usize>,
    /// Addresses to listen on.
    pub listen: Listen,
    /// Where clients reach the responder, `host:port`, for those who look at the region.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_of_one")]
    pub advertise: Option<String>,
    /// The database of places for policies with a step `geo`, in the MaxMind DB format; a file `geo.mmdb` in `data_dir` unless said. A file
    /// that changes is taken up within seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub geo: Option<PathBuf>,
    /// The keys that DnsZones name (RFC 8945). They are read at the start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tsig: Vec<TsigKey>,
    /// Bounds on what clients get.
    #[serde(default)]
    pub limits: Limits,
}

/// A key that the responder shares with another name server, for HMAC-SHA256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TsigKey {
    /// Its name at both ends, and in DnsZones.
    pub name: String,
    /// A file with the secret in base64, as `tsig-keygen` and `openssl rand -base64 32` print it. Only its owner and its group may read it.
    pub secret_file: PathBuf,
}

/// Listening addresses, `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Queries, over UDP and TCP: one address, or a list. A host with several addresses has each of them here: an answer comes from the
    /// address that was asked.
    #[serde(deserialize_with = "one_or_several")]
    pub dns: Vec<String>,
    /// Health, metrics and a summary of the configuration: keep it on loopback.
    pub admin: String,
}

fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "an address is wanted here, or a list of them: \"192.0.2.53:53\"")]
    enum Written {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Written::deserialize(deserializer)? {
        // A variable has several with commas between them.
        Written::One(text) => text.split(',').map(|address| address.trim().to_owned()).collect(),
        Written::Several(addresses) => addresses,
    })
}

/// A variable of this key arrives as a list, because other roles advertise several addresses.
fn one_of_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "one address is wanted here: \"ns1.example.com:53\"")]
    enum Written {
        One(String),
        Listed([String; 1]),
    }
    Ok(Some(match Written::deserialize(deserializer)? {
        Written::One(address) | Written::Listed([address]) => address,
    }))
}

/// Bounds on what clients get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Answers a second of one kind to one network (a /24 of IPv4, a /56 of IPv6) over UDP, if its clients have not proven their addresses by a
    /// cookie; 0: no limit.
    pub answers_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { answers_per_second: DEFAULT_ANSWERS_PER_SECOND }
    }
}

impl Limits {
    /// For each of so many serving threads. A network's clients come to all of them, each with its own ports.
    pub(crate) fn of_each(self, threads: usize) -> Option<NonZeroU32> {
        let threads = u32::try_from(threads.max(1)).unwrap_or(u32::MAX);
        NonZeroU32::new(self.answers_per_second.div_ceil(threads))
    }
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
    /// Refuses values that cannot work.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let refuse = |key, why| Err(InvalidConfig { key, why });
        if self.agents.is_empty() {
            return refuse("agents", "name at least one agent, \"host:7444\"");
        }
        if self.listen.dns.is_empty() || self.listen.dns.len() > MOST_LISTENED {
            return refuse("listen.dns", "name 1 to 8 addresses, [\"192.0.2.53:53\"]");
        }
        let is_new = |(at, address): (usize, &String)| !self.listen.dns[..at].contains(address);
        if !self.listen.dns.iter().enumerate().all(is_new) {
            return refuse("listen.dns", "an address stands there twice: name each once");
        }
        if self.advertise.as_deref().is_some_and(|address| dialable(address).is_none()) {
            return refuse("advertise", "write where clients reach the responder, \"ns1.example.com:53\"");
        }
        if self.workers == Some(0) {
            return refuse("workers", "must be at least 1; leave it out for one per core");
        }
        if self.tsig.len() > MOST_KEYS {
            return refuse("tsig", "name at most 64 keys");
        }
        let names = self.tsig.iter().map(|key| absolute(&key.name)).collect::<Result<Vec<_>, _>>();
        let Ok(names) = names else {
            return refuse("tsig.name", "write a name in the DNS, \"to-bind\" or \"to-bind.example.com\"");
        };
        if names.iter().enumerate().any(|(at, name)| names[..at].contains(name)) {
            return refuse("tsig.name", "two keys have one name: name each once");
        }
        Ok(())
    }

    /// What it has in common with every other node.
    pub(crate) fn node(&self) -> NodeConfig {
        NodeConfig {
            role: Role::Dns,
            name: self.name.clone(),
            region: None,
            data_dir: self.data_dir.clone(),
            store_key: self.store_key.clone(),
            publishers: self.agents.clone(),
            enrolment: self.enrolment.clone(),
            join_token_file: self.join_token_file.clone(),
            wanted: Wanted::All,
            admin: self.listen.admin.clone(),
        }
    }

    /// The place of the database of places.
    pub fn geo_file(&self) -> PathBuf {
        self.geo.clone().unwrap_or_else(|| self.data_dir.join(GEO_FILE))
    }

    /// How many threads answer.
    pub(crate) fn thread_count(&self) -> usize {
        self.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |cores| cores.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let text = r#"
            name = "dns-1"
            data_dir = "/var/lib/hanse/dns"
            agents = ["agent-1:7444"]
            listen = { dns = ["192.0.2.53:53", "[2001:db8::53]:53"], admin = "127.0.0.1:7480" }
        "#;
        toml::from_str(text).unwrap()
    }

    #[test]
    fn values_that_cannot_work_are_named() {
        fn key(name: &str) -> TsigKey {
            TsigKey { name: name.to_owned(), secret_file: "key".into() }
        }
        let check = |key: Option<&str>, change: fn(&mut Config)| {
            let mut config = config();
            change(&mut config);
            assert_eq!(config.check().err().map(|bad| bad.key), key);
        };
        check(None, |_| {});
        check(None, |config| config.advertise = Some("ns1.example.com:53".to_owned()));
        check(Some("agents"), |config| config.agents.clear());
        check(Some("listen.dns"), |config| config.listen.dns.clear());
        check(Some("listen.dns"), |config| config.listen.dns.push("192.0.2.53:53".to_owned()));
        check(Some("listen.dns"), |config| {
            config.listen.dns = (0..9).map(|n| format!("192.0.2.{n}:53")).collect()
        });
        check(Some("advertise"), |config| config.advertise = Some("0.0.0.0:53".to_owned()));
        check(Some("workers"), |config| config.workers = Some(0));
        check(None, |config| config.tsig = vec![key("to-bind"), key("to-knot")]);
        check(Some("tsig.name"), |config| config.tsig = vec![key("to-bind"), key("To-Bind.")]);
        check(Some("tsig.name"), |config| config.tsig = vec![key("to bind")]);
        check(Some("tsig"), |config| config.tsig = (0..65).map(|n| key(&format!("key-{n}"))).collect());
    }

    #[test]
    fn a_file_is_read_as_it_is_written() {
        let config = config();
        assert_eq!(config.limits.answers_per_second, DEFAULT_ANSWERS_PER_SECOND);
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
        let one = text.replace("dns = [\"192.0.2.53:53\", \"[2001:db8::53]:53\"]", "dns = \"192.0.2.53:53\"");
        assert_eq!(toml::from_str::<Config>(&one).unwrap().listen.dns, ["192.0.2.53:53"]);
        let commas = text.replace(
            "dns = [\"192.0.2.53:53\", \"[2001:db8::53]:53\"]",
            "dns = \"192.0.2.53:53, [2001:db8::53]:53\"",
        );
        assert_eq!(toml::from_str::<Config>(&commas).unwrap(), config);
        let advertise = |value: &str| toml::from_str::<Config>(&format!("advertise = {value}\n{text}"));
        for value in ["\"ns1.example.com:53\"", "[\"ns1.example.com:53\"]"] {
            assert_eq!(advertise(value).unwrap().advertise.as_deref(), Some("ns1.example.com:53"));
        }
        let two = advertise("[\"ns1.example.com:53\", \"ns2.example.com:53\"]").unwrap_err();
        assert!(two.to_string().contains("one address is wanted"), "{two}");
        let none = text.replace("dns = [\"192.0.2.53:53\", \"[2001:db8::53]:53\"]", "dns = 53");
        assert!(toml::from_str::<Config>(&none).unwrap_err().to_string().contains("or a list of them"));
        assert!(toml::from_str::<Config>(&format!("colour = 1\n{text}")).is_err(), "an unknown key");
    }

    #[test]
    fn threads_share_the_budget_of_a_network() {
        let of_each =
            |rate, threads| Limits { answers_per_second: rate }.of_each(threads).map(NonZeroU32::get);
        assert_eq!(of_each(1_000, 4), Some(250));
        assert_eq!(of_each(1, 4), Some(1), "never none");
        assert_eq!(of_each(0, 4), None);
    }
}
