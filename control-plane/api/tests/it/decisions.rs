//! Failovers, Drains and Drills: read like other kinds, and written by no operator.

use serde_json::{Value, json};

use crate::request::Api;

/// The decisions, as a dump has them.
fn decisions() -> [Value; 3] {
    let failover = json!({
        "serving": [{"region": "us", "percent": 100}], "to": "us", "steps": [100], "step": 0, "stepEvery": "30s", "reason": "eu is down",
    });
    let restored = |kind: &str, name: &str, spec: Value| json!({"kind": kind, "name": name, "spec": spec, "restored": {}});
    [
        restored("Failover", "orders", failover),
        restored("Drain", "eu", json!({"reason": "maintenance"})),
        restored("Drill", "orders-1", json!({"plan": "orders", "phase": "done", "reason": "monthly"})),
    ]
}

/// With a plan, and the decisions about it.
async fn decided() -> Api {
    let api = Api::furnished().await;
    let labels = json!({"from": "git"});
    let plan = json!({"hosts": ["orders"], "active": "eu", "standby": ["us"]});
    let request = json!({"resources": [
        {"kind": "Region", "name": "us"},
        {"kind": "Environment", "name": "prod", "spec": {"regions": ["eu", "us"]}},
        {"kind": "DnsZone", "name": "gslb", "labels": labels, "spec": {
            "origin": "gslb.example", "nameServers": [{"name": "ns.example"}], "contact": "dns@example.com"}},
        {"kind": "GlobalHost", "name": "orders", "spec": {"host": "orders.gslb.example", "zone": "gslb", "environment": "prod"}},
        {"kind": "FailoverPlan", "name": "orders", "labels": labels, "spec": plan},
    ]});
    api.post("/v1/apply").json(request).send().await.expect(200);
    api.post("/v1/apply").json(json!({"resources": decisions()})).send().await.expect(200);
    api
}

const PATHS: [&str; 3] = ["/v1/failovers/orders", "/v1/drains/eu", "/v1/drills/orders-1"];

#[tokio::test]
async fn a_decision_is_read_and_no_request_writes_it() {
    let api = decided().await;
    let before = api.node.revision();
    for (path, decision) in PATHS.iter().zip(decisions()) {
        let found = api.get(path).send().await.expect(200).json;
        assert_eq!(found["spec"], decision["spec"], "{path}");
        for method in ["PUT", "DELETE", "POST"] {
            let refused = api.call(method, path).json(json!({"spec": decision["spec"]})).send().await;
            let problem = refused.problem(405, "bad-request");
            assert!(
                problem["remedy"].as_str().unwrap().contains("no operator writes a decision"),
                "{problem}"
            );
        }
        let mut bare = decision.clone();
        bare.as_object_mut().unwrap().remove("restored");
        let key = format!("{} {}", decision["kind"].as_str().unwrap(), decision["name"].as_str().unwrap());
        let gone = json!({"kind": decision["kind"], "name": decision["name"], "revision": found["revision"]});
        for body in [json!({"resources": [bare]}), json!({"resources": [], "delete": [gone]})] {
            for query in ["", "?dryRun=true", "?propose=why"] {
                let sent = api.post(&format!("/v1/apply{query}")).json(body.clone()).send().await;
                let problem = sent.problem(403, "forbidden");
                assert_eq!(problem["field"], json!(key), "{body} {query}");
                assert_eq!(problem["detail"], json!(format!("{key} is written by the control plane only")));
            }
        }
        let expects = json!({"resources": [{"kind": "Region", "name": "us"}], "expects": [gone]});
        api.post("/v1/apply?dryRun=true").json(expects).send().await.expect(200);
    }
    assert_eq!(api.node.revision(), before);
}

#[tokio::test]
async fn no_prune_takes_a_decision() {
    let api = Api::furnished().await;
    let drain = |labels: Value| json!({"kind": "Drain", "name": "eu", "labels": labels, "spec": {"reason": "r", "forced": "f"}, "restored": {}});
    let request = json!({"resources": [drain(json!({"from": "git"}))]});
    api.post("/v1/apply").json(request).send().await.expect(200);
    // A part of a dump mentions the kind.
    let other = json!({"resources": [
        {"kind": "Region", "name": "us"},
        {"kind": "Drain", "name": "us", "spec": {"reason": "r"}, "restored": {}},
    ]});
    let pruned = api.post("/v1/apply?prune=true&selector=from=git").json(other).send().await.expect(200);
    let changes = pruned.json["changes"].as_array().unwrap();
    assert!(changes.iter().all(|change| change["action"] == "created"), "{changes:?}");
    api.get("/v1/drains/eu").send().await.expect(200);
}

#[tokio::test]
async fn a_plan_goes_with_its_decisions_and_a_dump_has_them() {
    let api = decided().await;
    let lines = api.get("/v1/dump").send().await.expect(200).text;
    let resources: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for decision in decisions() {
        assert!(resources.contains(&decision), "{decision} is not in {lines}");
    }
    let other = Api::new();
    let resources: Vec<&Value> = resources.iter().filter(|line| line.get("kind").is_some()).collect();
    other.post("/v1/apply").json(json!({"resources": resources})).send().await.expect(200);
    assert_eq!(
        other.get("/v1/failovers/orders").send().await.expect(200).json["spec"]["reason"],
        "eu is down"
    );

    // The other region is drained, so the hosts stay where they are without the plan.
    let gone = api.delete("/v1/failover-plans/orders").send().await.expect(200);
    let names: Vec<&str> = gone.json["changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|change| change["kind"].as_str())
        .collect();
    assert_eq!(names, ["FailoverPlan", "Failover", "Drill"]);
}

#[tokio::test]
async fn a_host_is_shown_with_its_owner() {
    let api = decided().await;
    let status = async || api.get("/v1/global-hosts/orders").send().await.expect(200).json["status"].clone();
    let without = status().await;
    assert_eq!(without.get("owner"), None);
    assert!(
        without["warnings"].to_string().contains("no Organization owns orders.gslb.example"),
        "{without}"
    );
    let grant =
        json!({"spec": {"environments": ["prod"], "host": "*.gslb.example", "organization": "default"}});
    api.put("/v1/host-grants/all").json(grant).send().await.expect(201);
    assert_eq!(status().await["owner"], "default");
}

#[tokio::test]
async fn a_dry_run_names_the_plans_that_need_an_approval() {
    let api = decided().await;
    let plan = |approval: bool| json!({"spec": {"hosts": ["orders"], "active": "eu", "standby": ["us"], "approval": approval}});
    let put = |approval| api.put("/v1/failover-plans/orders").header("if-match", "*").json(plan(approval));
    put(true).send().await.expect(200);
    let refused = put(false).send().await.problem(409, "approval-needed");
    assert_eq!(refused["detail"], "a change of FailoverPlan orders needs the approval of a second owner");
    let mut resource = plan(false);
    resource["kind"] = json!("FailoverPlan");
    resource["name"] = json!("orders");
    let tried =
        api.post("/v1/apply?dryRun=true").json(json!({"resources": [resource]})).send().await.expect(200);
    assert_eq!(
        (tried.json.get("needsApproval"), &tried.json["needsApprovalPlans"]),
        (None, &json!(["orders"]))
    );
}
