//! The configuration that every role below the control plane has.

use std::{env, fs, path::PathBuf};

use hanse_identity::Expect;
use hanse_link::{StoreKey, StoreOptions, Wanted};
use hanse_topology::{Identity, Name, Role};

use crate::Error;

/// The configuration that every role below the control plane has. A role makes it from its own file, where some keys have other
/// names: a gateway's `agents` are its `publishers`.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// What the node is.
    pub role: Role,
    /// Its name.
    pub name: Name,
    /// The region it must be of; `None`: where it joins.
    pub region: Option<Name>,
    /// Where it keeps its keys and, sealed, what it holds.
    pub data_dir: PathBuf,
    /// What seals that; a file beside `data_dir` unless said.
    pub store_key: Option<StoreKey>,
    /// Where publishers are, `host:port`; tried in turn.
    pub publishers: Vec<String>,
    /// Where it joins and renews, `host:port`; tried in turn.
    pub enrolment: Vec<String>,
    /// A file with the join token. The role's variable, `HANSE_GATEWAY_JOIN_TOKEN` say, wins.
    pub join_token_file: Option<PathBuf>,
    /// The scopes it asks for among those offered.
    pub wanted: Wanted,
    /// The address of its admin port.
    pub admin: String,
}

impl NodeConfig {
    /// Where its keys and certificates are kept.
    pub fn pki_dir(&self) -> PathBuf {
        self.data_dir.join("pki")
    }

    /// What it holds, and what seals that.
    pub(crate) fn store(&self, node: &Identity) -> StoreOptions {
        StoreOptions {
            dir: self.data_dir.join("store"),
            node: node.to_string(),
            key: self.store_key.clone().unwrap_or_else(|| StoreKey::beside(&self.data_dir)),
            makes_key: true,
        }
    }

    /// Who those are that admit it and publish to it: agents of its own region, or control nodes.
    pub(crate) fn expect(&self, own: &Identity) -> Expect {
        let admits = self.role.admitted_by();
        Expect { roles: vec![admits], region: own.region.clone().filter(|_| admits != Role::Server) }
    }

    /// The environment variable that may carry the join token.
    pub(crate) fn join_token_variable(&self) -> String {
        format!("HANSE_{}_JOIN_TOKEN", self.role.as_str().to_ascii_uppercase().replace('-', "_"))
    }

    /// The join token's text, if there is one.
    pub(crate) fn join_token(&self) -> Result<Option<String>, Error> {
        self.join_token_of(env::var(self.join_token_variable()).ok())
    }

    /// The same, with this in the variable. One that is empty says nothing: service managers set it so where there is none.
    pub(crate) fn join_token_of(&self, variable: Option<String>) -> Result<Option<String>, Error> {
        let given = variable.filter(|text| !text.trim().is_empty());
        let text = match (given, &self.join_token_file) {
            (Some(token), _) => Some(token),
            (None, Some(path)) => {
                let cannot = |source| Error::JoinTokenFile { path: path.clone(), source };
                Some(fs::read_to_string(path).map_err(cannot)?)
            }
            (None, None) => None,
        };
        Ok(text.map(|text| text.trim().to_owned()))
    }
}
