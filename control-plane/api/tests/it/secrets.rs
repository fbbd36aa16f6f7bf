//! Secrets over REST: written in the clear, sealed before they are proposed, shown to nobody.

use serde_json::{Value, json};

use crate::{node::START_MS, request::Api};

const PATH: &str = "/v1/organizations/default/secrets/s";
/// Data that no answer may have.
const PRIVATE: &str = "private-90210";

async fn with_key() -> Api {
    let api = Api::furnished().await;
    api.node.make_key();
    api
}

fn spec(data: Value) -> Value {
    json!({"spec": {"type": "opaque", "data": data}})
}

/// What everything says that anybody may ask for.
async fn everything(api: &Api) -> String {
    let mut said = String::new();
    for path in [PATH, "/v1/organizations/default/secrets", "/v1/dump", "/v1/audit"] {
        said += &api.get(path).send().await.expect(200).text;
    }
    said
}

#[tokio::test]
async fn data_is_taken_and_never_shown() {
    let api = with_key().await;
    let created = api.put(PATH).json(spec(json!({"a": PRIVATE, "b": "2"}))).send().await.expect(201);
    let kept = json!({"sealed": true});
    assert_eq!(created.json["spec"], json!({"type": "opaque", "data": {"a": kept, "b": kept}}));
    let etag = created.header("etag").to_owned();

    let got = api.get(PATH).send().await.expect(200).json;
    assert_eq!(got["spec"], created.json["spec"]);
    // What is shown may be sent back, and equal data is no change.
    for body in [got, spec(json!({"a": PRIVATE, "b": "2"})), spec(json!({"a": kept, "b": "2"}))] {
        let again = api.put(PATH).header("if-match", &etag).json(body).send().await.expect(200);
        assert_eq!(again.header("etag"), etag);
    }
    let changed = api.put(PATH).header("if-match", &etag).json(spec(json!({"a": PRIVATE, "b": "3"})));
    assert_ne!(changed.send().await.expect(200).header("etag"), etag);

    let said = everything(&api).await;
    assert!(said.contains("\"sealed\":true") && !said.contains(PRIVATE), "{said}");
    let sealed = hex::encode(PRIVATE.bytes().map(|byte| byte ^ 0x55).collect::<Vec<u8>>());
    assert!(!said.contains(&sealed) && !said.contains("\"version\":1,\"sealed\""), "{said}");
    for command in &*api.node.proposed.lock().unwrap() {
        let wire = format!("{:?}", command.to_proto());
        assert!(!wire.contains(PRIVATE), "{wire}");
    }
}

#[tokio::test]
async fn refusals_repeat_no_data() {
    let api = with_key().await;
    for data in [
        json!({"a": 90210}),
        json!({"a": [PRIVATE]}),
        json!({"a": {"sealed": PRIVATE}}),
        json!({"a": {"version": 1, "sealed": "AQ=="}}),
        json!(PRIVATE),
        json!({"a": {"sealed": true}}),
        json!({PRIVATE.repeat(9): PRIVATE}),
    ] {
        let problem = api.put(PATH).json(spec(data)).send().await.problem(422, "invalid").to_string();
        assert!(!problem.contains("90210"), "{problem}");
    }
    let yaml = "kind: Secret\nname: s\nspec: {type: opaque, data: {a: 90210}}";
    for path in ["/v1/apply", "/v1/apply?dryRun=true"] {
        let call = api.post(path).yaml(yaml);
        let problem = call.send().await.problem(422, "invalid").to_string();
        assert!(!problem.contains("90210"), "{problem}");
    }
}

#[tokio::test]
async fn without_a_federation_key_secrets_are_refused() {
    let api = Api::furnished().await;
    for path in ["/v1/apply", "/v1/apply?dryRun=true"] {
        let secret =
            json!({"kind": "Secret", "name": "s", "spec": {"type": "opaque", "data": {"a": PRIVATE}}});
        let problem =
            api.post(path).json(json!({"resources": [secret]})).send().await.problem(409, "conflict");
        assert_eq!(problem["field"], "Secret default/s: spec.data");
        assert!(problem["remedy"].as_str().unwrap().contains("hanse recovery-key new"), "{problem}");
    }
    assert!(
        api.node.proposed.lock().unwrap().iter().all(|command| !format!("{command:?}").contains("Secret"))
    );
}

#[tokio::test]
async fn a_dry_run_says_whether_data_differs() {
    let api = with_key().await;
    api.put(PATH).json(spec(json!({"a": PRIVATE}))).send().await.expect(201);
    for (data, expected) in [(PRIVATE, "unchanged"), ("other", "updated")] {
        let secret = json!({"kind": "Secret", "name": "s", "spec": {"type": "opaque", "data": {"a": data}}});
        let tried = api.post("/v1/apply?dryRun=true").json(json!({"resources": [secret]}));
        assert_eq!(tried.send().await.expect(200).json["changes"][0]["action"], expected);
    }
}

/// This node has not applied a rotation: it reads anew, and seals with the version that is active by now.
#[tokio::test]
async fn a_node_that_is_behind_seals_again() {
    let api = with_key().await;
    let behind = api.node.state();
    api.node.make_key();
    *api.node.applied.lock().unwrap() = Some(behind);
    let put = |data: &str| {
        let call = api.put("/v1/organizations/default/secrets/late").header("idempotency-key", "k");
        call.json(spec(json!({"a": data})))
    };
    put(PRIVATE).send().await.expect(201);
    let count = api.node.proposed.lock().unwrap().len();
    let versions: Vec<String> = api.node.proposed.lock().unwrap()[count - 2..]
        .iter()
        .map(|command| format!("{command:?}"))
        .map(|command| command[command.find("version ").unwrap()..][..9].to_owned())
        .collect();
    assert_eq!(versions, ["version 1", "version 2"]);
    // The same request over another rotation has the same answer.
    *api.node.applied.lock().unwrap() = None;
    api.node.make_key();
    api.node.now_ms.store(START_MS + 1_000, std::sync::atomic::Ordering::SeqCst);
    let revision = api.node.revision();
    put(PRIVATE).send().await.expect(201);
    assert_eq!(api.node.revision(), revision);
    put("other").send().await.problem(422, "key-reused");
}
