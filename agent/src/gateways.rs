//! Which gateways the agent admitted, and what each may learn.

use hanse_topology::{Name, ScopeId};
use hanse_transport::{Identity, PeerKeys, Role, json_file};
use serde::{Deserialize, Serialize};

use crate::{Config, Error};

/// What the agent remembers of a gateway it admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Admitted {
    /// The environments it may learn; empty: all of the agent's.
    pub(crate) environments: Vec<Name>,
    /// SHA-256 of the public key it joined with, in hexadecimal. Nobody else gets its name.
    pub(crate) key: String,
}

impl Admitted {
    /// Whether it is with this key that it joined.
    pub(crate) fn joined_with(&self, keys: &PeerKeys) -> bool {
        self.key == hex::encode(keys.own_digest())
    }

    /// Which of the agent's scopes it may learn.
    pub(crate) fn may_learn(&self, scope: &ScopeId) -> bool {
        self.environments.is_empty()
            || scope.environment().is_some_and(|name| self.environments.contains(name))
    }
}

/// Remembers a gateway, replacing what was known under its name.
pub(crate) fn admit(config: &Config, name: &Name, admitted: &Admitted) -> Result<(), Error> {
    Ok(json_file::write(&config.gateways_dir(), name.as_str(), admitted)?)
}

/// Whether the name is another gateway's: one that joined with another key.
pub(crate) fn is_taken(config: &Config, name: &Name, key: &str) -> Result<bool, Error> {
    let known: Option<Admitted> = json_file::read(&config.gateways_dir(), name.as_str())?;
    Ok(known.is_some_and(|known| known.key != key))
}

/// What is remembered of the gateway with this identity; `None` when it is not one of this agent's region.
pub(crate) fn admitted(config: &Config, peer: &Identity) -> Result<Option<Admitted>, Error> {
    if peer.role != Role::Gateway || peer.region.as_ref() != Some(&config.region) {
        return Ok(None);
    }
    Ok(json_file::read(&config.gateways_dir(), peer.name.as_str())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_may_learn_the_environments_of_its_token() {
        let name = |text: &str| Name::new(text).unwrap();
        let scope = |environment: &str| ScopeId::runtime(name("eu-west"), name(environment));
        let all = Admitted { environments: Vec::new(), key: String::new() };
        let one = Admitted { environments: vec![name("production")], key: String::new() };
        assert!(all.may_learn(&scope("production")) && all.may_learn(&scope("sandbox")));
        assert!(one.may_learn(&scope("production")) && !one.may_learn(&scope("sandbox")));
        assert!(!one.may_learn(&ScopeId::Keys { region: name("eu-west") }), "keys are not a gateway's");
    }
}
