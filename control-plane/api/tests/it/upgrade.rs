use hanse_state::{CommandBody, Version, port::Facts};
use serde_json::json;

use crate::request::{Api, Call};

const CP_1: &str = "cp-1.server.control.hanse.internal";

/// What the control node says that it runs.
fn say(api: &Api, version: u32) {
    let facts = Facts { release: "9.8.0".to_owned(), version, ..Facts::default() };
    *api.node.nodes.lock().unwrap() = [(1, facts)].into();
}

fn finalize(api: &Api, version: u32) -> Call<'_> {
    api.post("/v1/upgrade/finalize").json(json!({"version": version}))
}

#[tokio::test]
async fn without_a_later_version_the_one_in_force_is_answered() {
    let api = Api::furnished().await;
    let known = Version::KNOWN.number();
    say(&api, known);
    let answer = api.get("/v1/upgrade").send().await.expect(200).json;
    assert_eq!((&answer["version"], &answer["next"]), (&known.into(), &json!(null)));
    let node = json!({"name": "cp-1", "role": "leader", "release": "9.8.0", "knows": known});
    assert_eq!((&answer["nodes"], &answer["blockers"]), (&json!([node]), &json!([])));
    assert_eq!(finalize(&api, known).send().await.expect(200).json["version"], known);
}

#[tokio::test]
async fn a_version_that_is_in_force_is_not_raised_again() {
    let api = Api::furnished().await;
    say(&api, Version::KNOWN.number() + 1);
    let before = api.node.revision();
    for _again in 0..2 {
        let answer = finalize(&api, 1).header("idempotency-key", "once").send().await.expect(200).json;
        assert_eq!(answer, json!({"version": 1, "release": "0.1.0", "revision": before}));
    }
}

#[tokio::test]
async fn a_version_is_named_and_is_the_next_one() {
    let api = Api::furnished().await;
    say(&api, Version::KNOWN.number() + 2);
    let skipped = Version::KNOWN.number() + 2;
    let refused = finalize(&api, skipped).send().await.problem(409, "upgrade");
    assert!(refused["detail"].as_str().unwrap().contains("is not the next one"), "{refused}");
    for body in
        [json!({}), json!({"version": 0}), json!({"version": "2"}), json!({"version": 1, "force": true})]
    {
        let call = api.post("/v1/upgrade/finalize").json(body);
        assert_eq!(call.send().await.problem(400, "bad-request")["field"], "body: version");
    }
    assert!(
        api.node
            .proposed
            .lock()
            .unwrap()
            .iter()
            .all(|command| !matches!(command.body, CommandBody::Finalize { .. }))
    );
}

#[tokio::test]
async fn a_version_that_the_asked_node_does_not_know_is_not_finalized() {
    let api = Api::furnished().await;
    say(&api, Version::KNOWN.number());
    let later =
        Facts { release: "9.9.0".to_owned(), version: Version::KNOWN.number() + 1, ..Facts::default() };
    api.node.nodes.lock().unwrap().insert(2, later);
    let answer = api.get("/v1/upgrade").send().await.expect(200).json;
    assert_eq!(answer["next"], Version::KNOWN.number() + 1);
    let reason = format!("runs release 9.8.0, which knows versions up to {}", Version::KNOWN);
    assert_eq!(answer["blockers"], json!([{"identity": CP_1, "reason": reason}]));
    assert_eq!(answer["scopes"], json!(null), "what it would change is not known here");
    let refused = finalize(&api, Version::KNOWN.number() + 1).send().await.problem(409, "upgrade");
    assert!(refused["detail"].as_str().unwrap().contains("this control node"), "{refused}");
    assert!(refused["remedy"].as_str().unwrap().contains("roll out"), "{refused}");
    assert_eq!(api.get("/v1/upgrade").send().await.expect(200).json["version"], Version::KNOWN.number());
}
