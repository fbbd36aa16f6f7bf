//! Changes as a control node of another release may replicate them: with a node's own key, past the admission of this one.

use std::path::Path;

use anyhow::Result;
use hanse_chaos::Federation;
use hanse_identity::{Expect, LiveCredentials, TrustAnchor, client_tls, connect};
use hanse_proto::{
    control::{Apply, Change, Command, Put, ResourceKey, change, command, outcome},
    raft::{ProposeRequest, peer_client::PeerClient, propose_response},
};
use hanse_topology::{Identity, Name, Role};
use serde_json::Value;

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
    let address = &config.listen.raft;
    let authority = hanse_server::control_intermediate(&config)?;
    let credentials = authority.issue_credentials(&Identity::server(Name::new("cp-1")?), &[])?;
    let root = root(&config.pki_dir())?;
    let expect = Expect { roles: vec![Role::Server], region: None };
    let tls = client_tls(Some(&LiveCredentials::new(credentials)), &root, expect)?;
    let mut client = PeerClient::new(connect(address, tls).await?);
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

fn root(pki: &Path) -> Result<TrustAnchor> {
    Ok(TrustAnchor::from_pem(&std::fs::read_to_string(pki.join("root.crt"))?)?)
}
