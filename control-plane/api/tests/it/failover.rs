//! Failover by hand: what is judged, what is decided, and what the record says of it.

use std::{sync::atomic::Ordering, time::Duration};

use hanse_management::kinds::TokenRole;
use hanse_steering::{Heard, Standby, Sync};
use hanse_topology::Name;
use serde_json::{Value, json};

use crate::{node::START_MS, request::Api};

/// With the plan `orders`: active in eu, with the standbys us and ap.
async fn planned(plan: Value) -> Api {
    let api = Api::furnished().await;
    let mut spec = json!({"hosts": ["orders"], "active": "eu", "standby": ["us", "ap"]});
    spec.as_object_mut().unwrap().extend(plan.as_object().unwrap().clone());
    let request = json!({"resources": [
        {"kind": "Region", "name": "us"},
        {"kind": "Region", "name": "ap"},
        {"kind": "Environment", "name": "prod", "spec": {"regions": ["ap", "eu", "us"]}},
        {"kind": "DnsZone", "name": "gslb", "spec": {
            "origin": "gslb.example", "nameServers": [{"name": "ns.example"}], "contact": "dns@example.com"}},
        {"kind": "GlobalHost", "name": "orders", "spec": {"host": "orders.gslb.example", "zone": "gslb", "environment": "prod"}},
        {"kind": "FailoverPlan", "name": "orders", "spec": spec},
    ]});
    api.post("/v1/apply").json(request).send().await.expect(200);
    *api.node.standbys.lock().unwrap() = ["eu", "us", "ap"].map(ready).to_vec();
    api
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A region that is ready, but for its capacity, of which nothing is known.
fn ready(region: &str) -> Standby {
    fn heard<T>(value: T) -> Option<Heard<T>> {
        Some(Heard { value, age: Duration::from_secs(1) })
    }
    let end = Duration::from_millis(START_MS) + Duration::from_secs(86_400);
    Standby {
        sync: heard(Sync { gateways: 2, behind: 0 }),
        certificates: heard(end),
        quarantined: heard(Vec::new()),
        ready_gateways: heard(2),
        ..Standby::unheard(name("orders"), name(region))
    }
}

fn break_region(api: &Api, region: &str) {
    let mut standbys = api.node.standbys.lock().unwrap();
    let broken = standbys.iter_mut().find(|standby| standby.region == *region).unwrap();
    broken.ready_gateways = Some(Heard { value: 0, age: Duration::from_secs(1) });
}

fn serving(decision: &Value) -> String {
    let serving = decision["serving"].as_array().unwrap().iter();
    let one = |one: &Value| format!("{}={}", one["region"].as_str().unwrap(), one["percent"]);
    serving.map(one).collect::<Vec<_>>().join(" ")
}

const FAILOVER: &str = "/v1/failover-plans/orders/failover";
const FAILBACK: &str = "/v1/failover-plans/orders/failback";

#[tokio::test]
async fn clients_are_led_to_a_ready_region_and_back() {
    let api = planned(json!({})).await;
    let made =
        api.post(FAILOVER).json(json!({"reason": "eu is down", "to": "us"})).send().await.expect(200).json;
    assert_eq!(serving(&made["decision"]), "us=100");
    assert_eq!(
        (made["plan"].as_str(), made["decision"]["reason"].as_str()),
        (Some("orders"), Some("eu is down"))
    );
    assert_eq!(made["epoch"], format!("1/{}", made["revision"]));
    assert_eq!(made["warnings"], json!(["capacity: the region declares no capacity"]), "{made}");
    let rules = made["decision"]["readiness"].as_array().unwrap();
    assert_eq!(rules.len(), 6, "what was known is kept: {rules:?}");
    let again =
        api.post(FAILOVER).json(json!({"reason": "again", "to": "us"})).send().await.problem(409, "conflict");
    assert!(again["detail"].as_str().unwrap().starts_with("already-there: "), "{again}");

    let back = api
        .post(FAILBACK)
        .json(json!({"reason": "eu is back", "steps": [10, 100]}))
        .send()
        .await
        .expect(200)
        .json;
    assert_eq!(
        (serving(&back["decision"]), &back["decision"]["to"]),
        ("eu=10 us=90".to_owned(), &json!("eu"))
    );
}

#[tokio::test]
async fn what_is_asked_for_is_refused_at_its_field() {
    let api = planned(json!({})).await;
    break_region(&api, "us");
    let before = api.node.revision();
    let check = async |body: Value, status: u16, problem: &str, field: Value, detail: &str| {
        let refused = api.post(FAILOVER).json(body.clone()).send().await.problem(status, problem);
        assert_eq!(refused["field"], field, "{body}: {refused}");
        assert!(refused["detail"].as_str().unwrap().contains(detail), "{body}: {refused}");
    };
    check(json!({"to": "ap"}), 400, "bad-request", json!("body"), "missing field `reason`").await;
    check(
        json!({"reason": "r", "to": "ap", "now": true}),
        400,
        "bad-request",
        json!("body"),
        "unknown field `now`",
    )
    .await;
    check(json!({"reason": " ", "to": "ap"}), 422, "invalid", json!("reason"), "no reason").await;
    check(json!({"reason": "r"}), 422, "invalid", json!("to"), "the plan has several").await;
    check(json!({"reason": "r", "to": "mars"}), 422, "invalid", json!("to"), "unknown-region").await;
    check(json!({"reason": "r", "to": "ap", "steps": [50, 10]}), 422, "invalid", json!("steps"), "steps")
        .await;
    check(json!({"reason": "r", "to": "ap", "expects": "7"}), 422, "invalid", json!("expects"), "no epoch")
        .await;
    check(json!({"reason": "r", "to": "ap", "expects": "1/7"}), 412, "stale", json!("expects"), "old-epoch")
        .await;
    check(json!({"reason": "r", "to": "us"}), 409, "conflict", json!("force"), "not-ready").await;
    check(json!({"reason": "r", "to": "us", "force": ""}), 422, "invalid", json!("reason"), "no reason")
        .await;
    assert_eq!(api.node.revision(), before);
    api.post("/v1/failover-plans/other/failover")
        .json(json!({"reason": "r"}))
        .send()
        .await
        .problem(404, "not-found");

    let forced = json!({"reason": "eu is lost", "to": "us", "force": "half a region is better than none"});
    let made = api.post(FAILOVER).json(forced).send().await.expect(200).json;
    assert_eq!(made["decision"]["forced"], "half a region is better than none");
}

#[tokio::test]
async fn a_frozen_plan_does_not_move() {
    let api = planned(json!({})).await;
    let freeze = async |what: &str| {
        api.post(&format!("/v1/failover-plans/orders/{what}"))
            .json(json!({"reason": "a look first"}))
            .send()
            .await
    };
    let frozen = freeze("freeze").await.expect(200).json;
    assert_eq!(
        (frozen["decision"]["frozen"].as_str(), serving(&frozen["decision"])),
        (Some("a look first"), "eu=100".to_owned())
    );
    let shift = json!({"reason": "r", "to": "us", "force": "now"});
    let refused = api.post(FAILOVER).json(shift).send().await.problem(409, "conflict");
    assert!(
        refused["detail"].as_str().unwrap().contains("frozen: the plan is frozen: a look first"),
        "{refused}"
    );
    let thawed = freeze("unfreeze").await.expect(200).json;
    assert_eq!(thawed["decision"].get("frozen"), None);
    freeze("unfreeze").await.problem(409, "conflict");
}

#[tokio::test]
async fn the_readiness_of_each_region_is_told_rule_by_rule() {
    let api = planned(json!({})).await;
    break_region(&api, "ap");
    let told = api.get("/v1/failover-plans/orders/readiness").send().await.expect(200).json;
    let of =
        |region: &Value| (region["region"].clone(), region["percent"].clone(), region["verdict"].clone());
    let regions: Vec<_> = told["regions"].as_array().unwrap().iter().map(of).collect();
    let expected = [("eu", 100, "unknown"), ("us", 0, "unknown"), ("ap", 0, "notReady")];
    assert_eq!(
        regions,
        expected.map(|(region, percent, verdict)| (json!(region), json!(percent), json!(verdict)))
    );
    let rule = &told["regions"][2]["rules"][3];
    assert_eq!(
        (&rule["rule"], &rule["why"], &rule["ageMs"]),
        (&json!("health"), &json!("no gateway is ready"), &json!(1_000))
    );
    assert_eq!(told.get("epoch"), None);
    // A region of which nothing was heard.
    api.node.standbys.lock().unwrap().clear();
    let told = api.get("/v1/failover-plans/orders/readiness").send().await.expect(200).json;
    assert_eq!(told["regions"][1]["verdict"], "notReady");
}

#[tokio::test]
async fn a_region_is_drained_and_gets_clients_again() {
    let api = planned(json!({})).await;
    let post =
        async |what: &str, body: Value| api.post(&format!("/v1/regions/{what}")).json(body).send().await;
    let refused = post("eu/drain", json!({"reason": "new racks"})).await.problem(409, "conflict");
    assert!(refused["remedy"].as_str().unwrap().contains("fail FailoverPlan orders over"), "{refused}");
    post("us/drain", json!({"reason": "new racks"})).await.expect(200);
    assert_eq!(api.get("/v1/drains/us").send().await.expect(200).json["spec"]["reason"], "new racks");
    post("us/drain", json!({"reason": "again"})).await.problem(409, "conflict");
    post("us/undrain", json!({})).await.problem(400, "bad-request");
    post("us/undrain", json!({"reason": "the racks are there"})).await.expect(200);
    api.get("/v1/drains/us").send().await.problem(404, "not-found");
    post("us/undrain", json!({"reason": "again"})).await.problem(409, "conflict");
    post("mars/drain", json!({"reason": "r"})).await.problem(404, "not-found");
    let audit = api.get("/v1/audit").send().await.expect(200).json;
    let reasons: Vec<_> =
        audit["items"].as_array().unwrap().iter().filter_map(|entry| entry["reason"].as_str()).collect();
    assert_eq!(reasons, ["new racks", "the racks are there"], "also where no resource is left to say it");
}

#[tokio::test]
async fn the_history_tells_who_decided_what_and_why() {
    let api = planned(json!({})).await;
    let post = async |what: &str, body: Value| {
        api.post(&format!("/v1/failover-plans/orders/{what}"))
            .json(body)
            .at_address("198.51.100.7:1")
            .send()
            .await
            .expect(200)
    };
    post("failover", json!({"reason": "eu is down", "to": "us", "steps": [10, 50, 100]})).await;
    post("failover", json!({"reason": "us is worse", "to": "ap"})).await;
    post("freeze", json!({"reason": "a look first"})).await;
    post("unfreeze", json!({"reason": "seen enough"})).await;
    let history = api.get("/v1/failover-plans/orders/history").send().await.expect(200).json;
    let of = |item: &Value| {
        let text = |field: &str| item[field].as_str().unwrap_or_default().to_owned();
        (
            text("reason"),
            serving(&item["decision"]),
            item["decision"]["frozen"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let items = history["items"].as_array().unwrap();
    let told: Vec<_> = items.iter().map(of).collect();
    let expected = [
        ("seen enough", "ap=100", ""),
        ("a look first", "ap=100", "a look first"),
        ("us is worse", "ap=100", ""),
        ("eu is down", "eu=90 us=10", ""),
    ];
    assert_eq!(
        told,
        expected.map(|(reason, at, frozen)| (reason.to_owned(), at.to_owned(), frozen.to_owned()))
    );
    let newest = &items[0];
    assert_eq!((&newest["actor"], &newest["from"]), (&json!("root"), &json!("198.51.100.7:1")), "{newest}");
    let present = api.get("/v1/failovers/orders").send().await.expect(200).json;
    assert_eq!(newest["epoch"], format!("1/{}", present["revision"]));
    assert_eq!(items[3]["decision"]["steps"], json!([10, 50, 100]));
}

#[tokio::test]
async fn a_guarded_plan_needs_a_second_owner() {
    let api = planned(json!({"approval": true})).await;
    for name in ["ann", "ben"] {
        api.node.add_token_of(name, TokenRole::Admin, None);
    }
    let post = |path: &str| api.post(path).token("ann-secret");
    let body = json!({"reason": "eu is down", "to": "us"});
    post(FAILOVER).json(body.clone()).send().await.problem(409, "approval-needed");
    let proposed = post(&format!("{FAILOVER}?propose")).json(body).send().await.expect(202).json;
    assert_eq!(proposed["reason"], "eu is down");
    let approve = format!("/v1/approvals/{}/approve", proposed["number"]);
    post(&approve).send().await.problem(403, "forbidden");
    api.post(&approve).token("ben-secret").send().await.expect(200);
    let present = api.get("/v1/failovers/orders").send().await.expect(200).json;
    assert_eq!(serving(&present["spec"]), "us=100");
    let history = api.get("/v1/failover-plans/orders/history").send().await.expect(200).json;
    assert!(history["items"][0]["what"].as_str().unwrap().contains("approve"), "{history}");
}

#[tokio::test]
async fn an_approval_judges_the_region_anew() {
    let api = planned(json!({"approval": true})).await;
    for name in ["ann", "ben"] {
        api.node.add_token_of(name, TokenRole::Admin, None);
    }
    let propose = async |body: Value| {
        let proposed = api.post(&format!("{FAILOVER}?propose")).token("ann-secret").json(body).send().await;
        format!("/v1/approvals/{}/approve", proposed.expect(202).json["number"])
    };
    let plain = propose(json!({"reason": "eu is down", "to": "us"})).await;
    let forced = propose(json!({"reason": "eu is lost", "to": "us", "force": "better than none"})).await;
    api.node.now_ms.fetch_add(600_000, Ordering::SeqCst);
    break_region(&api, "us");
    let refused = api.post(&plain).token("ben-secret").send().await.problem(409, "conflict");
    assert!(refused["detail"].as_str().unwrap().contains("no gateway is ready"), "{refused}");
    api.node.standbys.lock().unwrap()[1] = ready("us");
    let shown = api.get(plain.trim_end_matches("/approve")).token("ben-secret").send().await.expect(200).json;
    assert_eq!(shown.get("refused"), None, "{shown}");
    api.post(&plain).token("ben-secret").send().await.expect(200);
    let present = api.get("/v1/failovers/orders").send().await.expect(200).json;
    assert_eq!(serving(&present["spec"]), "us=100");
    // It was proposed on what was there before.
    api.post(&forced).token("ben-secret").send().await.problem(412, "stale");
}

#[tokio::test]
async fn a_step_that_waits_says_why() {
    let api = planned(json!({"steps": [10, 100]})).await;
    api.post(FAILOVER).json(json!({"reason": "eu is slow", "to": "us"})).send().await.expect(200);
    break_region(&api, "us");
    let readiness = async || api.get("/v1/failover-plans/orders/readiness").send().await.expect(200).json;
    assert_eq!(readiness().await.get("waits"), None, "it is not due yet");
    api.node.now_ms.fetch_add(600_000, Ordering::SeqCst);
    let waits = readiness().await["waits"].to_string();
    assert!(waits.contains("no gateway is ready"), "{waits}");
    api.node.standbys.lock().unwrap()[1] = ready("us");
    assert_eq!(readiness().await.get("waits"), None);
}
