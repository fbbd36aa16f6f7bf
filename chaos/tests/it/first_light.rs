//! One control node, one region: YAML in, served requests out.

use anyhow::Result;
use hanse_chaos::{Client, Federation};

const MANIFESTS: &str = r#"
kind: Api
name: orders
spec:
  context: /orders/v1
  version: "1.4.0"
  operations:
    - {method: GET, path: "/orders/{id}"}
    - {method: POST, path: /orders}
---
kind: Upstream
name: orders-backend
spec:
  endpoints: [{url: "UPSTREAM/base"}]
---
kind: Binding
name: orders-production
spec: {api: orders, environment: production, upstream: orders-backend}
"#;

#[tokio::test]
async fn an_api_applied_as_yaml_is_served() -> Result<()> {
    let federation = Federation::start(&["--control-nodes", "1", "--regions", "1"])?;
    let client = Client::new(None)?;
    let upstream = federation.process("upstream")?.http.expect("the upstream has an address");
    let (_, gateway) = federation.gateways()?.remove(0);

    // Before anything is published the gateway knows that it has no such API: it has a configuration.
    let answer = client.get(&format!("{gateway}/orders/v1/orders/7"), &[]).await?;
    assert_eq!(answer.status, 404, "{answer:?}");

    federation.apply(&MANIFESTS.replace("UPSTREAM", &upstream))?;

    let answer = client.get(&format!("{gateway}/orders/v1/orders/7?full=1"), &[("x-one", "1")]).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = answer.json()?;
    assert_eq!(seen["method"], "GET");
    assert_eq!(seen["path"], "/base/orders/7", "the context is stripped, the endpoint's path goes before");
    assert_eq!(seen["query"], "full=1");
    assert_eq!(seen["headers"]["x-one"], "1");
    assert_eq!(seen["headers"]["x-forwarded-proto"], "http");

    let answer =
        client.call("POST", &format!("{gateway}/orders/v1/orders"), &[], r#"{"item":"herring"}"#).await?;
    assert_eq!(
        (answer.status.as_u16(), answer.json()?["body"].as_str()),
        (200, Some(r#"{"item":"herring"}"#))
    );

    let answer = client.get(&format!("{gateway}/orders/v1/nothing"), &[]).await?;
    assert_eq!(answer.status, 404, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json");

    let answer = client.call("DELETE", &format!("{gateway}/orders/v1/orders/7"), &[], "").await?;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "GET, HEAD"), "{answer:?}");

    // What is gone is gone, and only that.
    federation.ok(&["delete", "binding", "orders-production", "--wait=30s"])?;
    let answer = client.get(&format!("{gateway}/orders/v1/orders/7"), &[]).await?;
    assert_eq!(answer.status, 404, "{answer:?}");
    assert!(federation.ok(&["get", "apis", "-o", "name"])?.contains("orders"));
    Ok(())
}
