//! HostGrants over REST: what takes something away is forced, and told.

use serde_json::{Value, json};

use crate::request::Api;

const GRANT: &str = "/v1/host-grants/g";

fn grant(organization: &str, host: &str, prefix: &str) -> Value {
    json!({"spec": {"environments": ["prod"], "host": host, "pathPrefix": prefix, "organization": organization}})
}

/// Beside `default`, which has a Binding for any host at /orders.
async fn with_shop() -> Api {
    let api = Api::furnished().await;
    api.put("/v1/organizations/shop").json(json!({"spec": {}})).send().await.expect(201);
    api
}

#[tokio::test]
async fn a_grant_that_takes_requests_is_forced_and_told() {
    let api = with_shop().await;
    let taken = grant("shop", "a.example", "/orders");
    let refused = api.put(GRANT).json(taken.clone()).send().await.problem(409, "conflict");
    assert_eq!(refused["field"], "HostGrant g: spec.host");
    assert!(refused["remedy"].as_str().unwrap().contains("?forceGrants=true"), "{refused}");
    let told =
        "spec.host: takes requests from Binding default/orders-prod to a.example/orders in Environment prod";
    let put = api.put(&format!("{GRANT}?forceGrants=true")).json(taken.clone()).send().await.expect(201);
    assert_eq!(put.header("hanse-warning"), told);
    let got = api.get(GRANT).send().await.expect(200);
    assert_eq!(got.json["status"]["warnings"][0]["field"], "spec.host", "{:?}", got.json);
    let binding = api.get("/v1/organizations/default/bindings/orders-prod").send().await.expect(200);
    let warning = binding.json["status"]["warnings"][0]["detail"].as_str().unwrap();
    assert_eq!(warning, "does not get requests that belong to others: a.example/orders of Organization shop");
}

#[tokio::test]
async fn an_apply_is_forced_in_a_dry_run_too() {
    let api = with_shop().await;
    let mut taken = grant("shop", "a.example", "/");
    taken["kind"] = json!("HostGrant");
    taken["name"] = json!("g");
    let body = json!({"resources": [taken]});
    for path in ["/v1/apply?dryRun", "/v1/apply"] {
        api.post(path).json(body.clone()).send().await.problem(409, "conflict");
    }
    for path in ["/v1/apply?dryRun&forceGrants", "/v1/apply?forceGrants"] {
        let applied = api.post(path).json(body.clone()).send().await.expect(200);
        assert_eq!(applied.json["warnings"][0]["name"], "g", "{path}: {:?}", applied.json);
    }
}

#[tokio::test]
async fn a_delete_tells_what_it_leaves_without() {
    let api = with_shop().await;
    let put = async |name: &str, grant: Value| {
        let path = format!("/v1/host-grants/{name}?forceGrants=true");
        api.put(&path).json(grant).send().await.expect(201);
    };
    put("g", grant("default", "a.example", "/orders")).await;
    put("wide", grant("shop", "*.example", "/orders/v1")).await;
    api.delete(GRANT).send().await.problem(409, "conflict");
    let forced = format!("{GRANT}?forceGrants=true");
    for path in [format!("{forced}&dryRun=true"), forced] {
        let deleted = api.delete(&path).send().await.expect(200);
        let warnings = deleted.json["warnings"].as_array().unwrap();
        assert_eq!((warnings.len(), &warnings[0]["name"]), (1, &json!("orders-prod")), "{path}");
        assert!(warnings[0]["detail"].as_str().unwrap().contains("of Organization shop"), "{warnings:?}");
    }
    let deleted = api.delete("/v1/host-grants/wide").send().await.expect(200);
    assert!(deleted.json.get("warnings").is_none(), "{:?}", deleted.json);
}
