use std::{sync::atomic::Ordering, time::Duration};

use serde_json::json;

use crate::{node::SingleNode, request::Api};

#[tokio::test]
async fn a_resource_is_read_with_its_etag() {
    let api = Api::furnished().await;
    let answer = api.get("/v1/organizations/default/apis/orders").send().await.expect(200);
    assert_eq!(answer.json["kind"], "Api");
    assert_eq!(answer.json["organization"], "default");
    assert_eq!(answer.json["spec"]["context"], "/orders");
    assert_eq!(answer.json["revision"], answer.etag());
    assert_eq!(answer.revision(), api.node.revision());

    let etag = answer.header("etag").to_owned();
    let plan = "/v1/organizations/default/plans/p";
    let tag = api.put(plan).json(json!({"spec": {}})).send().await.expect(201).header("etag").to_owned();
    let unchanged = api.get(plan).header("if-none-match", &tag).send().await;
    assert_eq!((unchanged.status.as_u16(), unchanged.text.as_str()), (304, ""));
    assert_eq!(unchanged.header("etag"), tag);
    api.get(plan).header("if-none-match", "\"1\"").send().await.expect(200);

    let head = api.call("HEAD", "/v1/organizations/default/apis/orders").send().await.expect(200);
    assert_eq!((head.header("etag"), head.text.as_str()), (etag.as_str(), ""));
}

#[tokio::test]
async fn an_apis_status_moves_without_its_etag_and_is_always_shown() {
    const ORDERS: &str = "/v1/organizations/default/apis/orders";
    let api = Api::furnished().await;
    let policies = "/v1/organizations/default/policies/p";
    let headers = |value: &str| json!({"spec": {"headers": {"response": {"set": {"x-test": value}}}}});
    let policy = api.put(policies).json(headers("1")).send().await.expect(201);
    let mut spec = api.get(ORDERS).send().await.json["spec"].clone();
    spec["policies"] = json!(["p"]);
    api.put(ORDERS).header("if-match", "*").json(json!({"spec": spec})).send().await.expect(200);
    let before = api.get(ORDERS).send().await.expect(200);

    // The Policy makes a new revision of the Api; the Api itself does not change.
    let call = api.put(policies).header("if-match", policy.header("etag"));
    call.json(headers("2")).send().await.expect(200);
    let after = api.get(ORDERS).header("if-none-match", before.header("etag")).send().await.expect(200);
    assert_eq!(after.header("etag"), before.header("etag"));
    assert_ne!(after.json["status"], before.json["status"]);
}

#[tokio::test]
async fn every_kind_can_be_listed() {
    let api = Api::furnished().await;
    for kind in hanse_management::Kind::ALL {
        let path = match kind.is_global() {
            true => format!("/v1/{}", kind.plural()),
            false => format!("/v1/organizations/default/{}", kind.plural()),
        };
        let answer = api.get(&path).send().await.expect(200);
        assert_eq!(answer.json["revision"], api.node.revision());
        for item in answer.json["items"].as_array().unwrap() {
            assert_eq!(item["kind"], kind.as_str());
        }
    }
    let revisions = api.get("/v1/organizations/default/api-revisions").send().await;
    assert_eq!(revisions.json["items"].as_array().unwrap().len(), 1);
    assert_eq!(revisions.json["items"][0]["spec"]["number"], 1);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let api = Api::new();
    let regions: Vec<_> = (0..250)
        .map(|n| {
            let parity = if n % 2 == 0 { "even" } else { "odd" };
            json!({"kind": "Region", "name": format!("r{n:03}"), "labels": {"parity": parity}, "spec": {"provider": "cloud"}})
        })
        .collect();
    api.post("/v1/apply").json(json!({"resources": regions})).send().await.expect(200);

    let names = async |query: &str| {
        let (mut pages, mut names, mut more) = (0, Vec::new(), String::new());
        loop {
            let answer = api.get(&format!("/v1/regions?{query}{more}")).send().await.expect(200);
            let items = answer.json["items"].as_array().unwrap();
            names.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
            pages += 1;
            match answer.json["continue"].as_str() {
                Some(token) => more = format!("&continue={token}"),
                None => return (pages, names),
            }
        }
    };
    let all: Vec<String> = (0..250).map(|n| format!("r{n:03}")).collect();
    assert_eq!(names("").await, (3, all.clone()));
    assert_eq!(names("limit=1000").await, (1, all.clone()));
    assert_eq!(names("limit=125").await, (2, all.clone()));
    let odd: Vec<String> = all.iter().skip(1).step_by(2).cloned().collect();
    assert_eq!(names("labels=parity=odd&limit=50").await, (3, odd));
    assert_eq!(names("labels=parity=none").await, (1, vec![]));
}

#[tokio::test]
async fn a_continue_token_belongs_to_its_list() {
    let api = Api::new();
    for name in ["a", "b"] {
        let path = format!("/v1/organizations/{name}");
        api.put(&path).json(json!({"spec": {}})).send().await.expect(201);
    }
    let page = api.get("/v1/organizations?limit=1").send().await.expect(200);
    let token = page.json["continue"].as_str().unwrap();
    api.get(&format!("/v1/organizations?continue={token}")).send().await.expect(200);
    for path in [format!("/v1/regions?continue={token}"), "/v1/organizations?continue=AAAA".to_owned()] {
        let problem = api.get(&path).send().await.problem(400, "bad-request");
        assert_eq!(problem["field"], "query: continue");
    }
}

#[tokio::test]
async fn reads_are_as_fresh_as_asked_for() {
    let api = Api::furnished().await;
    let now = api.node.revision();
    let path = "/v1/regions/eu";
    let read = async |query: &str| api.get(&format!("{path}{query}")).send().await.status.as_u16();
    assert_eq!(read("").await, 200);
    api.node.quorum.store(false, Ordering::SeqCst);
    let refused = api.get(path).send().await;
    assert_eq!(refused.header("retry-after"), "2");
    refused.problem(503, "no-quorum");
    assert_eq!(read("?consistency=linearizable").await, 503);
    assert_eq!(read("?consistency=stale").await, 200);
    assert_eq!(read(&format!("?min_revision={now}")).await, 200);
    assert_eq!(read("?consistency=eventual").await, 400);
    assert_eq!(read("?consistency=stale&min_revision=1").await, 400);
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_never_comes_is_not_waited_for_for_ever() {
    let api = Api::new();
    // The leader knows that there is none.
    let problem = api.get("/v1/regions?min_revision=99").send().await.problem(422, "invalid");
    assert_eq!(problem["detail"], "revision 99 does not exist yet; the latest is 2");
    assert_eq!(problem["field"], "query: min_revision");

    api.node.quorum.store(false, Ordering::SeqCst);
    let problem = api.get("/v1/regions?min_revision=99").send().await.problem(503, "no-quorum");
    assert_eq!(problem["detail"], "this node is at revision 2 and did not reach 99 in 10s");

    let waiting = tokio::spawn(api.get("/v1/regions?min_revision=3").open_owned());
    tokio::time::sleep(Duration::from_millis(100)).await;
    api.node.add_token("another", "another", None);
    assert_eq!(waiting.await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_answer_from_what_a_restarted_node_has_says_so() {
    let api = Api::furnished().await;
    let now = api.node.revision();
    let restarted = async |path: &str| {
        let answer = api.get(path).send().await;
        answer.headers.get("hanse-restarted").map(|value| value.to_str().unwrap().to_owned())
    };
    let region = "/v1/regions/eu";
    let from_the_node = [
        format!("{region}?consistency=stale"),
        format!("{region}?min_revision={now}"),
        "/v1/regions/there-is-none?consistency=stale".to_owned(),
        "/v1/regions?consistency=stale".to_owned(),
        "/v1/dump?consistency=stale".to_owned(),
        "/v1/status".to_owned(),
        "/v1/members".to_owned(),
        "/v1/roots".to_owned(),
    ];
    for path in &from_the_node {
        assert_eq!(restarted(path).await, None, "{path}");
    }
    api.node.restarted.store(true, Ordering::SeqCst);
    for path in &from_the_node {
        assert_eq!(restarted(path).await.as_deref(), Some("true"), "{path}");
    }
    for linearizable in [region, "/v1/regions", "/v1/regions?consistency=linearizable"] {
        assert_eq!(restarted(linearizable).await, None, "{linearizable}");
    }
    api.node.quorum.store(false, Ordering::SeqCst);
    assert_eq!(restarted(region).await, None, "a refusal shows nothing");
}

#[tokio::test]
async fn a_node_without_state_is_alive_but_not_ready() {
    let api = Api::over(SingleNode::empty());
    assert_eq!(api.get("/livez").token("").send().await.expect(200).text, "ok\n");
    api.get("/readyz").token("").send().await.problem(503, "no-quorum");
    let api = Api::new();
    assert_eq!(api.get("/readyz").token("").send().await.expect(200).text, "ok\n");
}
