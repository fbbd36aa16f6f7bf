use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::request::{Api, orders};

fn region(name: &str, origin: &str) -> Value {
    json!({"kind": "Region", "name": name, "labels": {"origin": origin}, "spec": {"provider": "cloud"}})
}

fn actions(answer: &Value) -> Vec<String> {
    let word = |change: &Value, member: &str| change[member].as_str().unwrap_or("-").to_owned();
    let line = |change: &Value| {
        format!(
            "{} {}/{} {}",
            word(change, "kind"),
            word(change, "organization"),
            word(change, "name"),
            word(change, "action")
        )
    };
    answer["changes"].as_array().unwrap().iter().map(line).collect()
}

const MANIFEST: &str = "\
kind: Api
name: orders
spec:
  context: /orders/v2
  version: '2'
  operations: [{method: GET, path: '/orders/{id}'}]
---
kind: Plan
name: gold
spec: {rate: {requests: 5000, per: minute}}
";

#[tokio::test]
async fn yaml_documents_are_applied_in_one_revision() {
    let api = Api::furnished().await;
    let before = api.node.revision();
    for content_type in ["application/yaml", "application/x-yaml", "text/yaml", "text/plain; charset=utf-8"] {
        let answer = api.post("/v1/apply").body(content_type, MANIFEST).send().await.expect(200);
        assert_eq!(answer.json["revision"], before + 1, "the later ones change nothing");
        assert_eq!(answer.revision(), before + 1);
    }
    let answer = api.post("/v1/apply").yaml(MANIFEST).send().await.expect(200);
    assert_eq!(actions(&answer.json), ["Api default/orders unchanged", "Plan default/gold unchanged"]);
    assert_eq!(answer.json["scopes"], json!([]), "what changed nothing touches no scope");
}

#[tokio::test]
async fn an_apply_says_what_it_did_to_scopes() {
    let api = Api::furnished().await;
    let answer = api.post("/v1/apply").yaml(MANIFEST).send().await.expect(200);
    let made = actions(&answer.json);
    assert!(made.contains(&"Api default/orders updated".to_owned()), "{made:?}");
    assert!(made.contains(&"ApiRevision default/orders-r2 created".to_owned()), "{made:?}");
    let scope = &answer.json["scopes"][0];
    assert_eq!((&scope["region"], &scope["environment"]), (&json!("eu"), &json!("prod")));
    assert!(scope["upserts"].as_u64().unwrap() >= 1, "{scope}");
}

#[tokio::test]
async fn all_or_nothing() {
    let api = Api::furnished().await;
    let before = api.node.revision();
    let answer = api.post("/v1/apply").json(json!({"resources": [
        {"kind": "Plan", "name": "gold", "spec": {}},
        {"kind": "Binding", "name": "b", "spec": {"api": "orders", "environment": "nowhere", "upstream": "backend"}},
    ]}));
    let problem = answer.send().await.problem(422, "missing-reference");
    assert!(problem["detail"].as_str().unwrap().contains("nowhere"), "{problem}");
    let remedy = "there is prod; create Environment nowhere first, or in the same command";
    assert_eq!(problem["remedy"], remedy);
    assert_eq!(api.node.revision(), before);
    api.get("/v1/organizations/default/plans/gold").send().await.problem(404, "not-found");
}

#[tokio::test]
async fn a_dry_run_says_the_same_and_changes_nothing() {
    let api = Api::furnished().await;
    let before = api.node.revision();
    for flag in ["dryRun", "dryRun=true"] {
        let tried = api.post(&format!("/v1/apply?{flag}")).yaml(MANIFEST).send().await.expect(200);
        assert_eq!((tried.json["dryRun"].as_bool(), tried.revision()), (Some(true), before));
        assert_eq!((api.node.revision(), api.node.proposed.lock().unwrap().len()), (before, 1));
        assert!(tried.json["changes"][0].get("revision").is_none(), "{}", tried.text);
        assert!(tried.json["scopes"][0]["upserts"].as_u64().unwrap() >= 1, "{}", tried.text);
    }
    let tried = api.post("/v1/apply?dryRun").yaml(MANIFEST).send().await;
    let done = api.post("/v1/apply?dryRun=false").yaml(MANIFEST).send().await.expect(200);
    assert_eq!(actions(&tried.json), actions(&done.json));
    assert_eq!(tried.json["scopes"], done.json["scopes"]);
    assert_eq!(done.json.get("dryRun"), None);

    let bad = api.post("/v1/apply?dryRun").json(json!({"resources": [
        {"kind": "Plan", "name": "x", "organization": "nobody", "spec": {}}]}));
    let problem = bad.send().await.problem(422, "missing-reference");
    assert_eq!(
        problem["remedy"],
        "there is default; create Organization nobody first, or in the same command"
    );
}

#[tokio::test]
async fn what_does_not_hold_yet_is_told_with_the_answer() {
    let api = Api::furnished().await;
    let spec = |scopes: Value| {
        let operation = json!({"method": "GET", "path": "/", "scopes": scopes});
        json!({"context": "/scoped", "version": "1", "operations": [operation]})
    };
    let scoped = json!({"resources": [
        {"kind": "Api", "organization": "default", "name": "scoped", "spec": spec(json!(["read"]))}]});
    for path in ["/v1/apply?dryRun", "/v1/apply"] {
        let answer = api.post(path).json(scoped.clone()).send().await.expect(200);
        let warnings = answer.json["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), 1, "{}", answer.text);
        assert_eq!((&warnings[0]["kind"], &warnings[0]["name"]), (&json!("Api"), &json!("scoped")));
        assert_eq!(warnings[0]["field"], "spec.operations[].scopes");
    }
    let put = async |name: &str, scopes: Value| {
        let path = format!("/v1/organizations/default/apis/{name}");
        api.put(&path).json(json!({"spec": spec(scopes)})).send().await.expect(201)
    };
    let warned = put("other", json!(["read"])).await;
    let warning = warned.header("hanse-warning");
    assert!(warning.starts_with("spec.operations[].scopes: no gateway"), "{warned:?}");
    let plain = put("third", json!([])).await;
    assert_eq!(plain.header("hanse-warning"), "");
}

#[tokio::test]
async fn what_is_served_nowhere_is_told_with_the_answer() {
    let api = Api::furnished().await;
    let mut spec = orders("/orders");
    spec["hosts"] = json!(["orders.example"]);
    let apart = json!({"resources": [
        {"kind": "Environment", "name": "prod", "spec": {"regions": ["eu"], "hostnames": ["shop.example"]}},
        {"kind": "Api", "name": "orders", "spec": spec}]});
    for path in ["/v1/apply?dryRun", "/v1/apply", "/v1/apply"] {
        let answer = api.post(path).json(apart.clone()).send().await.expect(200);
        let warnings = answer.json["warnings"].as_array().unwrap();
        let told =
            |warning: &Value| ["kind", "organization", "name", "field"].map(|part| warning[part].clone());
        assert_eq!(
            warnings.iter().map(told).collect::<Vec<_>>(),
            [
                ["Api", "default", "orders", "spec.hosts[0]"],
                ["Binding", "default", "orders-prod", "spec.environment"]
            ],
            "{path}: {}",
            answer.text
        );
        assert_eq!(answer.json.get("warningsLeftOut"), None);
    }
    let binding = "/v1/organizations/default/bindings/orders-prod";
    let read = api.get(binding).send().await.expect(200);
    let warning = &read.json["status"]["warnings"][0];
    assert_eq!(warning["field"], "spec.environment");
    let detail = "served nowhere: r2 of Api orders is for orders.example, and Environment prod is for shop.example; add a \
                  host to one of them";
    assert_eq!(warning["detail"], detail);
    // It may be sent back as it was read.
    let same = api.put(binding).header("if-match", read.header("etag")).json(read.json.clone());
    let same = same.send().await.expect(200);
    assert_eq!(same.header("hanse-warning"), format!("spec.environment: {detail}"));
    assert_eq!(same.json["status"], read.json["status"]);
    let listed = api.get("/v1/organizations/default/bindings").send().await.expect(200);
    assert_eq!(listed.json["items"][0]["status"].get("warnings"), None);

    // A resource that is written tells of those that it leaves unserved.
    let empty = json!({"spec": {"regions": []}});
    let put = api.put("/v1/environments/prod").header("if-match", "*").json(empty).send().await.expect(200);
    assert_eq!(
        put.header("hanse-warning"),
        "Binding default/orders-prod: spec.environment: served nowhere: Environment prod has no region; add one to its `regions`"
    );
    let served = json!({"spec": {"regions": ["eu"]}});
    let put = api.put("/v1/environments/prod").header("if-match", "*").json(served).send().await.expect(200);
    assert_eq!(put.header("hanse-warning"), "");
    assert_eq!(api.get(binding).send().await.json["status"].get("warnings"), None);
}

#[tokio::test]
async fn an_answer_has_a_screen_of_warnings() {
    let api = Api::furnished().await;
    let many: Vec<Value> = (0..30)
        .flat_map(|number| {
            let name = format!("api-{number}");
            [
                json!({"kind": "Api", "name": name, "spec": orders(&format!("/{name}"))}),
                json!({"kind": "Binding", "name": name,
                    "spec": {"api": name, "environment": "prod", "upstream": "backend"}}),
            ]
        })
        .collect();
    let made = api.post("/v1/apply").json(json!({"resources": many})).send().await.expect(200);
    assert_eq!(made.json.get("warnings"), None);
    let empty = json!({"kind": "Environment", "name": "prod", "spec": {"regions": []}});
    let told = api.post("/v1/apply").json(json!({"resources": [empty]})).send().await.expect(200);
    assert_eq!(told.json["warnings"].as_array().unwrap().len(), 20);
    assert_eq!(told.json["warningsLeftOut"], 11);
}

#[tokio::test]
async fn what_gateways_could_not_use_is_not_proposed() {
    let api = Api::furnished().await;
    let proposed = api.node.proposed.lock().unwrap().len();
    let bad = json!({"resources": [{"kind": "Upstream", "name": "x", "spec": {
        "endpoints": [{"url": "https://a"}], "tls": {"serverName": "1.2.3"}}}]});
    for path in ["/v1/apply?dryRun", "/v1/apply"] {
        let problem = api.post(path).json(bad.clone()).send().await.problem(422, "invalid");
        assert_eq!(problem["field"], "Upstream default/x: spec.tls.serverName");
    }
    assert_eq!(api.node.proposed.lock().unwrap().len(), proposed);
}

#[tokio::test]
async fn items_may_name_the_revision_they_replace() {
    let api = Api::furnished().await;
    let etag = api.get("/v1/organizations/default/apis/orders").send().await.etag();
    let item = |revision: u64, context: &str| json!({"resources": [{"kind": "Api", "name": "orders", "revision": revision, "spec": orders(context)}]});
    api.post("/v1/apply").json(item(etag + 7, "/a")).send().await.problem(412, "stale");
    api.post("/v1/apply").json(item(etag, "/a")).send().await.expect(200);
    api.post("/v1/apply").json(item(etag, "/b")).send().await.problem(412, "stale");
}

#[tokio::test]
async fn resources_that_name_no_organization_get_the_requests() {
    let api = Api::furnished().await;
    api.put("/v1/organizations/shop").json(json!({"spec": {}})).send().await.expect(201);
    let plan = json!({"resources": [{"kind": "Plan", "name": "gold", "spec": {}}]});
    api.post("/v1/apply?organization=shop").json(plan.clone()).send().await.expect(200);
    api.get("/v1/organizations/shop/plans/gold").send().await.expect(200);
    api.get("/v1/organizations/default/plans/gold").send().await.expect(404);
    let problem = api.post("/v1/apply?organization=No").json(plan).send().await.problem(400, "bad-request");
    assert_eq!(problem["field"], "query: organization");
}

#[tokio::test]
async fn prune_deletes_only_what_its_selector_and_the_request_allow() {
    let api = Api::furnished().await;
    let resources = json!({"resources": [region("a", "git"), region("b", "git"), region("c", "hand"),
        {"kind": "Plan", "name": "gold", "labels": {"origin": "git"}, "spec": {}}]});
    api.post("/v1/apply").json(resources).send().await.expect(200);

    let only_a = json!({"resources": [region("a", "git")]});
    let path = "/v1/apply?prune&selector=origin=git";
    let tried = api.post(&format!("{path}&dryRun")).json(only_a.clone()).send().await.expect(200);
    let expected = ["Region -/a unchanged", "Region -/b deleted"];
    assert_eq!(actions(&tried.json), expected);
    let done = api.post(path).json(only_a.clone()).send().await.expect(200);
    assert_eq!(
        actions(&done.json),
        expected,
        "regions of other labels stay, and so do plans, which are not mentioned"
    );
    for left in ["/v1/regions/a", "/v1/regions/c", "/v1/organizations/default/plans/gold"] {
        api.get(left).send().await.expect(200);
    }
    let again = api.post(path).json(only_a).send().await.expect(200);
    assert_eq!(actions(&again.json), ["Region -/a unchanged"]);
}

#[tokio::test]
async fn prune_stays_within_the_organizations_mentioned() {
    let api = Api::furnished().await;
    api.put("/v1/organizations/shop").json(json!({"spec": {}})).send().await.expect(201);
    let plan = |organization: &str, name: &str| json!({"kind": "Plan", "name": name, "organization": organization, "labels": {"origin": "git"}, "spec": {}});
    let resources = json!({"resources": [plan("default", "old"), plan("shop", "old")]});
    api.post("/v1/apply").json(resources).send().await.expect(200);
    let new = json!({"resources": [plan("default", "new")]});
    let done = api.post("/v1/apply?prune&selector=origin=git").json(new).send().await.expect(200);
    assert_eq!(actions(&done.json), ["Plan default/new created", "Plan default/old deleted"]);
    api.get("/v1/organizations/shop/plans/old").send().await.expect(200);
}

#[tokio::test]
async fn prune_needs_to_be_told_what_it_may_delete() {
    let api = Api::furnished().await;
    let body = || json!({"resources": [region("a", "git")]});
    for query in [
        "prune",
        "prune&selector=",
        "selector=origin=git",
        "prune&selector=origin",
        "prune=false&selector=a=b",
    ] {
        let problem =
            api.post(&format!("/v1/apply?{query}")).json(body()).send().await.problem(400, "bad-request");
        assert_eq!(problem["field"], "query: selector", "{query}");
    }
    let call = api.post("/v1/apply?prune&selector=a=b").header("idempotency-key", "k");
    assert_eq!(
        call.json(body()).send().await.problem(400, "bad-request")["field"],
        "header: Idempotency-Key"
    );
}

#[tokio::test(start_paused = true)]
async fn a_committed_change_is_answered_even_if_the_projection_hangs() {
    let api = Api::furnished().await;
    api.node.projecting.store(false, Ordering::SeqCst);
    let answer = api.post("/v1/apply").yaml(MANIFEST).send().await.expect(200);
    assert_eq!(answer.json["revision"], api.node.revision());
    assert_eq!(answer.json.get("scopes"), None);
}

#[tokio::test]
async fn an_apply_deletes_at_revisions_and_rests_on_others() {
    let api = Api::furnished().await;
    let one = json!({"kind": "Plan", "name": "one", "spec": {}});
    let etag = api.get("/v1/organizations/default/apis/orders").send().await.etag();
    let made = api.post("/v1/apply").json(json!({"resources": [one.clone()]})).send().await.expect(200);
    let revision = made.json["revision"].as_u64().unwrap();
    let request = |at: u64, orders: u64, latest: u64| {
        json!({"resources": [{"kind": "Plan", "name": "two", "spec": {}}],
            "delete": [{"kind": "Plan", "name": "one", "revision": at}],
            "expects": [{"kind": "Api", "name": "orders", "revision": orders, "apiRevision": latest}]})
    };
    for stale in [
        request(revision - 1, etag, 1),
        request(revision, etag + 1, 1),
        request(revision, etag, 9),
        request(revision, etag, 0),
    ] {
        api.post("/v1/apply").json(stale).send().await.problem(412, "stale");
    }
    let done = api.post("/v1/apply").json(request(revision, etag, 1)).send().await.expect(200);
    assert_eq!(actions(&done.json), ["Plan default/two created", "Plan default/one deleted"]);
    api.get("/v1/organizations/default/plans/one").send().await.expect(404);

    // A request that only deletes is one, too.
    let two = json!({"resources": [], "delete": [{"kind": "Plan", "name": "two", "revision": done.json["revision"]}]});
    api.post("/v1/apply").json(two).send().await.expect(200);

    let check = async |body: Value, field: &str| {
        let problem = api.post("/v1/apply").json(body).send().await.problem(422, "invalid");
        assert_eq!(problem["field"], field);
    };
    check(json!({"resources": [], "delete": [{"kind": "Plan", "name": "two"}]}), "delete, item 1: revision")
        .await;
    let odd = json!({"resources": [], "delete": [{"kind": "Plan", "name": "two", "revision": 1, "apiRevision": 1}]});
    check(odd, "delete, item 1: apiRevision").await;
    check(json!({"resources": [], "expects": {}, "delete": []}), "expects").await;
    let plan = json!({"kind": "Plan", "name": "two", "revision": 1, "apiRevision": 1});
    check(json!({"resources": [], "expects": [plan]}), "expects, item 1: apiRevision").await;
    check(json!({"resources": [one], "expects": [{"kind": "Nix"}]}), "expects, item 1: kind").await;
}
