//! Secrets over REST: written in the clear, sealed before they are proposed, never shown.

use hanse_state::{Command, CommandBody, State};
use serde_json::{Value, json};

use crate::request::{Api, Call};

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

/// All answers that may say something of a Secret.
async fn everything(api: &Api) -> String {
    let mut said = String::new();
    for path in [PATH, "/v1/organizations/default/secrets", "/v1/dump", "/v1/audit"] {
        said += &api.get(path).send().await.expect(200).text;
    }
    said
}

/// The sealed values of all proposed Secrets, as JSON has them.
fn sealed_in_log(api: &Api) -> Vec<String> {
    let changes = |command: &Command| match &command.body {
        CommandBody::Apply(changes) => changes.clone(),
        _no_changes => Vec::new(),
    };
    let commands = api.node.proposed.lock().unwrap();
    let specs = commands.iter().flat_map(changes).filter_map(|change| change.action.spec().cloned());
    let values =
        specs.flat_map(|spec| spec.private_data().map(|secret| secret.data.clone()).unwrap_or_default());
    let sealed = values.filter(|(_, value)| value.sealed().is_some());
    sealed
        .map(|(_, value)| serde_json::to_value(&value).unwrap()["sealed"].as_str().unwrap().to_owned())
        .collect()
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
    let sealed = sealed_in_log(&api);
    assert!(!sealed.is_empty() && sealed.iter().all(|sealed| !said.contains(sealed)));
    assert!(!said.contains("\"version\":1,\"sealed\""), "{said}");
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
    // Without quotes, some tokens are numbers of YAML.
    for (data, status, name) in
        [("90210", 422, "invalid"), ("90210e4093", 400, "bad-request"), (".inf", 400, "bad-request")]
    {
        let yaml = format!("kind: Secret\nname: s\nspec: {{type: opaque, data: {{a: {data}}}}}");
        for path in ["/v1/apply", "/v1/apply?dryRun=true"] {
            let call = api.post(path).yaml(&yaml);
            let problem = call.send().await.problem(status, name).to_string();
            assert!(!problem.contains("90210") && !problem.contains(".inf"), "{problem}");
            assert!(problem.contains("quotes"), "{problem}");
        }
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

/// The versions that the last proposals are sealed with.
fn versions(api: &Api, proposals: usize) -> Vec<String> {
    let proposed = api.node.proposed.lock().unwrap();
    let commands = proposed[proposed.len() - proposals..].iter().map(|command| format!("{command:?}"));
    commands.map(|command| command[command.find("version ").unwrap()..][..9].to_owned()).collect()
}

fn put<'a>(api: &'a Api, data: &str) -> Call<'a> {
    let call = api.put("/v1/organizations/default/secrets/late").header("idempotency-key", "k");
    call.json(spec(json!({"a": data})))
}

/// This node has applied neither a rotation nor what the same request was answered with.
#[tokio::test]
async fn a_node_that_is_behind_seals_by_the_newest_state() {
    let api = Api::furnished().await;
    let behind = api.node.state();
    api.node.make_key();
    let is_behind = |behind: &State| *api.node.applied.lock().unwrap() = Some(behind.clone());
    is_behind(&behind);
    put(&api, PRIVATE).send().await.expect(201);
    assert_eq!(
        versions(&api, 1),
        ["version 1"],
        "the first version is used, and this node has not heard of it"
    );
    let behind = api.node.state();
    api.node.make_key();
    let revision = api.node.revision();
    is_behind(&behind);
    put(&api, PRIVATE).send().await.expect(201);
    assert_eq!((api.node.revision(), versions(&api, 1)), (revision, vec!["version 1".to_owned()]));
    let proposals = api.node.proposed.lock().unwrap().len();
    put(&api, "other").send().await.problem(422, "key-reused");
    assert_eq!(api.node.proposed.lock().unwrap().len(), proposals, "it is refused before it is logged");
}

/// Another version is used while this node seals, and the first attempt of the same request holds meanwhile.
#[tokio::test]
async fn what_comes_in_between_has_the_data_sealed_again() {
    let api = with_key().await;
    let mut is_due = true;
    *api.node.rival.lock().unwrap() = Some(Box::new(move |node| {
        if std::mem::take(&mut is_due) {
            node.make_key();
        }
    }));
    put(&api, PRIVATE).send().await.expect(201);
    assert_eq!(versions(&api, 2), ["version 1", "version 2"]);
    let first = api.node.proposed.lock().unwrap().last().unwrap().clone();

    let api = with_key().await;
    let mut first = Some(first);
    *api.node.rival.lock().unwrap() = Some(Box::new(move |node| {
        if let Some(first) = first.take() {
            node.make_key();
            node.apply(&first);
        }
    }));
    let revision = api.node.revision();
    put(&api, PRIVATE).send().await.expect(201);
    assert_eq!(api.node.revision(), revision + 4, "three of the rotation, and one");
}
