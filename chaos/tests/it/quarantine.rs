//! One bad object: it is quarantined with its reason, and everything else of the same change is served.

use std::time::Duration;

use anyhow::{Context, Result};
use hanse_chaos::{Client, Federation};
use serde_json::json;

use crate::unjudged::{put, replicate};

/// PEM that is well-formed and holds something no TLS library takes for a certificate.
const NOT_A_CERTIFICATE: &str =
    "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";

/// An Api with its own Upstream, published everywhere; `path` is its only operation.
fn api(name: &str, path: &str, upstream: &str, ca: Option<&str>) -> String {
    let tls = ca.map(|ca| format!(", tls: {{caBundle: {ca:?}}}")).unwrap_or_default();
    format!(
        "kind: Api\nname: {name}\nspec: {{context: /{name}, version: \"1\", operations: [{{method: GET, path: {path}}}]}}\n---\n\
         kind: Upstream\nname: {name}\nspec: {{endpoints: [{{url: \"{upstream}\"}}]{tls}}}\n---\n\
         kind: Binding\nname: {name}\nspec: {{api: {name}, environment: production, upstream: {name}}}\n---\n",
    )
}

#[tokio::test]
async fn a_bad_object_holds_up_nothing_and_says_what_is_wrong() -> Result<()> {
    let federation = Federation::start(&["--control-nodes", "1", "--regions", "1"])?;
    let client = Client::new(None)?;
    let upstream = federation.process("upstream")?.http.context("the upstream has an address")?;
    let (name, gateway) = federation.gateways()?.remove(0);
    let status =
        async |path: &str| anyhow::Ok(client.get(&format!("{gateway}{path}"), &[]).await?.status.as_u16());
    federation.apply(&api("orders", "/old", &upstream, None))?;
    assert_eq!(status("/orders/old").await?, 200);

    // Admission compiles what it is asked to propose: the operator is told.
    let refused = federation
        .cli_with_input(&["apply", "-f", "-"], &api("orders", "/old", &upstream, Some(NOT_A_CERTIFICATE)))?;
    assert!(refused.code != 0 && refused.stderr.contains("spec.tls.caBundle"), "{refused:?}");

    // One change of a control node of another release: a bad Upstream for an Api that is served, a new Api with the same, and
    // a good new Api.
    let bad = json!({"endpoints": [{"url": upstream}], "tls": {"caBundle": NOT_A_CERTIFICATE}});
    let open = |context: &str, path: &str| json!({"context": context, "version": "1", "operations": [{"method": "GET", "path": path}]});
    let bound = |name: &str| json!({"api": name, "environment": "production", "upstream": name});
    let change = vec![
        put("Upstream", "orders", &bad),
        put("Upstream", "never", &bad),
        put("Api", "never", &open("/never", "/x")),
        put("Binding", "never", &bound("never")),
        put("Upstream", "items", &json!({"endpoints": [{"url": upstream}]})),
        put("Api", "items", &open("/items", "/new")),
        put("Binding", "items", &bound("items")),
    ];
    let revision = replicate(&federation, change).await?.to_string();
    let ran = federation.cli(&["wait", "--revision", &revision, "--timeout", "5s"])?;
    assert_eq!(ran.code, 7, "what it changed is not served everywhere: {ran:?}");
    for word in [name.as_str(), "Upstream never", "ca_pem"] {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
    assert_eq!(status("/items/new").await?, 200, "the rest of the change is served");
    assert_eq!(status("/orders/old").await?, 200, "the bad one keeps its last good version");
    assert_eq!(status("/never/x").await?, 503, "there is nothing to keep");

    let shown = federation.ok(&["status"])?;
    assert!(shown.contains(&format!("quarantined by {name} (eu-west): Upstream orders: ca_pem")), "{shown}");
    let described = federation.ok(&["describe", "upstream", "orders"])?;
    assert!(
        described.contains(&name) && described.contains("goes on with the version before"),
        "{described}"
    );
    let described = federation.ok(&["describe", "upstream", "never"])?;
    assert!(described.contains("no earlier version"), "{described}");
    let json: serde_json::Value = serde_json::from_str(&federation.ok(&["status", "-o", "json"])?)?;
    let quarantined = &json["regions"][0]["gateways"][0]["quarantined"];
    let named: Vec<_> = quarantined.as_array().into_iter().flatten().map(|found| &found["name"]).collect();
    assert!(
        named.iter().any(|name| **name == "orders") && named.iter().any(|name| **name == "never"),
        "{json}"
    );

    // A gateway that starts again, and one that was never there, use the version before as well; so they do when the agent
    // started again meanwhile.
    let data = federation.data_dir();
    let dev = |arguments: &[&str]| {
        federation.ok(&[&["dev"], arguments, &["--data-dir", data.to_str().expect("a plain path")]].concat())
    };
    dev(&["kill", &name])?;
    dev(&["start", &name])?;
    // A connection of before may still be in the client's pool.
    let served = |answer: &hanse_chaos::Answer| answer.status == 200;
    crate::eventually(&client, &format!("{gateway}/orders/old"), &[], Duration::from_secs(5), served).await?;
    for restarted in [false, true] {
        if restarted {
            dev(&["kill", "agent-eu-west"])?;
            dev(&["start", "agent-eu-west"])?;
        }
        let added = dev(&["add", "gateway", "--region", "eu-west"])?.trim().to_owned();
        let address = federation.process(&added)?.http.context("it has an address")?;
        let answer = client.get(&format!("{address}/orders/old"), &[]).await?;
        assert_eq!(answer.status, 200, "{added} got the last good version from its agent: {answer:?}");
    }

    // Others' changes are not held up by it.
    federation.apply(&api("later", "/z", &upstream, None))?;
    assert_eq!(status("/later/z").await?, 200);

    // Mended: nothing is in quarantine any more.
    federation.apply(&(api("orders", "/old", &upstream, None) + &api("never", "/x", &upstream, None)))?;
    assert_eq!(status("/never/x").await?, 200);
    crate::until("status is clean", Duration::from_secs(10), || {
        Ok(!federation.ok(&["status"])?.contains("quarantined"))
    })
    .await
}
