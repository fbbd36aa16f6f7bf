//! The federation key, its rotation and the recovery key.

use hanse_api::answer;
use hanse_management::{Digest, ResourceKey, kinds::SealedValue};
use hanse_state::{CommandBody, ResealedValue, State, port::Facts, server_identity};
use serde_json::{Value, json};

use crate::request::{Answer, Api};

async fn set(api: &Api, sign: &str, wrap: &str, replace: bool) -> Answer {
    let body = json!({"sign": sign, "wrap": wrap, "replace": replace});
    api.put("/v1/recovery-key").json(body).send().await
}

/// Does what the leader does.
pub(crate) fn add(api: &Api, version: u32) {
    api.node.run(addition(&api.node.state(), version));
}

fn addition(state: &State, version: u32) -> CommandBody {
    let keys = state.federation_keys();
    CommandBody::AddKey {
        version,
        digest: [version as u8; 32],
        recipient: Digest::of(&keys.recovery().unwrap().wrap).0,
        wrapped: vec![version as u8],
        maker: server_identity("cp-1"),
        rotate_after: keys.rotate_after(),
    }
}

async fn listed(api: &Api) -> Value {
    api.get("/v1/federation-key").send().await.expect(200).json
}

/// What the control nodes 1 to 3 say they hold; the others do not say.
fn say(api: &Api, newest: &[(u64, u32)]) {
    let facts = |newest_key: u32| Facts { newest_key, ..Facts::default() };
    *api.node.nodes.lock().unwrap() = [1, 2, 3].map(|id| (id, Facts::default())).into();
    for (id, newest) in newest {
        api.node.nodes.lock().unwrap().insert(*id, facts(*newest));
    }
    *api.node.mute.lock().unwrap() =
        [1, 2, 3].into_iter().filter(|id| newest.iter().all(|(said, _)| said != id)).collect();
}

#[tokio::test]
async fn versions_are_listed_with_the_nodes_that_lack_them() {
    let api = Api::furnished().await;
    let none = listed(&api).await;
    assert_eq!((none.get("recoveryKey"), &none["rotating"]), (None, &json!(false)));
    let refused = api.post("/v1/federation-key/rotate").send().await.problem(409, "conflict");
    assert!(refused["remedy"].as_str().unwrap().contains("hanse recovery-key new"), "{refused}");

    set(&api, "sign 1", "wrap 1", false).await.expect(200);
    let digest = |text: &str| hex::encode(Digest::of(text.as_bytes()).0);
    assert_eq!(
        listed(&api).await["recoveryKey"],
        json!({"sign": digest("sign 1"), "wrap": digest("wrap 1")})
    );
    assert_eq!(listed(&api).await["rotating"], true);
    add(&api, 1);
    api.node.run(CommandBody::UseKey { version: 1 });
    assert_eq!(listed(&api).await["rotating"], false);

    let before = api.node.revision();
    let rotated = api.post("/v1/federation-key/rotate").send().await.expect(200);
    assert_eq!(rotated.json["revision"], before + 1);
    let again = api.post("/v1/federation-key/rotate").send().await.expect(200);
    assert_eq!(again.json["revision"], before + 2, "what is under way may have been copied, too");
    add(&api, 2);
    add(&api, 3);
    say(&api, &[(1, 3), (2, 1)]);
    let keys: answer::FederationKey = serde_json::from_value(listed(&api).await).unwrap();
    let told = |item: &answer::FederationKeyVersion| {
        let names = |of: &[String]| of.iter().map(|name| name[..4].to_owned()).collect::<Vec<_>>().join(" ");
        format!(
            "{} {}: lacks {} unknown {}",
            item.version,
            item.state,
            names(&item.lacked_by),
            names(&item.unknown)
        )
    };
    let told: Vec<_> = keys.items.iter().map(told).collect();
    assert_eq!(
        told,
        ["1 active: lacks  unknown cp-3", "2 skipped: lacks  unknown ", "3 pending: lacks cp-2 unknown cp-3"]
    );
    let node = |at: usize, status: &Value| status["nodes"][at].get("lacksKey").cloned();
    say(&api, &[(1, 1), (2, 0), (3, 3)]);
    let status = api.get("/v1/status").send().await.expect(200).json;
    assert_eq!((node(0, &status), node(1, &status), node(2, &status)), (None, Some(json!(1)), None));
    // A revoked node gets no version any more: neither view says that it lacks one.
    let control_nodes = ["cp-1", "cp-2", "cp-3"].map(|node| hanse_topology::Name::new(node).unwrap()).into();
    let (keys, known_keys) = (Vec::new(), Vec::new());
    api.node.run(CommandBody::Revoke { identity: server_identity("cp-2"), control_nodes, keys, known_keys });
    let status = api.get("/v1/status").send().await.expect(200).json;
    assert_eq!(node(1, &status), None);
    assert_eq!(listed(&api).await["items"][0].get("lackedBy"), None);
}

/// The numbers of the versions that have values, with how many; and whether a rotation is under way.
async fn sealed_values(api: &Api) -> (Vec<(u32, u64)>, bool) {
    let keys: answer::FederationKey = serde_json::from_value(listed(api).await).unwrap();
    let is_left = keys.items.iter().any(|item| item.state == answer::KeyState::Retired && item.values > 0);
    assert_eq!(is_left, !keys.outdated_secrets.is_empty());
    let values = keys.items.iter().map(|item| (item.version, item.values));
    (values.filter(|(_, values)| *values > 0).collect(), keys.rotating)
}

#[tokio::test]
async fn a_rotation_is_over_when_every_value_is_sealed_with_the_active_version() {
    let api = Api::furnished().await;
    api.node.make_key();
    assert_eq!(sealed_values(&api).await, (vec![], false));
    let path = |name: &str| format!("/v1/organizations/default/secrets/{name}");
    let put = async |name: &str, data: Value| {
        let body = json!({"spec": {"type": "opaque", "data": data}});
        api.put(&path(name)).json(body).send().await.expect(201);
    };
    put("a", json!({"user": "1", "password": "2"})).await;
    assert_eq!(sealed_values(&api).await, (vec![(1, 2)], false));
    api.node.make_key();
    put("b", json!({"user": "1"})).await;
    assert_eq!(sealed_values(&api).await, (vec![(1, 2), (2, 1)], true));
    assert_eq!(listed(&api).await["outdatedSecrets"], json!(["Secret default/a"]));

    let before = api.get(&path("a")).send().await.expect(200);
    let reseal = |number: usize| {
        let state = api.node.state();
        let anew = |(secret, field, present): (&ResourceKey, &str, &SealedValue)| {
            ResealedValue::of(secret, field, present, 2, present.sealed.clone())
        };
        api.node.run(CommandBody::Reseal(state.outdated_values().take(number).map(anew).collect()));
    };
    reseal(1);
    assert_eq!(sealed_values(&api).await, (vec![(1, 1), (2, 2)], true));
    reseal(9);
    assert_eq!(sealed_values(&api).await, (vec![(2, 3)], false));
    let after = api.get(&path("a")).send().await.expect(200);
    assert_eq!((after.header("etag"), &after.json), (before.header("etag"), &before.json));

    for number in 10..22 {
        put(&format!("n-{number}"), json!({"user": "1"})).await;
    }
    api.node.make_key();
    let named = listed(&api).await["outdatedSecrets"].as_array().unwrap().clone();
    assert_eq!(
        (named.len(), &named[0], &named[9]),
        (10, &json!("Secret default/a"), &json!("Secret default/n-17"))
    );
}

#[tokio::test]
async fn a_recovery_key_is_set_with_every_version_wrapped_to_it() {
    let api = Api::furnished().await;
    let set_1 = set(&api, "sign 1", "wrap 1", false).await.expect(200);
    assert_eq!(set_1.json["revision"], api.node.revision());
    add(&api, 1);
    let refused = set(&api, "sign 2", "wrap 2", false).await.problem(409, "conflict");
    assert!(refused["remedy"].as_str().unwrap().contains("--replace"), "{refused}");
    set(&api, "sign 2", "wrap 2", true).await.expect(200);
    let state = api.node.state();
    assert_eq!(state.federation_keys().get(1).unwrap().wrapped, b"1 to wrap 2");
    let field = async |body: Value, status: u16, problem: &str| {
        let refused = api.put("/v1/recovery-key").json(body).send().await.problem(status, problem);
        refused["field"].as_str().unwrap().to_owned()
    };
    assert_eq!(field(json!({"sign": "bad", "wrap": "wrap 2"}), 422, "invalid").await, "body: sign");
    assert_eq!(field(json!({"sign": "sign 2"}), 400, "bad-request").await, "body");
    assert_eq!(field(json!({"sign": "a", "wrap": "b", "force": true}), 400, "bad-request").await, "body");

    // Another version came while this node wrapped those that it knew.
    *api.node.rival.lock().unwrap() = Some(Box::new(|node| {
        node.run(addition(&node.state(), 2));
    }));
    set(&api, "sign 3", "wrap 3", true).await.problem(412, "stale");
}
