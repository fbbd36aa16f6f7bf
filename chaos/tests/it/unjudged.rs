//! What a process does that has a control node's own private key: it replicates changes past admission, as another release may, and asks for
//! the federation key.

use std::path::Path;

use anyhow::{Context, Result};
use hanse_chaos::Federation;
use hanse_identity::{Expect, LiveCredentials, TrustAnchor, client_tls, connect};
use hanse_proto::{
    control::{Apply, Change, Command, Put, ResourceKey, change, command, outcome},
    raft::{FederationKey, FederationKeysRequest, ProposeRequest, peer_client::PeerClient, propose_response},
};
use hanse_topology::{Identity, Role};
use serde_json::Value;
use tonic::transport::Channel;

/// How long the leader may take.
const WITHIN_MS: u64 = 10_000;

/// The change that puts a resource of organization `default`.
pub(crate) fn put(kind: &str, name: &str, spec: &Value) -> Change {
    let key =
        ResourceKey { kind: kind.to_owned(), organization: "default".to_owned(), name: name.to_owned() };
    let put = Put { spec: spec.to_string().into_bytes().into(), ..Default::default() };
    Change { key: Some(key), action: Some(change::Action::Put(put)), if_revision: None }
}

/// Has the only control node of a federation replicate these changes. Returns the revision that they make.
pub(crate) async fn replicate(federation: &Federation, changes: Vec<Change>) -> Result<u64> {
    let node = federation.data_dir().join("nodes").join("cp-1");
    let config: hanse_server::Config = toml::from_str(&std::fs::read_to_string(node.join("config.toml"))?)?;
    let mut client = with_key_of(&config).await?;
    let command = Command {
        actor: "another-release".to_owned(),
        request_id: "unjudged".to_owned(),
        body: Some(command::Body::Apply(Apply { changes })),
        ..Default::default()
    };
    let request = ProposeRequest { command: Some(command), within_ms: WITHIN_MS, version: 1 };
    let answer = client.propose(request).await?.into_inner();
    let Some(propose_response::Result::Outcome(outcome)) = answer.result else {
        anyhow::bail!("not replicated: {answer:?}")
    };
    match &outcome.result {
        Some(outcome::Result::Accepted(accepted)) => Ok(accepted.revision),
        _ => anyhow::bail!("not accepted: {outcome:?}"),
    }
}

/// A control node, as one calls it that has its own private key.
async fn with_key_of(config: &hanse_server::Config) -> Result<PeerClient<Channel>> {
    let authority = hanse_server::control_intermediate(config)?;
    let credentials = authority.issue_credentials(&Identity::server(config.name.clone()), &[])?;
    let root = root(&config.pki_dir())?;
    let expect = Expect { roles: vec![Role::Server], region: None };
    let tls = client_tls(Some(&LiveCredentials::new(credentials)), &root, expect)?;
    Ok(PeerClient::new(connect(&config.listen.raft, tls).await?))
}

/// Every version of the federation key that a control node holds.
pub(crate) async fn federation_keys(config: &hanse_server::Config) -> Result<Vec<FederationKey>> {
    let node: Value = serde_json::from_slice(&std::fs::read(config.data_dir.join("node.json"))?)?;
    let request = FederationKeysRequest { target: node["id"].as_u64().context("a Raft id")? };
    Ok(with_key_of(config).await?.federation_keys(request).await?.into_inner().keys)
}

fn root(pki: &Path) -> Result<TrustAnchor> {
    Ok(TrustAnchor::from_pem(&std::fs::read_to_string(pki.join("root.crt"))?)?)
}
