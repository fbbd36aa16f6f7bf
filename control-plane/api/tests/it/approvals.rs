//! Proposals: changes of a guarded Environment, which a second owner approves.

use hanse_management::kinds::TokenRole;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

use crate::{answers::again, request::Api};

/// A guarded Environment `prod` with the Binding `orders-prod`; tokens `ann` and `bob` of admins, and of publishers.
async fn guarded() -> Api {
    let api = Api::furnished().await;
    let resources = json!({"resources": [
        {"kind": "Organization", "name": "shop", "spec": {}},
        {"kind": "Environment", "name": "prod", "spec": {"regions": ["eu"], "approval": {"expiresAfter": "1h"}}},
    ]});
    api.post("/v1/apply").json(resources).send().await.expect(200);
    for name in ["ann", "bob"] {
        api.node.add_token_of(name, TokenRole::Admin, None);
    }
    api.node.add_token_of("ci", TokenRole::Publisher, Some("default"));
    api.node.add_token_of("shop", TokenRole::Publisher, Some("shop"));
    api.node.add_token_of("looker", TokenRole::Viewer, Some("default"));
    api
}

/// The Binding with another field.
fn binding() -> Value {
    json!({"resources": [{"kind": "Binding", "name": "orders-prod",
        "spec": {"api": "orders", "environment": "prod", "upstream": "backend", "regions": {"names": ["eu"]}}}]})
}

async fn propose(api: &Api, token: &str, body: Value) -> u64 {
    let call = api.post("/v1/apply?propose=release+42").token(token).json(body);
    let proposed = call.send().await.expect(202);
    assert_eq!(again::<hanse_api::answer::Proposal>(&proposed.json).to_string(), proposed.text);
    proposed.json["number"].as_u64().unwrap()
}

#[tokio::test]
async fn a_change_of_a_guarded_environment_is_refused_with_what_to_do() {
    let api = guarded().await;
    let grant = json!({"spec": {"environments": ["prod"], "host": "a.example", "organization": "default"}});
    let before = api.node.revision();
    let put = api.put("/v1/host-grants/new").json(grant).send().await.problem(409, "approval-needed");
    assert_eq!(put["detail"], "a change of Environment prod needs the approval of a second owner");
    assert!(put["remedy"].as_str().unwrap().contains("POST /v1/apply?propose=REASON"), "{put}");
    api.delete("/v1/organizations/default/bindings/orders-prod").send().await.problem(409, "approval-needed");
    api.delete("/v1/organizations/default/apis/orders?cascade=true")
        .send()
        .await
        .problem(409, "approval-needed");
    api.post("/v1/apply").json(binding()).send().await.problem(409, "approval-needed");
    // A dry run tells what would be done, and that it needs an approval.
    let tried = api.post("/v1/apply?dryRun=true").json(binding()).send().await.expect(200).json;
    assert_eq!(
        (&tried["needsApproval"], &tried["changes"][0]["action"]),
        (&json!(["prod"]), &json!("updated"))
    );
    let gone =
        api.delete("/v1/organizations/default/apis/orders?cascade=true&dryRun=true").send().await.expect(200);
    assert_eq!(gone.json["needsApproval"], json!(["prod"]));
    let free = json!({"resources": [{"kind": "Plan", "name": "gold", "spec": {}}]});
    let tried = api.post("/v1/apply?dryRun=true").json(free.clone()).send().await.expect(200).json;
    assert_eq!(tried.get("needsApproval"), None);
    // What is proposed must need it, and says why.
    let unsaid = api.post("/v1/apply?propose=x").json(binding()).send().await.problem(403, "forbidden");
    assert!(unsaid["detail"].as_str().unwrap().ends_with("does not say its owner"), "{unsaid}");
    let post = async |query: &str, body: Value| {
        api.post(&format!("/v1/apply?{query}")).token("ann-secret").json(body).send().await
    };
    post("propose=x&prune=true&selector=a=b", binding()).await.problem(400, "bad-request");
    post("propose=x", free).await.problem(409, "conflict");
    post("propose=", binding()).await.problem(422, "invalid");
    post("propose=x&dryRun=true", binding()).await.problem(400, "bad-request");
    let unsound = json!({"resources": [{"kind": "Binding", "name": "b", "spec": {"api": "none", "environment": "prod"}}]});
    post("propose=x", unsound).await.problem(422, "missing-reference");
    assert_eq!(api.node.revision(), before);
}

#[tokio::test]
async fn a_proposal_is_shown_approved_and_told() {
    let api = guarded().await;
    let number = propose(&api, "ann-secret", binding()).await;
    let listed = api.get("/v1/approvals").send().await.expect(200);
    assert_eq!(again::<hanse_api::answer::Proposals>(&listed.json).to_string(), listed.text);
    let item = &listed.json["items"][0];
    assert_eq!(
        (&item["owner"], &item["token"], &item["reason"]),
        (&json!("ann"), &json!("ann"), &json!("release 42"))
    );
    assert_eq!((&item["environments"], &item["expires"]), (&json!(["prod"]), &json!("2023-11-14T23:13:20Z")));
    assert_eq!(api.get("/v1/status").send().await.expect(200).json["proposals"], 1);
    let path = format!("/v1/approvals/{number}");
    let shown = api.get(&path).send().await.expect(200);
    assert_eq!(again::<hanse_api::answer::Proposal>(&shown.json).to_string(), shown.text);
    let change = &shown.json["changes"][0];
    assert_eq!((&change["kind"], &change["action"]), (&json!("Binding"), &json!("updated")));
    assert_eq!(change["after"], json!({"/spec/regions/names": ["eu"]}));
    assert_eq!(shown.json.get("refused"), None);
    let serves = |api_revision: &str, region: &str| json!({"region": region, "apiRevision": api_revision, "upstream": "backend"});
    let serving = &shown.json["serves"][0];
    assert_eq!(
        (&serving["binding"], &serving["after"]["environment"]),
        (&json!("orders-prod"), &json!("prod"))
    );
    assert_eq!(serving["after"]["lifecycle"], "published");
    assert_eq!(serving["after"]["regions"], json!([serves("orders-r1", "eu")]));

    let own = api.post(&format!("{path}/approve")).token("ann-secret").send().await.problem(403, "forbidden");
    assert!(own["detail"].as_str().unwrap().starts_with("ann proposed it"), "{own}");
    let approve = || api.post(&format!("{path}/approve")).token("bob-secret").header("idempotency-key", "a");
    let approved = approve().send().await.expect(200);
    assert_eq!(approved.json["changes"][0]["action"], "updated");
    assert!(approved.json["scopes"].is_array());
    // The same request again is answered, and done once.
    let again = approve().send().await.expect(200);
    assert_eq!(again.json["revision"], approved.json["revision"]);
    api.post(&format!("{path}/approve")).token("bob-secret").send().await.problem(404, "not-found");
    api.get(&path).send().await.problem(404, "not-found");
    assert_eq!(api.get("/v1/status").send().await.expect(200).json.get("proposals"), None);
    let told = api.get("/v1/audit").send().await.expect(200).json;
    let last = told["items"].as_array().unwrap().last().unwrap();
    let digest = last["what"].as_str().unwrap().rsplit("; ").next().unwrap();
    assert_eq!(digest.len(), "effects sha256:".len() + 64);
    assert_eq!(
        (&last["what"], &last["owner"]),
        (&json!(format!("approve 1 proposed by ann (token ann): release 42; {digest}")), &json!("bob"))
    );
    assert_eq!(last["changes"][0]["name"], "orders-prod");
}

#[tokio::test]
async fn a_proposal_under_a_key_is_made_once() {
    let api = guarded().await;
    let propose = async |reason: &str| {
        let call = api
            .post(&format!("/v1/apply?propose={reason}"))
            .token("ann-secret")
            .header("idempotency-key", "k");
        call.json(binding()).send().await
    };
    let first = propose("x").await.expect(202);
    assert_eq!(propose("x").await.expect(202).json["number"], first.json["number"]);
    propose("y").await.problem(422, "key-reused");
    assert_eq!(api.get("/v1/approvals").send().await.expect(200).json["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_organization_sees_and_decides_its_own_proposals_only() {
    let api = guarded().await;
    let own = propose(&api, "ci-secret", binding()).await;
    let mut wide = binding();
    wide["resources"]
        .as_array_mut()
        .unwrap()
        .push(json!({"kind": "Plan", "organization": "shop", "name": "new", "spec": {}}));
    let wide = propose(&api, "ann-secret", wide).await;
    let seen = async |token: &str| {
        let listed = api.get("/v1/approvals").token(token).send().await.expect(200).json;
        let numbers = listed["items"].as_array().unwrap().iter().map(|item| item["number"].as_u64().unwrap());
        numbers.collect::<Vec<_>>()
    };
    assert_eq!(seen("ann-secret").await, [own, wide]);
    assert_eq!(seen("ci-secret").await, [own]);
    assert_eq!(seen("looker-secret").await, [own]);
    assert_eq!(seen("shop-secret").await, [0_u64; 0]);
    assert_eq!(
        api.get("/v1/status").token("shop-secret").send().await.expect(200).json.get("proposals"),
        None
    );
    // What is there answers as what is not.
    for (number, token) in
        [(own, "shop-secret"), (wide, "shop-secret"), (wide, "ci-secret"), (wide, "looker-secret")]
    {
        api.get(&format!("/v1/approvals/{number}")).token(token).send().await.problem(404, "not-found");
        if token != "looker-secret" {
            for what in ["approve", "reject"] {
                let call = api.post(&format!("/v1/approvals/{number}/{what}")).token(token);
                call.send().await.problem(404, "not-found");
            }
        }
    }
    api.get(&format!("/v1/approvals/{own}")).token("looker-secret").send().await.expect(200);
    api.post(&format!("/v1/approvals/{own}/approve"))
        .token("looker-secret")
        .send()
        .await
        .problem(403, "forbidden");
    api.post("/v1/approvals/x/approve").send().await.problem(400, "bad-request");
    api.post("/v1/approvals/77/reject").send().await.problem(404, "not-found");
    // Withdrawn, and rejected with a reason.
    api.post(&format!("/v1/approvals/{own}/reject")).token("ci-secret").send().await.expect(200);
    let call = api.post(&format!("/v1/approvals/{wide}/reject?reason=not+on+a+Friday")).token("bob-secret");
    call.send().await.expect(200);
    let told = api.get("/v1/audit").send().await.expect(200).json.to_string();
    assert!(told.contains("; rejected: not on a Friday"), "{told}");
}

#[tokio::test]
async fn what_came_in_between_is_told_before_and_at_the_approval() {
    let api = guarded().await;
    let mut body = binding();
    body["resources"]
        .as_array_mut()
        .unwrap()
        .push(json!({"kind": "Plan", "name": "gold", "spec": {"displayName": "Gold"}}));
    let number = propose(&api, "ann-secret", body).await;
    api.put("/v1/organizations/default/plans/gold").json(json!({"spec": {}})).send().await.expect(201);
    let shown = api.get(&format!("/v1/approvals/{number}")).send().await.expect(200).json;
    assert_eq!(shown["refused"]["type"], "urn:hanse:problem:stale");
    assert_eq!((&shown["changes"][1]["name"], shown["changes"][1].get("after")), (&json!("gold"), None));
    let call = api.post(&format!("/v1/approvals/{number}/approve")).token("bob-secret");
    let problem = call.send().await.problem(412, "stale");
    assert!(
        problem["detail"].as_str().unwrap().contains("Plan default/gold was changed meanwhile"),
        "{problem}"
    );
    // And not after it expired.
    let other = propose(&api, "ann-secret", binding()).await;
    api.node.now_ms.fetch_add(3_600_000, Ordering::SeqCst);
    let expired = api.get(&format!("/v1/approvals/{other}")).send().await.expect(200).json;
    assert!(expired["refused"]["detail"].as_str().unwrap().contains("expired at"), "{expired}");
    assert_eq!(api.get("/v1/approvals").send().await.expect(200).json["items"], json!([]));
    let call = api.post(&format!("/v1/approvals/{other}/approve")).token("bob-secret");
    call.send().await.problem(409, "conflict");
}

/// No secret is shown: a proposal that also makes a token shows no digest of it.
#[tokio::test]
async fn a_proposal_shows_no_secret() {
    let api = guarded().await;
    let digest = hanse_management::Digest::of(b"secret").to_string();
    let mut body = binding();
    let token = json!({"kind": "Token", "name": "new", "spec": {"role": "viewer", "digest": digest}});
    body["resources"].as_array_mut().unwrap().push(token);
    let number = propose(&api, "ann-secret", body).await;
    for path in ["/v1/approvals".to_owned(), format!("/v1/approvals/{number}")] {
        let shown = api.get(&path).send().await.expect(200).text;
        assert!(shown.contains("Token") && !shown.contains(&digest), "{shown}");
    }
}

/// Data of a Secret is stored sealed with the proposal, and sealed data is refused from callers.
#[tokio::test]
async fn a_proposal_with_data_of_a_secret_is_shown_and_approved() {
    let api = guarded().await;
    api.node.make_key();
    let mut body = binding();
    let spec = json!({"type": "opaque", "data": {"password": "private-90210"}});
    body["resources"].as_array_mut().unwrap().push(json!({"kind": "Secret", "name": "s", "spec": spec}));
    let number = propose(&api, "ann-secret", body).await;
    let shown = api.get(&format!("/v1/approvals/{number}")).send().await.expect(200);
    assert_eq!(shown.json.get("refused"), None, "{}", shown.text);
    assert!(shown.text.contains("Secret") && !shown.text.contains("private-90210"), "{}", shown.text);
    let call = api.post(&format!("/v1/approvals/{number}/approve")).token("bob-secret");
    call.send().await.expect(200);
    let secret = api.get("/v1/organizations/default/secrets/s").send().await.expect(200).json;
    assert_eq!(secret["spec"]["data"], json!({"password": {"sealed": true}}));
}

/// The Upstream that a proposed Binding would use is moved by one owner.
#[tokio::test]
async fn what_a_binding_would_serve_is_part_of_what_is_approved() {
    let api = guarded().await;
    let canary = |port: u16| json!({"spec": {"endpoints": [{"url": format!("http://10.0.0.9:{port}")}]}});
    let path = "/v1/organizations/default/upstreams/canary";
    api.put(path).json(canary(8080)).send().await.expect(201);
    let moved = json!({"resources": [{"kind": "Binding", "name": "orders-prod",
        "spec": {"api": "orders", "environment": "prod", "upstream": "canary"}}]});
    let number = propose(&api, "ci-secret", moved).await;
    let shown = api.get(&format!("/v1/approvals/{number}")).send().await.expect(200).json;
    let upstream = |side: &str| shown["serves"][0][side]["regions"][0]["upstream"].clone();
    assert_eq!((upstream("before"), upstream("after")), (json!("backend"), json!("canary")), "{shown}");
    let mut other = canary(6666);
    other["kind"] = "Upstream".into();
    other["name"] = "canary".into();
    api.post("/v1/apply").token("ci-secret").json(json!({"resources": [other]})).send().await.expect(200);
    let shown = api.get(&format!("/v1/approvals/{number}")).send().await.expect(200).json;
    assert_eq!(shown["refused"]["type"], "urn:hanse:problem:stale");
    assert_eq!(shown.get("serves"), None);
    let call = api.post(&format!("/v1/approvals/{number}/approve")).token("bob-secret");
    let problem = call.send().await.problem(412, "stale");
    assert!(
        problem["detail"].as_str().unwrap().ends_with("orders-prod would serve something else"),
        "{problem}"
    );
}

/// What an admin expects of another organization is not told to this one.
#[tokio::test]
async fn a_proposal_that_names_others_is_not_shown() {
    let api = guarded().await;
    let plan =
        api.put("/v1/organizations/shop/plans/gold").json(json!({"spec": {}})).send().await.expect(201);
    let mut body = binding();
    body["expects"] =
        json!([{"kind": "Plan", "organization": "shop", "name": "gold", "revision": plan.json["revision"]}]);
    let number = propose(&api, "ann-secret", body).await;
    for what in ["", "/approve", "/reject"] {
        let path = format!("/v1/approvals/{number}{what}");
        let call = if what.is_empty() { api.get(&path) } else { api.post(&path) };
        call.token("ci-secret").send().await.problem(404, "not-found");
    }
    api.get(&format!("/v1/approvals/{number}")).token("bob-secret").send().await.expect(200);
}
