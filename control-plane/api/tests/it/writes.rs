use std::sync::atomic::Ordering;

use serde_json::json;

use crate::request::{Api, orders};

const ORDERS: &str = "/v1/organizations/default/apis/orders";

#[tokio::test]
async fn put_creates_then_replaces_what_it_names() {
    let api = Api::furnished().await;
    let path = "/v1/organizations/default/plans/gold";
    let gold = |requests: u64| json!({"spec": {"rate": {"requests": requests, "per": "minute"}}});

    let created = api.put(path).json(gold(5000)).send().await.expect(201);
    assert_eq!(created.json["spec"]["rate"]["requests"], 5000);
    assert_eq!((created.etag(), created.revision()), (api.node.revision(), api.node.revision()));
    let etag = created.header("etag").to_owned();

    let unguarded = api.put(path).json(gold(6000)).send().await.problem(428, "precondition-required");
    insta::assert_json_snapshot!(unguarded, @r#"
    {
      "type": "urn:hanse:problem:precondition-required",
      "title": "A replacement must say what it replaces",
      "status": 428,
      "detail": "Plan default/gold exists; replacing it needs If-Match",
      "field": "header: If-Match",
      "remedy": "get it and send its ETag as If-Match"
    }
    "#);

    let replaced = api.put(path).header("if-match", &etag).json(gold(6000)).send().await.expect(200);
    assert!(replaced.etag() > created.etag());
    assert_eq!(replaced.json["spec"]["rate"]["requests"], 6000);
    assert_eq!(replaced.json["createdAt"], created.json["createdAt"]);

    let stale = api.put(path).header("if-match", &etag).json(gold(7000)).send().await.problem(412, "stale");
    insta::assert_json_snapshot!(stale, @r#"
    {
      "type": "urn:hanse:problem:stale",
      "title": "The resource has changed meanwhile",
      "status": 412,
      "detail": "Plan default/gold is at revision 5, not 4: it was changed since",
      "field": "Plan default/gold: revision",
      "remedy": "read it again and repeat the change on what is there now"
    }
    "#);
    assert_eq!(api.get(path).send().await.json["spec"]["rate"]["requests"], 6000);

    // What was read can be sent back, and changes nothing.
    let read = api.get(path).send().await;
    let same = api
        .put(path)
        .header("if-match", read.header("etag"))
        .json(read.json.clone())
        .send()
        .await
        .expect(200);
    assert_eq!((same.etag(), same.revision()), (read.etag(), api.node.revision()));
}

#[tokio::test]
async fn preconditions_of_a_put() {
    let api = Api::furnished().await;
    let now = api.get(ORDERS).send().await.etag();
    let check = async |path: &str, headers: &[(&'static str, &str)], status: u16| {
        let mut call = api.put(path).json(json!({"spec": orders("/orders")}));
        for (name, value) in headers {
            call = call.header(name, value);
        }
        let answer = call.send().await;
        assert_eq!(answer.status.as_u16(), status, "{path} {headers:?}: {}", answer.text);
    };
    let (exact, several) = (format!("\"{now}\""), format!("\"1\", \"{now}\""));
    check(ORDERS, &[("if-match", &exact)], 200).await;
    check(ORDERS, &[("if-match", "*")], 200).await;
    check(ORDERS, &[("if-match", &several)], 200).await;
    check(ORDERS, &[("if-match", "\"1\", \"2\"")], 412).await;
    check(ORDERS, &[("if-match", "\"1\"")], 412).await;
    check(ORDERS, &[("if-match", &format!("W/{exact}"))], 412).await;
    check(ORDERS, &[("if-match", &now.to_string())], 400).await;
    check(ORDERS, &[("if-none-match", "*")], 412).await;
    check(ORDERS, &[("if-none-match", &exact)], 400).await;
    check(ORDERS, &[("if-none-match", "*"), ("if-match", "*")], 400).await;
    check(ORDERS, &[("if-match", "*"), ("idempotency-key", "k")], 400).await;

    let absent = "/v1/organizations/default/apis/absent";
    check(absent, &[("if-match", &exact)], 412).await;
    check(absent, &[("if-match", "*")], 412).await;
}

#[tokio::test]
async fn whatever_is_there_is_replaced_though_it_changes_meanwhile() {
    let check = async |rivals: u64, status: u16| {
        let api = Api::furnished().await;
        let mut left = rivals;
        *api.node.rival.lock().unwrap() = Some(Box::new(move |node| {
            if left > 0 {
                left -= 1;
                node.run(rewrite_orders(&format!("rival-{left}")));
            }
        }));
        let call = api.put(ORDERS).header("if-match", "*");
        call.json(json!({"spec": orders("/mine")})).send().await.expect(status);
    };
    check(0, 200).await;
    check(2, 200).await;
    check(100, 412).await;
}

fn rewrite_orders(version: &str) -> hanse_state::CommandBody {
    let mut spec = orders("/orders");
    spec["version"] = version.into();
    let organization = hanse_topology::Name::new("default").unwrap();
    let resource = json!({"kind": "Api", "name": "orders", "spec": spec});
    let manifest = hanse_management::manifest::from_json(&resource, &organization).unwrap();
    hanse_state::CommandBody::Apply(vec![manifest.into()])
}

#[tokio::test]
async fn if_none_match_creates_and_never_replaces() {
    let api = Api::new();
    let put = async || {
        let call = api.put("/v1/organizations/shop").header("if-none-match", "*");
        call.json(json!({"spec": {}})).send().await
    };
    put().await.expect(201);
    let problem = put().await.problem(412, "stale");
    assert_eq!(problem["field"], "header: If-None-Match");
}

#[tokio::test]
async fn the_body_must_agree_with_the_path() {
    let api = Api::furnished().await;
    let check = async |body: serde_json::Value, status: u16| {
        let answer = api.put("/v1/organizations/default/plans/p").json(body.clone()).send().await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.text);
        if status == 201 {
            api.delete("/v1/organizations/default/plans/p").send().await.expect(200);
        }
    };
    check(json!({"spec": {}}), 201).await;
    check(
        json!({"kind": "Plan", "name": "p", "organization": "default", "labels": {"a": "b"}, "spec": {}}),
        201,
    )
    .await;
    check(json!({"name": "q", "spec": {}}), 422).await;
    check(json!({"organization": "other", "spec": {}}), 422).await;
    check(json!({"kind": "Application", "spec": {}}), 422).await;
    check(json!([]), 400).await;

    let path = "/v1/organizations/default/plans/p";
    let created = api.put(path).json(json!({"spec": {}})).send().await.expect(201);
    let other = json!({"revision": 1, "spec": {}});
    let call = api.put(path).header("if-match", created.header("etag"));
    assert_eq!(call.json(other).send().await.problem(422, "invalid")["field"], "revision");
}

#[tokio::test]
async fn a_put_may_be_yaml() {
    let api = Api::furnished().await;
    let path = "/v1/organizations/default/plans/silver";
    let yaml = "kind: Plan\nname: silver\nspec: {rate: {requests: 2000, per: minute}}\n";
    api.put(path).yaml(yaml).send().await.expect(201);
    let two = format!("{yaml}---\n{}", yaml.replace("silver", "bronze"));
    api.put(path).yaml(&two).send().await.problem(400, "bad-request");
}

/// `new` is a revision that the same request makes, and a PUT makes none.
#[tokio::test]
async fn a_put_takes_no_new_revision() {
    let api = Api::furnished().await;
    let binding = json!({"spec": {"api": "orders", "environment": "prod", "revision": "new"}});
    let call = api.put("/v1/organizations/default/bindings/orders-prod");
    assert_eq!(call.json(binding).send().await.problem(422, "invalid")["field"], "spec.revision");
}

#[tokio::test]
async fn deletes_honour_references_and_etags() {
    let api = Api::furnished().await;
    let used = api.delete("/v1/organizations/default/apis/orders").send().await.problem(409, "in-use");
    assert!(used["detail"].as_str().unwrap().contains("Binding default/orders-prod"), "{used}");

    api.delete(ORDERS).header("if-match", "\"1\"").send().await.problem(412, "stale");
    let etag = api.get(ORDERS).send().await.header("etag").to_owned();
    // A dry run tells what would go, and at which revision it is.
    let cascade = format!("{ORDERS}?cascade=true");
    api.delete(&format!("{ORDERS}?dryRun=true")).send().await.problem(409, "in-use");
    api.delete(&format!("{cascade}&dryRun=true"))
        .header("if-match", "\"1\"")
        .send()
        .await
        .problem(412, "stale");
    let tried = api.delete(&format!("{cascade}&dryRun=true")).send().await.expect(200);
    assert_eq!((&tried.json["dryRun"], &tried.json["revision"]), (&json!(true), &json!(api.node.revision())));
    let tried = tried.json["changes"].as_array().unwrap();
    assert_eq!(tried.len(), 3);
    for change in tried {
        assert_eq!(change["action"], "deleted");
        assert!(change["revision"].as_u64().unwrap() <= api.node.revision(), "{change}");
    }
    assert_eq!(api.get(ORDERS).send().await.expect(200).header("etag"), etag, "it is still there");

    let call = api.delete(&cascade).header("if-match", &etag);
    let deleted = call.send().await.expect(200);
    assert_eq!(deleted.revision(), api.node.revision());
    assert_eq!(deleted.json["revision"], api.node.revision());
    let mut gone: Vec<String> = Vec::new();
    for change in deleted.json["changes"].as_array().unwrap() {
        assert_eq!(change["action"], "deleted");
        gone.push(format!("{} {}", change["kind"].as_str().unwrap(), change["name"].as_str().unwrap()));
    }
    gone.sort();
    assert_eq!(gone, ["Api orders", "ApiRevision orders-r1", "Binding orders-prod"]);
    api.delete(ORDERS).send().await.problem(404, "not-found");
    api.delete("/v1/regions/eu").header("if-none-match", "*").send().await.problem(400, "bad-request");
}

#[tokio::test]
async fn revisions_of_apis_are_read_only() {
    let api = Api::furnished().await;
    for method in ["PUT", "DELETE"] {
        let path = "/v1/organizations/default/api-revisions/orders-r1";
        let answer = api.call(method, path).json(json!({"spec": {}})).send().await;
        assert_eq!(answer.header("allow"), "GET,HEAD");
        let problem = answer.problem(405, "bad-request");
        assert!(problem["remedy"].as_str().unwrap().contains("change the Api"), "{problem}");
    }
}

#[tokio::test]
async fn an_idempotency_key_gives_the_same_answer_once_more() {
    let api = Api::furnished().await;
    let put = async |name: &str, key: &str| {
        let call = api.put(&format!("/v1/organizations/default/plans/{name}")).header("idempotency-key", key);
        call.json(json!({"spec": {}})).send().await
    };
    let first = put("gold", "key-1").await.expect(201);
    let revision = api.node.revision();
    let again = put("gold", "key-1").await.expect(201);
    assert_eq!((again.etag(), again.json), (first.etag(), first.json));
    assert_eq!(api.node.revision(), revision);
    put("silver", "key-1").await.problem(422, "key-reused");
    put("gold", "key-2").await.problem(428, "precondition-required");
    put("bronze", &"k".repeat(128)).await.expect(201);
    let problem = put("iron", &"k".repeat(129)).await.problem(400, "bad-request");
    assert_eq!(problem["field"], "header: Idempotency-Key");
}

#[tokio::test]
async fn an_answer_is_of_its_own_write_even_if_others_came_after() {
    let api = Api::furnished().await;
    let path = "/v1/organizations/default/plans/gold";
    let gold = |requests: u64| json!({"spec": {"rate": {"requests": requests, "per": "minute"}}});
    let first = api.put(path).header("idempotency-key", "a").json(gold(1)).send().await.expect(201);
    let call = api.put(path).header("if-match", first.header("etag"));
    call.json(gold(2)).send().await.expect(200);
    let again = api.put(path).header("idempotency-key", "a").json(gold(1)).send().await.expect(201);
    assert_eq!(again.etag(), first.etag());
    assert_eq!(again.json["spec"]["rate"]["requests"], 1);
    assert_eq!(again.json["revision"], first.etag());
}

#[tokio::test]
async fn commands_say_who_when_and_under_which_id() {
    let api = Api::new();
    let call = api.put("/v1/organizations/shop").header("x-request-id", "deploy-7");
    let answer = call.json(json!({"spec": {}})).send().await.expect(201);
    assert_eq!(answer.header("x-request-id"), "deploy-7");
    let proposed = api.node.proposed.lock().unwrap();
    let command = proposed.last().unwrap();
    assert_eq!((command.actor.as_str(), command.request_id.as_str()), ("root", "deploy-7"));
    assert_eq!(command.time_ms, api.node.now_ms.load(Ordering::SeqCst));
}

#[tokio::test]
async fn without_a_quorum_writes_are_refused_and_nothing_happens() {
    let api = Api::furnished().await;
    let revision = api.node.revision();
    api.node.quorum.store(false, Ordering::SeqCst);
    api.put("/v1/organizations/shop").json(json!({"spec": {}})).send().await.problem(503, "no-quorum");
    api.put(ORDERS)
        .header("if-match", "*")
        .json(json!({"spec": orders("/o")}))
        .send()
        .await
        .problem(503, "no-quorum");
    api.delete(ORDERS).send().await.problem(503, "no-quorum");
    assert_eq!(api.node.revision(), revision);
}
