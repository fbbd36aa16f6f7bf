//! A gateway that is refused by name.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hanse_chaos::{Client, Federation};
use serde_json::Value;

const GATEWAY: &str = "gateway-eu-west.gateway.eu-west.hanse.internal";
/// What is promised.
const CUT_WITHIN: Duration = Duration::from_secs(1);
/// For what may take longer: reconnecting waits up to five seconds.
const SOON: Duration = Duration::from_secs(30);
const MANIFESTS: &str = r#"
kind: Api
name: orders
spec: {context: /orders, version: "1", operations: [{method: GET, path: /}]}
---
kind: Upstream
name: orders
spec: {endpoints: [{url: "UPSTREAM"}]}
---
kind: Binding
name: orders
spec: {api: orders, environment: production, upstream: orders}
"#;

/// How the gateway's link to its agent stands.
async fn link(client: &Client, admin: &str) -> Result<Value> {
    Ok(client.get(&format!("{admin}/config"), &[]).await?.json()?["agent"].clone())
}

/// Waits until the link is as wanted; how long that took.
async fn until(
    client: &Client,
    admin: &str,
    within: Duration,
    wanted: impl Fn(&Value) -> bool,
) -> Result<Duration> {
    let began = Instant::now();
    loop {
        let link = link(client, admin).await?;
        if wanted(&link) {
            return Ok(began.elapsed());
        }
        if began.elapsed() > within {
            bail!("not within {within:?}; the link is {link}");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until `hanse status` shows the gateway like this: its agent reports at most four times a second.
async fn until_status_says(federation: &Federation, state: &str) -> Result<()> {
    let began = Instant::now();
    loop {
        let status = federation.ok(&["status"])?;
        let row = status.lines().find(|line| line.contains(" gateway-eu-west ")).context("it is shown")?;
        if row.contains(state) {
            return Ok(());
        }
        if began.elapsed() > SOON {
            bail!("not {state} within {SOON:?}:\n{status}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_revoked_gateway_is_cut_off_within_a_second_and_serves_on() -> Result<()> {
    let federation = Federation::start(&["--control-nodes", "1", "--regions", "1"])?;
    let client = Client::new(None)?;
    let upstream = federation.process("upstream")?.http.context("the upstream has an address")?;
    federation.apply(&MANIFESTS.replace("UPSTREAM", &upstream))?;
    let process = federation.process("gateway-eu-west")?;
    let (http, admin) = (process.http.context("http")?, process.admin.context("admin")?);
    let served = async || Ok::<_, anyhow::Error>(client.get(&format!("{http}/orders"), &[]).await?.status);
    assert_eq!(served().await?, 200);
    assert!(link(&client, &admin).await?["connectedTo"].is_string());

    federation.ok(&["member", "revoke", GATEWAY])?;
    let took = until(&client, &admin, CUT_WITHIN, |link| !link["connectedTo"].is_string()).await?;
    eprintln!("cut off {took:?} after the command returned");
    until(&client, &admin, SOON, |link| {
        // By the alert, or by the connection that was gone before the call.
        link["lastFailure"].as_str().is_some_and(|why| why.contains("alert") || why.contains("canceled"))
    })
    .await
    .context("it tries to come back and is refused")?;
    assert_eq!(served().await?, 200, "what it last learnt is served on");
    let listed = federation.ok(&["member", "list"])?;
    let row = listed.lines().find(|line| line.starts_with(GATEWAY)).context("it is listed")?;
    assert!(row.contains("revoked") && row.contains("by bootstrap"), "{listed}");
    until_status_says(&federation, "silent").await?;

    // A change passes it by, and reaches it when it is readmitted.
    federation.ok(&["delete", "binding", "orders"])?;
    assert_eq!(served().await?, 200);
    federation.ok(&["member", "readmit", GATEWAY])?;
    until(&client, &admin, SOON, |link| link["connectedTo"].is_string()).await?;
    crate::eventually(&client, &format!("{http}/orders"), &[], SOON, |answer| answer.status == 404).await?;
    until_status_says(&federation, "connected").await?;

    // A slip of the pen is noticed.
    let ran = federation.cli(&["member", "revoke", "gateway-eu-west"])?;
    assert!(ran.code != 0 && ran.stderr.contains("NAME.gateway.REGION.hanse.internal"), "{ran:?}");
    let ran = federation.cli(&["member", "revoke", "cp-1.server.control.hanse.internal"])?;
    assert!(ran.code == 5 && ran.stderr.contains("cp-1"), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn a_revoked_leader_is_followed_by_nobody() -> Result<()> {
    let federation = Federation::start(&["--control-nodes", "3", "--regions", "1"])?;
    let status =
        || Ok::<Value, anyhow::Error>(serde_json::from_str(&federation.ok(&["status", "-o", "json"])?)?);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let leader = text(&status()?["leader"]);
    let leads = format!("{leader}.server.control.hanse.internal");

    // It does not cut itself off: another one is asked.
    let nodes = status()?["nodes"].as_array().context("nodes")?.clone();
    let other = nodes.iter().find(|node| node["name"] != leader).context("another node")?;
    let mut client: toml::Table = std::fs::read_to_string(federation.client_config())?.parse()?;
    client.insert("servers".into(), vec![text(&other["api"])].into());
    client.insert("ca_file".into(), federation.data_dir().join("ca.crt").display().to_string().into());
    let config = federation.data_dir().join("other.toml");
    std::fs::write(&config, client.to_string())?;
    let asking = |arguments: &[&str]| {
        let config = config.display().to_string();
        federation.ok(&[&["--config", config.as_str()], arguments].concat())
    };
    asking(&["member", "revoke", &leads])?;

    let began = Instant::now();
    loop {
        let now: Value = serde_json::from_str(&asking(&["status", "-o", "json"])?)?;
        let agent = &now["regions"][0]["agents"][0];
        if now["leader"].is_string() && now["leader"] != leader && agent["connected"] == true {
            break;
        }
        if began.elapsed() > SOON {
            bail!("not within {SOON:?}: another leader, and the agent with it: {now}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Two of three go on, and take it back.
    asking(&["token", "create", "ci"])?;
    asking(&["member", "readmit", &leads])?;
    Ok(())
}
