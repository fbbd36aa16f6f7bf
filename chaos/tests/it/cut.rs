//! Roads are cut and processes freeze, in network namespaces. What is wrong heals or is said; traffic goes on.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hanse_chaos::{
    Placement, Role, World, WorldOptions,
    load::{Load, LoadOptions},
    netns::{self, Cut},
    process::until,
};
use serde_json::Value;

use crate::{open_api, say};

/// A publisher out of contact for 5 s is left (protocol §3.4), one that knows of its lost quorum before; then come a second
/// until a bookmark says so, up to 10 s in which those left in the election before are no alternative, and a loaded machine.
const LEFT_WITHIN: Duration = Duration::from_secs(20);
/// For what was cut to be as it was: a reconnect waits at most 5 s, an election some.
const HEALED_WITHIN: Duration = Duration::from_secs(40);
/// For a frozen process to be told as silent: a lease of 15 s, and connections that are given up before.
const SAID_WITHIN: Duration = Duration::from_secs(30);

/// The control node that an agent follows, by its address in the agent's connections.
fn followed_by(world: &World, agent: &str) -> Result<String> {
    let namespace = world.process(agent)?.launch().namespace.clone().context("a namespace")?;
    let output = std::process::Command::new("ip")
        .args(["netns", "exec", &namespace, "cat", "/proc/net/tcp"])
        .output()
        .context("ip netns exec")?;
    let table = String::from_utf8(output.stdout)?;
    let servers = world.of_role(Role::Server);
    let mut followed: Vec<_> = Vec::new();
    for server in servers {
        let address = world.address(&server)?;
        let peer =
            format!("{:08X}:{:04X}", u32::from_le_bytes(address.octets()), hanse_chaos::spec::FEDERATION);
        // Remote address is the third column, the state the fourth: 01 is established.
        let established = table.lines().any(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            columns.get(2) == Some(&peer.as_str()) && columns.get(3) == Some(&"01")
        });
        if established {
            followed.push(server);
        }
    }
    ensure!(followed.len() == 1, "{agent} has connections to {followed:?}");
    followed.pop().context("one is there")
}

/// The agents and gateways that a node's status shows as not connected.
fn not_connected(status: &Value) -> Vec<String> {
    let regions = status["regions"].as_array().into_iter().flatten();
    let nodes = regions.flat_map(|region| {
        ["agents", "gateways"].into_iter().flat_map(|kind| region[kind].as_array().into_iter().flatten())
    });
    nodes
        .filter(|node| node["connected"] != true)
        .map(|node| node["name"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Waits until everything is connected and a change made now is served everywhere.
async fn healed(world: &World, number: u32) -> Result<()> {
    until("everybody is connected", HEALED_WITHIN, || async {
        let status = world.status()?;
        let silent = not_connected(&status);
        ensure!(silent.is_empty() && status["quorum"] == true, "not connected: {silent:?}");
        Ok(())
    })
    .await?;
    published(world, number).await
}

/// Makes a change and sees it served by every gateway.
async fn published(world: &World, number: u32) -> Result<()> {
    let upstream = world.url("upstream")?;
    let ran = world.operator().run(
        &["apply", "-f", "-", "--wait=60s"],
        &open_api("tock", &upstream, number),
        &[],
    )?;
    ensure!(ran.code == 0, "change {number}: {}", ran.stderr);
    for gateway in world.of_role(Role::Gateway) {
        let answer = world.client().get(&format!("{}/tock/now-{number}", world.url(&gateway)?), &[]).await?;
        ensure!(answer.status == 200, "{gateway} does not serve change {number}: {answer:?}");
    }
    Ok(())
}

/// Each part leaves the federation as it found it; one federation for all saves setting it up five times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roads_are_cut_and_processes_freeze() -> Result<()> {
    if let Some(missing) = netns::missing() {
        anyhow::bail!("{missing}");
    }
    let options = WorldOptions { placement: Placement::Namespaces, ..WorldOptions::default() };
    let mut world = World::set_up(options).await?;
    let upstream = world.url("upstream")?;
    world.operator().apply(&open_api("tick", &upstream, 0))?;
    let targets =
        world.of_role(Role::Gateway).into_iter().map(|name| world.target(&name, "/tick/now-0", None));
    let options = LoadOptions { per_second: 50, timeout: Duration::from_secs(5) };
    let load = Load::start(targets.collect::<Result<_>>()?, options)?;

    let outcome = every_part(&mut world).await;
    outcome.inspect_err(|_| say(world.logs()))?;

    let ledger = load.stop()?;
    let summary = ledger.verdict(world.windows())?;
    say(format!("traffic: {summary}"));
    // Only the frozen gateway had an excuse.
    let frozen = "gateway-us-east";
    let others = ledger.failures().filter(|entry| entry.target != frozen).count();
    ensure!(others == 0, "{others} requests failed that went elsewhere than to {frozen}");
    Ok(())
}

async fn every_part(world: &mut World) -> Result<()> {
    a_node_cut_off_is_left(world).await?;
    a_follower_that_hears_no_leader_is_left(world).await?;
    a_link_lost_one_way_is_left(world).await?;
    a_region_cut_off_goes_on_and_catches_up(world).await?;
    a_frozen_agent_is_told_and_returns(world).await?;
    a_frozen_gateway_is_told_and_returns(world).await
}

/// Waits until an agent follows another node than this.
async fn left(world: &World, agent: &str, node: &str) -> Result<()> {
    until("the agent follows another node", LEFT_WITHIN, || async {
        let now = followed_by(world, agent)?;
        ensure!(now != node, "{agent} still follows {node}");
        Ok(())
    })
    .await
}

/// A node that does not lead and that the agent follows; the agent is made to leave the leader.
async fn follower_of(world: &World, agent: &str) -> Result<String> {
    let leader = world.agreed_leader().await?;
    if followed_by(world, agent)? == leader {
        world.network()?.cut(&leader, agent, Cut::Both)?;
        left(world, agent, &leader).await?;
        world.network()?.heal(&leader, agent, Cut::Both)?;
    }
    followed_by(world, agent)
}

/// A follower that no longer hears the others still answers its agents; they leave it all the same.
async fn a_node_cut_off_is_left(world: &World) -> Result<()> {
    let agent = "agent-eu-west";
    let node = follower_of(world, agent).await?;
    let others: Vec<_> = world.of_role(Role::Server).into_iter().filter(|name| *name != node).collect();
    for other in &others {
        world.network()?.cut(&node, other, Cut::Both)?;
    }
    let cut = Instant::now();
    left(world, agent, &node).await?;
    let took = cut.elapsed();
    // Left for what it says of itself, not because the link to it broke.
    let log = world.process(agent)?.log();
    ensure!(log.contains("leaving for another publisher"), "{log}");
    // It still answers, and says that it is alone.
    let alone = world.status_of(&node).await?;
    ensure!(alone["quorum"] == false, "{node} is cut off and says {alone}");
    say(format!("{node} was cut off and left by {agent} after {:.1} s", took.as_secs_f64()));
    // The other two take changes and the region gets them.
    published(world, 1).await?;
    for other in &others {
        world.network()?.heal(&node, other, Cut::Both)?;
    }
    healed(world, 2).await
}

/// A follower does not hear the leader, who hears it: its calls for elections must not stop the others, and its agents leave.
async fn a_follower_that_hears_no_leader_is_left(world: &World) -> Result<()> {
    let agent = "agent-eu-west";
    let node = follower_of(world, agent).await?;
    let leader = world.agreed_leader().await?;
    ensure!(leader != node, "{node} follows nobody");
    world.network()?.cut(&leader, &node, Cut::OneWay)?;
    let cut = Instant::now();
    left(world, agent, &node).await?;
    say(format!("{node} did not hear {leader} and was left after {:.1} s", cut.elapsed().as_secs_f64()));
    published(world, 9).await?;
    world.network()?.heal(&leader, &node, Cut::OneWay)?;
    healed(world, 10).await
}

/// An agent that hears nothing from its node, though the node hears it, follows another.
async fn a_link_lost_one_way_is_left(world: &World) -> Result<()> {
    let agent = "agent-us-east";
    let node = followed_by(world, agent)?;
    world.network()?.cut(&node, agent, Cut::OneWay)?;
    let cut = Instant::now();
    left(world, agent, &node).await?;
    say(format!(
        "{node} was not heard any more and left by {agent} after {:.1} s",
        cut.elapsed().as_secs_f64()
    ));
    published(world, 3).await?;
    world.network()?.heal(&node, agent, Cut::OneWay)?;
    healed(world, 4).await
}

/// A whole region without the control plane serves; a change waits for it, and reaches it once the road is back.
async fn a_region_cut_off_goes_on_and_catches_up(world: &World) -> Result<()> {
    let agent = "agent-us-east";
    for node in world.of_role(Role::Server) {
        world.network()?.cut(&node, agent, Cut::Both)?;
    }
    let change = open_api("tock", &world.url("upstream")?, 5);
    let ran = world.operator().run(&["apply", "-f", "-", "--wait=5s"], &change, &[])?;
    ensure!(ran.code == 7, "the wait cannot succeed while a live region is cut off: {ran:?}");
    ensure!(ran.stderr.contains("gateway-us-east"), "what does not serve it is named: {ran:?}");
    let there = world.client().get(&format!("{}/tock/now-5", world.url("gateway-eu-west")?), &[]).await?;
    ensure!(there.status == 200, "the other region is not held up: {there:?}");
    let old = world.client().get(&format!("{}/tock/now-4", world.url("gateway-us-east")?), &[]).await?;
    ensure!(old.status == 200, "the region serves what it last learnt: {old:?}");
    for node in world.of_role(Role::Server) {
        world.network()?.heal(&node, agent, Cut::Both)?;
    }
    world.operator().ok(&["wait", "--revision", "latest", "--timeout", "60s"])?;
    let now = world.client().get(&format!("{}/tock/now-5", world.url("gateway-us-east")?), &[]).await?;
    ensure!(now.status == 200, "the change reached the region: {now:?}");
    healed(world, 6).await
}

async fn a_frozen_agent_is_told_and_returns(world: &mut World) -> Result<()> {
    let agent = "agent-us-east";
    world.freeze(agent)?;
    told_as_silent(world, agent).await?;
    world.thaw(agent).await?;
    healed(world, 7).await
}

async fn a_frozen_gateway_is_told_and_returns(world: &mut World) -> Result<()> {
    let gateway = "gateway-us-east";
    world.freeze(gateway)?;
    told_as_silent(world, gateway).await?;
    world.thaw(gateway).await?;
    healed(world, 8).await
}

/// `hanse status` says of a process that is frozen that it is silent.
async fn told_as_silent(world: &World, name: &str) -> Result<()> {
    until("status says who is silent", SAID_WITHIN, || async {
        let table = world.operator().ok(&["status"])?;
        let line = table.lines().find(|line| line.contains(&format!(" {name} "))).context("it is listed")?;
        ensure!(line.contains("silent"), "{line}");
        Ok(())
    })
    .await
}
