//! `[tunnel]`: requests between regions.

use hanse_topology::dialable;
use serde::{Deserialize, Serialize};

use super::InvalidConfig;

/// Requests at once, in each direction: what a drained region still gets from clients that keep an old address, at some 50 KB each.
const DEFAULT_MAX_REQUESTS: usize = 1_024;
/// Addresses that are told: both families, inside and outside. With their length they leave room for what the gateway says of its scopes.
const MOST_ADVERTISED: usize = 4;
/// The longest of them, `host:port`.
const MOST_CHARS: usize = 200;

/// `[tunnel]`: requests between regions. With it the gateway may be an entry, and with `listen` also an exit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TunnelConfig {
    /// Where gateways of other regions come in, `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Where they reach it, `host:port`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advertise: Vec<String>,
    /// Requests at once, in each direction.
    #[serde(default = "default_max_requests")]
    pub max_requests: usize,
}

fn default_max_requests() -> usize {
    DEFAULT_MAX_REQUESTS
}

impl TunnelConfig {
    /// Refuses values that cannot work.
    pub(super) fn check(&self) -> Result<(), InvalidConfig> {
        let refuse = |key: &'static str, why| Err(InvalidConfig { key: key.into(), why });
        if self.max_requests == 0 {
            return refuse("tunnel.max_requests", "must be above 0; leave it out for the default");
        }
        match (&self.listen, self.advertise.as_slice()) {
            (None, [_, ..]) => {
                return refuse(
                    "tunnel.advertise",
                    "nothing listens there: write tunnel.listen, \"0.0.0.0:7447\"",
                );
            }
            (Some(_), []) => {
                let why = "write where gateways of other regions reach it, [\"gateway-1.example.com:7447\"]";
                return refuse("tunnel.advertise", why);
            }
            (None, []) | (Some(_), [_, ..]) => {}
        }
        if self.advertise.len() > MOST_ADVERTISED {
            return refuse("tunnel.advertise", "name at most 4 addresses: those that other regions reach");
        }
        let is_good = |address: &String| address.len() <= MOST_CHARS && dialable(address).is_some();
        if !self.advertise.iter().all(is_good) {
            let why = "each is HOST:PORT that other regions can dial, with at most 200 characters: \"gateway-1.example.com:7447\"";
            return refuse("tunnel.advertise", why);
        }
        Ok(())
    }
}
