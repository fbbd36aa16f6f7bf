//! `--wait` means what it says.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hanse_chaos::{Client, Federation, Role, World, WorldOptions, process::until};
use nix::sys::signal::Signal;

fn api(number: u32, upstream: &str) -> String {
    format!(
        "kind: Api\nname: tick\nspec: {{context: /tick, version: \"{number}\", operations: [{{method: GET, path: /now-{number}}}]}}\n---\n\
         kind: Upstream\nname: tick\nspec: {{endpoints: [{{url: \"{upstream}\"}}]}}\n---\n\
         kind: Binding\nname: tick\nspec: {{api: tick, environment: production, upstream: tick}}\n"
    )
}

/// A gateway that is frozen while its lease lives is in scope: waiting fails and names it. Thawed, it catches up.
#[tokio::test]
async fn a_frozen_gateway_fails_the_wait_by_name() -> Result<()> {
    let federation = Federation::start(&["--control-nodes", "1", "--regions", "2"])?;
    let client = Client::new(None)?;
    let upstream = federation.process("upstream")?.http.expect("the upstream has an address");
    federation.apply(&api(1, &upstream))?;

    federation.signal("gateway-us-east", Signal::SIGSTOP)?;
    let began = Instant::now();
    let ran = federation.cli_with_input(&["apply", "-f", "-", "--wait=4s"], &api(2, &upstream))?;
    assert_eq!(ran.code, 7, "{ran:?}");
    assert!(ran.stderr.contains("gateway-us-east"), "the one that does not serve it is named: {ran:?}");
    assert!(!ran.stderr.contains("gateway-eu-west"), "the one that does is not: {ran:?}");
    assert!(began.elapsed() >= Duration::from_secs(4), "it waited as long as asked");

    // It was applied all the same, and the other region serves it.
    let eu_west = federation.process("gateway-eu-west")?.http.expect("an address");
    assert_eq!(client.get(&format!("{eu_west}/tick/now-2"), &[]).await?.status, 200);

    federation.signal("gateway-us-east", Signal::SIGCONT)?;
    federation.ok(&["wait", "--revision", "latest", "--timeout", "30s"])?;
    let us_east = federation.process("gateway-us-east")?.http.expect("an address");
    assert_eq!(client.get(&format!("{us_east}/tick/now-2"), &[]).await?.status, 200);
    Ok(())
}

/// What `--wait` may never do: say that a change is served while a live gateway does not serve it. Any node may fall silent.
#[tokio::test]
async fn success_means_served_whoever_falls_silent() -> Result<()> {
    let federation = Federation::start(&["--control-nodes", "3", "--regions", "2"])?;
    let client = Client::new(None)?;
    let upstream = federation.process("upstream")?.http.expect("the upstream has an address");
    let gateways = federation.gateways()?;
    federation.apply(&api(1, &upstream))?;

    // Each control node in turn is frozen: it may lead, and agents may follow it.
    for (number, node) in [(2, "cp-1"), (3, "cp-2"), (4, "cp-3")] {
        federation.signal(node, Signal::SIGSTOP)?;
        let ran = federation.cli_with_input(&["apply", "-f", "-", "--wait=30s"], &api(number, &upstream))?;
        assert!([0, 6, 7].contains(&ran.code), "{ran:?}");
        if ran.code == 0 {
            for (name, gateway) in &gateways {
                let answer = client.get(&format!("{gateway}/tick/now-{number}"), &[]).await?;
                assert_eq!(
                    answer.status, 200,
                    "{node} is silent, and {name} does not serve what was waited for"
                );
            }
        }
        federation.signal(node, Signal::SIGCONT)?;
        federation.ok(&["wait", "--revision", "latest", "--timeout", "30s"])?;
    }

    // An agent that restarts has yet to hear from its gateways; a frozen one must not be forgotten meanwhile.
    federation.signal("gateway-us-east", Signal::SIGSTOP)?;
    let data = federation.data_dir();
    let data = data.to_str().expect("a plain path");
    federation.ok(&["dev", "kill", "agent-us-east", "--data-dir", data])?;
    federation.ok(&["dev", "start", "agent-us-east", "--data-dir", data])?;
    let ran = federation.cli_with_input(&["apply", "-f", "-", "--wait=3s"], &api(5, &upstream))?;
    assert_eq!(ran.code, 7, "{ran:?}");
    assert!(ran.stderr.contains("gateway-us-east"), "{ran:?}");
    federation.signal("gateway-us-east", Signal::SIGCONT)?;
    federation.ok(&["wait", "--revision", "latest", "--timeout", "30s"])?;
    Ok(())
}

/// A control node that falls silent is named for as long as it may have an agent that no other node has heard since, and no longer.
#[tokio::test]
async fn a_silent_control_node_is_named_until_its_agents_are_heard_elsewhere() -> Result<()> {
    /// A gathering takes a second at most; a loaded machine takes longer.
    const NAMED_WITHIN: Duration = Duration::from_secs(10);
    /// Agents leave a frozen node after some seconds; a lease lasts 15 s.
    const SETTLED_WITHIN: Duration = Duration::from_secs(60);
    let mut world = World::set_up(WorldOptions::default()).await?;
    let mut named = Vec::new();
    for (node, other) in [("cp-1", "cp-2"), ("cp-2", "cp-3"), ("cp-3", "cp-1")] {
        world.freeze(node)?;
        let frozen = Instant::now();
        // The agents are with some of the three nodes: with this one there may be none, and then it hides nothing.
        while frozen.elapsed() < NAMED_WITHIN && !named.contains(&node) {
            if answered(&world.status_of(other).await?, node) == Some(false) {
                named.push(node);
            }
        }
        until("all are heard elsewhere", SETTLED_WITHIN, || async {
            let status = world.status_of(other).await?;
            ensure!(answered(&status, node).is_none(), "{status}");
            let regions = status["regions"].as_array().into_iter().flatten();
            let agents: Vec<_> = regions.flat_map(|region| region["agents"].as_array()).flatten().collect();
            ensure!(agents.len() == 2 && agents.iter().all(|agent| agent["connected"] == true), "{status}");
            Ok(())
        })
        .await?;
        world.thaw(node).await?;
        for server in world.of_role(Role::Server) {
            until("all answer again", SETTLED_WITHIN, || async {
                let status = world.status_of(&server).await?;
                ensure!(answered(&status, node).is_none() && status["quorum"] == true, "{status}");
                Ok(())
            })
            .await?;
        }
    }
    assert!(!named.is_empty(), "a node that agents were with was never named");
    Ok(())
}

/// Whether a node answered the one whose status this is; not said where it hides nothing.
fn answered(status: &serde_json::Value, node: &str) -> Option<bool> {
    let nodes = status["nodes"].as_array().into_iter().flatten();
    nodes.filter(|found| found["name"] == node).find_map(|found| found["answered"].as_bool())
}
