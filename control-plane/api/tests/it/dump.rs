//! A dump, and what another federation makes of it.

use serde_json::{Value, json};

use crate::request::{Answer, Api, orders};

const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

/// The parts of a dump, as the bodies of applies.
fn parts(dump: &Answer) -> Vec<Value> {
    assert_eq!(dump.header("content-type"), "application/x-ndjson");
    let lines: Vec<Value> = dump.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (head, rest) = lines.split_first().unwrap();
    let (end, rest) = rest.split_last().unwrap();
    assert_eq!((&head["dump"]["format"], &head["dump"]["revision"]), (&json!(1), &json!(dump.revision())));
    let mut parts: Vec<Vec<Value>> = Vec::new();
    for line in rest {
        match line.get("part") {
            Some(number) => {
                parts.push(Vec::new());
                assert_eq!(*number, json!(parts.len()));
            }
            None => parts.last_mut().unwrap().push(line.clone()),
        }
    }
    let resources: usize = parts.iter().map(Vec::len).sum();
    assert_eq!(*end, json!({"end": {"parts": parts.len(), "resources": resources}}));
    parts.into_iter().map(|part| json!({"resources": part})).collect()
}

async fn dumped(api: &Api) -> Vec<Value> {
    parts(&api.get("/v1/dump").send().await.expect(200))
}

async fn restored(parts: &[Value]) -> Api {
    let api = Api::new();
    for part in parts {
        api.post("/v1/apply").json(part.clone()).send().await.expect(200);
    }
    api
}

#[tokio::test]
async fn another_federation_takes_a_dump() {
    let api = Api::furnished().await;
    let more = json!({"resources": [
        {"kind": "Application", "name": "shop"},
        {"kind": "Credential", "name": "key", "spec": {"application": "shop", "digest": DIGEST}},
        {"kind": "Binding", "name": "orders-prod",
         "spec": {"api": "orders", "environment": "prod", "upstream": "backend", "revision": 1}},
        {"kind": "Api", "name": "orders", "spec": orders("/v2")},
    ]});
    api.post("/v1/apply").json(more).send().await.expect(200);
    let dump = dumped(&api).await;
    assert_eq!(dump.len(), 1);
    let of_kind = |kind: &str| -> Vec<&Value> {
        dump[0]["resources"].as_array().unwrap().iter().filter(|resource| resource["kind"] == kind).collect()
    };
    assert_eq!(of_kind("Credential")[0]["spec"]["digest"], DIGEST, "it is whole");
    assert_eq!(of_kind("Api")[0]["restored"], json!({"apiRevision": 2}));
    assert_eq!(of_kind("Binding")[0]["restored"], json!({"served": [1]}));
    assert_eq!(of_kind("ApiRevision").len(), 1, "the latest is made anew");
    assert_eq!(of_kind("Token").len(), 0);

    let other = restored(&dump).await;
    assert_eq!(dumped(&other).await, dump);
    let revision = other.revision_of("orders-r2").await;
    assert_eq!(revision["spec"]["number"], 2);

    let with_tokens = api.get("/v1/dump?tokens=true").send().await.expect(200);
    let with_tokens = parts(&with_tokens);
    let tokens = with_tokens[0]["resources"].as_array().unwrap().iter();
    assert_eq!(tokens.filter(|resource| resource["kind"] == "Token").count(), 1);
    api.get("/v1/dump").token("").send().await.problem(401, "unauthenticated");
}

impl Api {
    async fn revision_of(&self, name: &str) -> Value {
        self.get(&format!("/v1/organizations/default/api-revisions/{name}")).send().await.expect(200).json
    }
}

/// More than one command takes.
#[tokio::test]
async fn a_large_dump_has_parts_that_each_fit_an_apply() {
    const APPLICATIONS: usize = 1_200;
    const AT_ONCE: usize = 400;
    let api = Api::furnished().await;
    // Eight kilobytes each.
    let labels: serde_json::Map<String, Value> =
        (0..64).map(|number| (format!("{number:063}"), json!("x".repeat(63)))).collect();
    let application =
        |number: usize| json!({"kind": "Application", "name": format!("app-{number}"), "labels": labels});
    let applications: Vec<Value> = (0..APPLICATIONS).map(application).collect();
    for some in applications.chunks(AT_ONCE) {
        api.post("/v1/apply").json(json!({"resources": some})).send().await.expect(200);
    }
    let dump = dumped(&api).await;
    assert!(dump.len() > 1, "{} parts", dump.len());
    let other = restored(&dump).await;
    assert_eq!(dumped(&other).await, dump);
}

#[tokio::test]
async fn a_node_writes_one_dump_at_a_time() {
    let api = Api::furnished().await;
    let writing = api.get("/v1/dump").open().await;
    assert_eq!(writing.status(), 200);
    api.get("/v1/dump").send().await.problem(503, "busy");
    drop(writing);
    api.get("/v1/dump").send().await.expect(200);
}

#[tokio::test]
async fn what_is_protected_is_restored_protected() {
    let api = Api::furnished().await;
    let shop = json!({"resources": [{"kind": "Application", "name": "shop", "protected": true}, {"kind": "Application", "name": "web"}]});
    api.post("/v1/apply").json(shop).send().await.expect(200);
    let dump = dumped(&api).await;
    let other = restored(&dump).await;
    assert_eq!(dumped(&other).await, dump);
    let path = |name: &str| format!("/v1/organizations/default/applications/{name}");
    let refused = other.delete(&path("shop")).send().await.problem(409, "conflict");
    assert_eq!(refused["detail"], "Application default/shop is protected");
    other.delete(&path("web")).send().await.expect(200);
}

#[tokio::test]
async fn resources_of_a_dump_replace_nothing() {
    let api = Api::furnished().await;
    let dump = dumped(&api).await;
    let other = restored(&dump).await;
    let before = other.node.revision();
    for part in &dump {
        other.post("/v1/apply").json(part.clone()).send().await.expect(200);
    }
    assert_eq!(other.node.revision(), before, "what is there already stays");

    let changed = json!({"resources": [{"kind": "Region", "name": "eu", "spec": {"provider": "on-prem"}}]});
    other.post("/v1/apply").json(changed).send().await.expect(200);
    let problem = other.post("/v1/apply").json(dump[0].clone()).send().await.problem(409, "conflict");
    assert_eq!(problem["detail"], "already there, and not as in the dump: Region eu");

    let plan = json!({"restored": {}, "spec": {}});
    let problem =
        api.put("/v1/organizations/default/plans/gold").json(plan).send().await.problem(422, "invalid");
    assert_eq!(problem["field"], "restored");
    let unknown = json!({"resources": [{"kind": "Plan", "name": "gold", "restored": {"uses": 1}}]});
    let problem = api.post("/v1/apply").json(unknown).send().await.problem(422, "invalid");
    assert_eq!(problem["field"], "item 1: Plan gold: restored.uses");
}

/// The part of Secrets is refused as a whole: what they refer to must be in a part before it.
#[tokio::test]
async fn a_dump_is_restored_after_its_secrets_were_applied() {
    let api = Api::furnished().await;
    api.node.make_key();
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let secrets = json!({"resources": [
        {"kind": "Secret", "organization": "retail", "name": "a", "spec": {"type": "opaque", "data": {"b": "private"}}},
        {"kind": "Secret", "organization": "retail", "name": "signer",
         "spec": {"type": "token-signing", "regions": ["ap-south"], "data": {"key.pem": key}}},
    ]});
    let others = json!({"resources": [{"kind": "Organization", "name": "retail"}, {"kind": "Region", "name": "ap-south"}]});
    for body in [&others, &secrets] {
        api.post("/v1/apply").json(body.clone()).send().await.expect(200);
    }
    let dump = dumped(&api).await;
    let kinds = |part: &Value| -> Vec<bool> {
        part["resources"].as_array().unwrap().iter().map(|resource| resource["kind"] == "Secret").collect()
    };
    assert_eq!(dump.len(), 3);
    for (part, are_secrets) in dump.iter().zip([false, true, false]) {
        assert!(kinds(part).iter().all(|is_secret| *is_secret == are_secrets), "{part}");
    }

    let other = Api::new();
    other.node.make_key();
    other.post("/v1/apply").json(dump[0].clone()).send().await.expect(200);
    let refused = other.post("/v1/apply").json(dump[1].clone()).send().await.problem(422, "invalid");
    assert!(
        refused["detail"].as_str().unwrap().contains("Secret retail/a, Secret retail/signer"),
        "{refused}"
    );
    other.post("/v1/apply").json(secrets).send().await.expect(200);
    for part in &dump {
        other.post("/v1/apply").json(part.clone()).send().await.expect(200);
    }
    assert_eq!(dumped(&other).await, dump);
}
