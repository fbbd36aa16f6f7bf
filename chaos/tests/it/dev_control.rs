//! `hanse dev kill|start|add|ps`: cutting the roads with one's own hands.

use std::time::Duration;

use anyhow::Result;
use hanse_chaos::{Client, Federation};

use crate::eventually;

#[tokio::test]
async fn processes_are_killed_started_and_added() -> Result<()> {
    let federation = Federation::start(&["--control-nodes", "3", "--regions", "1"])?;
    let client = Client::new(None)?;
    let upstream = federation.process("upstream")?.http.expect("the upstream has an address");
    let data = federation.data_dir();
    let data = data.to_str().expect("a plain path");
    let dev = |arguments: &[&str]| federation.ok(&[&["dev"], arguments, &["--data-dir", data]].concat());
    federation.apply(&format!(
        "kind: Api\nname: tick\nspec: {{context: /tick, version: \"1\", operations: [{{method: GET, path: /now}}]}}\n---\n\
         kind: Upstream\nname: tick\nspec: {{endpoints: [{{url: \"{upstream}\"}}]}}\n---\n\
         kind: Binding\nname: tick\nspec: {{api: tick, environment: production, upstream: tick}}\n"
    ))?;
    let (_, gateway) = federation.gateways()?.remove(0);

    // A control node may go, also the leader; writes go on with the other two.
    dev(&["kill", "cp-1"])?;
    assert!(!federation.process("cp-1")?.up, "dev.json is replaced before the command returns");
    federation.apply("kind: Plan\nname: extra\nspec: {}\n")?;
    assert_eq!(client.get(&format!("{gateway}/tick/now"), &[]).await?.status, 200);
    dev(&["start", "cp-1"])?;
    assert!(federation.process("cp-1")?.up);

    // A new gateway joins through the agent and serves what is published.
    let name = dev(&["add", "gateway", "--region", "eu-west"])?.trim().to_owned();
    let added = federation.process(&name)?;
    assert_eq!((added.role.as_str(), added.region.as_deref()), ("gateway", Some("eu-west")));
    let address = added.http.expect("an address");
    eventually(&client, &format!("{address}/tick/now"), &[], Duration::from_secs(10), |answer| {
        answer.status == 200
    })
    .await?;

    // A killed gateway comes back at its address.
    dev(&["kill", &name])?;
    assert!(client.get(&format!("{address}/tick/now"), &[]).await.is_err(), "it is gone");
    dev(&["start", &name])?;
    assert_eq!(client.get(&format!("{address}/tick/now"), &[]).await?.status, 200);

    let listed = dev(&["ps"])?;
    for process in ["cp-1", "cp-2", "cp-3", "agent-eu-west", "gateway-eu-west", &name] {
        assert!(listed.contains(process), "{process} is listed: {listed}");
    }
    Ok(())
}
