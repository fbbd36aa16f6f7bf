//! The federation key on three control nodes: each has every version, and a revoked one gets no later version.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use hanse_chaos::needles::Needles;
use hanse_identity::{Authority, KeyPair, connect};
use hanse_proto::{
    raft::{FederationKey, FederationKeysRequest, peer_client::PeerClient},
    sync::{Hello, Introduction, SubscriberMessage, subscriber_message::Body, sync_client::SyncClient},
};
use hanse_server::Config;
use hanse_topology::{Identity, Role};
use http::Method;
use prost::Message as _;
use serde_json::{Value, json};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::federation::{Federation, answer, name};

/// The versions, as a control node lists them.
async fn versions(federation: &Federation, at: &Config) -> Vec<Value> {
    let listed = federation.operate_at(at, Method::GET, "/v1/federation-key", String::new()).await;
    listed["items"].as_array().unwrap().clone()
}

/// Waits until this version is active, and every control node says that it has it. Answers with its digest.
async fn used(federation: &Federation, at: &Config, version: usize) -> String {
    let is_used = async || {
        let versions = versions(federation, at).await;
        versions.get(version - 1).is_some_and(|one| {
            one["state"] == "active" && one.get("lackedBy").is_none() && one.get("unknown").is_none()
        })
    };
    federation.eventually(&format!("version {version} is used"), is_used).await;
    versions(federation, at).await[version - 1]["digest"].as_str().unwrap().to_owned()
}

fn keys_dir(of: &Config) -> PathBuf {
    of.pki_dir().join("keys")
}

/// Where a version is on a node's disk.
fn key_file(of: &Config, digest: &str) -> PathBuf {
    keys_dir(of).join(format!("{}.key", &digest[..16]))
}

/// Whether a version is there.
fn has(of: &Config, digest: &str) -> bool {
    key_file(of, digest).exists()
}

/// What a process with the private key of a control node is told of the federation key by another one.
async fn ask(
    federation: &Federation,
    with_key_of: &Config,
    at: &Config,
) -> Result<Vec<FederationKey>, Status> {
    let authority = hanse_server::control_intermediate(with_key_of).unwrap();
    let identity = Identity { name: with_key_of.name.clone(), role: Role::Server, region: None };
    let credentials = authority.issue_credentials(&identity, &[]).unwrap();
    let channel = connect(&at.listen.raft, federation.client(credentials, &[Role::Server])).await;
    let channel = channel.map_err(|error| Status::unknown(error.to_string()))?;
    let node: Value = serde_json::from_slice(&fs::read(at.data_dir.join("node.json")).unwrap()).unwrap();
    let request = FederationKeysRequest { target: node["id"].as_u64().unwrap() };
    Ok(PeerClient::new(channel).federation_keys(request).await?.into_inner().keys)
}

/// Copies the files of a directory.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_control_node_has_the_key_and_a_revoked_one_gets_no_later_one() {
    let federation = Federation::found();
    let cp_1 = federation.server().clone();
    let server_1 = federation.start_server().await;
    let first = used(&federation, &cp_1, 1).await;
    let (cp_2, cp_3) = (federation.another_server("cp-2").await, federation.another_server("cp-3").await);
    let server_2 = federation.start_this_server(&cp_2).await;
    let server_3 = federation.start_this_server(&cp_3).await;
    let nodes = [&cp_1, &cp_2, &cp_3];
    federation
        .eventually("nodes that join pull it", async || nodes.iter().all(|node| has(node, &first)))
        .await;

    federation.operate_at(&cp_2, Method::POST, "/v1/federation-key/rotate", String::new()).await;
    let second = used(&federation, &cp_1, 2).await;
    assert!(nodes.iter().all(|node| has(node, &second)));
    for file in fs::read_dir(keys_dir(&cp_3)).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(text.starts_with("-----BEGIN HANSE SEALED KEY-----"), "{text}");
    }

    assert_eq!(ask(&federation, &cp_3, &cp_1).await.unwrap().len(), 2);
    federation
        .operate_at(&cp_1, Method::PUT, "/v1/revocations/cp-3.server.control.hanse.internal", String::new())
        .await;
    let third = used(&federation, &cp_1, 3).await;
    assert!(has(&cp_1, &third) && has(&cp_2, &third) && !has(&cp_3, &third));
    for node in [&cp_1, &cp_2] {
        assert!(ask(&federation, &cp_3, node).await.is_err(), "{} tells it no key", node.name);
        assert_eq!(ask(&federation, &cp_2, node).await.unwrap().len(), 3);
    }
    // Processes that never heard the revoked node, which is a member of the group still, do not wait for it.
    for server in [server_3, server_2, server_1] {
        server.stop().await;
    }
    let (server_1, server_2) = (federation.launch_server(&cp_1), federation.launch_server(&cp_2));
    for node in [&cp_1, &cp_2] {
        let ready =
            async || answer(&node.listen.admin, "/readyz").await.is_some_and(|(status, _)| status == 200);
        federation.eventually("it is ready", ready).await;
    }
    federation.operate_at(&cp_1, Method::POST, "/v1/federation-key/rotate", String::new()).await;
    let fourth = used(&federation, &cp_1, 4).await;
    assert!(has(&cp_1, &fourth) && has(&cp_2, &fourth) && !has(&cp_3, &fourth));
    let keys = ask(&federation, &cp_2, &cp_1).await.unwrap();
    assert_eq!(keys.len(), 4);
    for server in [server_2, server_1] {
        server.stop().await;
    }
    for (node, key) in nodes.into_iter().flat_map(|node| keys.iter().map(move |key| (node, key))) {
        let found = Needles::of(&key.key).files_with(&node.data_dir).unwrap();
        assert!(found.is_empty(), "the federation key is in {found:?}");
    }
}

/// What a control node publishes in `keys/eu-west` to an agent of the region, once it has this data.
async fn publishes(federation: &Federation, agent: &Authority, at: &Config, data: &str) -> bool {
    let asked = async {
        let identity = Identity::agent(name("agent-1"), name("eu-west"));
        let tls = federation.client(agent.issue_credentials(&identity, &[]).unwrap(), &[Role::Server]);
        let channel = connect(&at.listen.federation, tls).await.ok()?;
        let (outbound, messages) = tokio::sync::mpsc::channel(4);
        let introduction = Introduction { boot_id: vec![9; 16].into(), ..Default::default() };
        let hello = Hello { scope: "keys/eu-west".to_owned(), ..Default::default() };
        for body in [Body::Introduction(introduction), Body::Hello(hello)] {
            outbound.send(SubscriberMessage { body: Some(body) }).await.ok()?;
        }
        let told = SyncClient::new(channel).subscribe(ReceiverStream::new(messages)).await;
        let mut told = told.ok()?.into_inner();
        while let Some(message) = told.message().await.ok()? {
            if message.encode_to_vec().windows(data.len()).any(|window| window == data.as_bytes()) {
                return Some(());
            }
        }
        None
    };
    matches!(tokio::time::timeout(Duration::from_secs(2), asked).await, Ok(Some(())))
}

/// Copies a directory with all below it.
fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy_all(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

/// What an operator has left after a disaster: a copy of one data directory, without its `store_key`, the root and the recovery pairs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copied_directory_opens_secrets_with_the_recovery_pairs_and_no_other_node() {
    let federation = Federation::found();
    let cp_1 = federation.server().clone();
    let server_1 = federation.start_server().await;
    federation.set_up().await;
    let agent = federation.start_agent().await;
    federation.eventually("the agent has joined", async || federation.has_joined()).await;
    agent.stop().await;
    let agent = Authority::load(federation.agent_dir().join("pki").join("region")).unwrap();
    let cp_2 = federation.another_server("cp-2").await;
    let server_2 = federation.start_this_server(&cp_2).await;
    let first = used(&federation, &cp_1, 1).await;
    let pem = KeyPair::generate().unwrap().to_pem();
    federation
        .apply(json!([
            {"kind": "Organization", "name": "shop", "spec": {}},
            {"kind": "Secret", "organization": "shop", "name": "signer", "spec":
                {"type": "token-signing", "regions": ["eu-west"], "data": {"key.pem": pem}}},
        ]))
        .await;
    federation.operate_at(&cp_1, Method::POST, "/v1/federation-key/rotate", String::new()).await;
    let second = used(&federation, &cp_1, 2).await;
    let is_resealed = async || {
        let versions = versions(&federation, &cp_2).await;
        (versions[0]["values"].as_u64(), versions[1]["values"].as_u64()) == (Some(0), Some(1))
    };
    federation.eventually("the value is sealed anew", is_resealed).await;
    // A control node that joins now reads of a Secret under version 1, and of the same under version 2.
    let cp_3 = federation.another_server("cp-3").await;
    let server_3 = federation.start_this_server(&cp_3).await;
    let line = pem.lines().nth(1).unwrap();
    for node in [&cp_1, &cp_2, &cp_3] {
        let opens = async || publishes(&federation, &agent, node, line).await;
        federation.eventually(&format!("{} publishes it", node.name), opens).await;
        assert!(has(node, &first) && has(node, &second), "{}", node.name);
    }
    for server in [server_3, server_2, server_1] {
        server.stop().await;
    }

    let copy = Config { data_dir: cp_2.data_dir.with_file_name("copy"), ..cp_2.clone() };
    copy_all(&cp_2.data_dir, &copy.data_dir);
    copy_all(&cp_1.pki_dir().join("root"), &copy.pki_dir().join("root"));
    hanse_server::reissue_with_new_key(&copy).unwrap();
    // The copied versions are sealed with the store key that is lost: without the recovery pairs nothing opens them.
    let rebuilt = federation.launch_server(&copy);
    federation.eventually("it says what it lacks", async || lacks_first(&copy).await).await;
    assert!(!publishes(&federation, &agent, &copy, line).await);
    let sealed = |digest: &str| fs::read(key_file(&copy, digest)).unwrap();
    let copied = [sealed(&first), sealed(&second)];
    copy_all(&cp_1.pki_dir().join("recovery"), &copy.pki_dir().join("recovery"));
    federation
        .eventually("the copy publishes it alone", async || publishes(&federation, &agent, &copy, line).await)
        .await;
    for (digest, copied) in [&first, &second].into_iter().zip(copied) {
        assert_ne!(sealed(digest), copied, "it is sealed with the new store key");
    }
    rebuilt.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_the_key_serves_nothing_until_an_operators_pair_opens_it() {
    let federation = Federation::found();
    let cp_1 = federation.server().clone();
    let server_1 = federation.start_server().await;
    let cp_2 = federation.another_server("cp-2").await;
    let server_2 = federation.start_this_server(&cp_2).await;
    let first = used(&federation, &cp_1, 1).await;
    for server in [server_1, server_2] {
        server.stop().await;
    }
    // As the operator keeps it.
    let safe = cp_1.data_dir.with_file_name("safe");
    fs::rename(cp_1.pki_dir().join("recovery"), &safe).unwrap();
    for node in [&cp_1, &cp_2] {
        fs::remove_dir_all(keys_dir(node)).unwrap();
    }
    let (server_1, server_2) = (federation.launch_server(&cp_1), federation.launch_server(&cp_2));
    for node in [&cp_1, &cp_2] {
        federation.eventually("it says what it lacks", async || lacks_first(node).await).await;
        assert!(!has(node, &first));
        assert!(serves_agents(&federation, node).await.is_err(), "no agent is served");
    }

    copy(&safe, &cp_2.pki_dir().join("recovery"));
    for node in [&cp_1, &cp_2] {
        let ready =
            async || answer(&node.listen.admin, "/readyz").await.is_some_and(|(status, _)| status == 200);
        federation.eventually("it is ready", ready).await;
        serves_agents(&federation, node).await.unwrap();
        assert!(has(node, &first), "{}", node.name);
    }
    federation.apply(json!([{"kind": "Organization", "name": "shop", "spec": {}}])).await;
    for server in [server_1, server_2] {
        server.stop().await;
    }
}

/// Whether a control node says that it lacks version 1.
async fn lacks_first(node: &Config) -> bool {
    let ready = answer(&node.listen.admin, "/readyz").await;
    ready
        .is_some_and(|(status, body)| status == 503 && body.contains("lacks version 1 of the federation key"))
}

/// Whether a handshake on the federation port comes to its end.
async fn serves_agents(federation: &Federation, node: &Config) -> Result<(), String> {
    let (region, authority) = (name("eu-west"), federation.authority_of("eu-west"));
    let credentials = authority.issue_credentials(&Identity::agent(name("a"), region), &[]).unwrap();
    let connected = connect(&node.listen.federation, federation.client(credentials, &[Role::Server]));
    match tokio::time::timeout(Duration::from_secs(2), connected).await {
        Ok(connected) => connected.map(drop).map_err(|error| error.to_string()),
        Err(_) => Err("no answer".to_owned()),
    }
}
