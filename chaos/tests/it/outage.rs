//! The promise: the whole control plane is gone, gateways and agents restart, a new gateway joins, keys that
//! were not used before are used, and no request notices.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hanse_chaos::{
    Bug, Client, FlakyUpstream, Role, World, WorldOptions,
    load::{Load, LoadOptions},
    process::until,
};

use crate::{eventually, open_api, say};

/// Requests a second over all targets: steady load, not a benchmark; every one is judged.
const PER_SECOND: u32 = 60;
/// What a caller waits. A restart must not be visible as slowness either.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Requests that each target has to answer in each phase, so that the phase was under load.
const PER_PHASE: usize = 20;
/// For those requests to be answered: the slowest share of the load takes a second or two.
const PHASE_WITHIN: Duration = Duration::from_secs(20);
/// For a change to reach every gateway once the control plane is back: elections, reconnects of at most 5 s, a loaded machine.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(40);
/// Every how manieth answer the seeded bug spoils.
const SPOILT: u64 = 5;

/// An Api that asks for a key.
fn keyed_api(name: &str, upstream: &str) -> String {
    format!(
        "kind: Api\nname: {name}\nspec: {{context: /{name}, version: \"1\", security: {{apiKey: {{header: X-API-Key}}}}, \
         operations: [{{method: GET, path: /item}}]}}\n---\n\
         kind: Upstream\nname: {name}\nspec: {{endpoints: [{{url: \"{upstream}\"}}]}}\n---\n\
         kind: Binding\nname: {name}\nspec: {{api: {name}, environment: production, upstream: {name}}}\n"
    )
}

fn subscribe(world: &World, api: &str, application: &str) -> Result<String> {
    let arguments = ["subscribe", api, "--application", application, "--plan", "unlimited", "--wait=30s"];
    Ok(world.operator().ok(&arguments)?.trim().to_owned())
}

/// Waits until each of these gateways has answered some more requests.
pub(crate) async fn under_load(load: &Load, gateways: &[&str]) -> Result<()> {
    let before: Vec<_> = gateways.iter().map(|gateway| load.answered(gateway)).collect();
    until("requests are answered", PHASE_WITHIN, || async {
        for (gateway, before) in gateways.iter().zip(&before) {
            let more = load.answered(gateway) - before;
            ensure!(more >= PER_PHASE, "{gateway} answered {more} requests in this phase");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_plane_is_gone_and_no_request_fails() -> Result<()> {
    let mut world = World::set_up(WorldOptions::default()).await?;
    let upstream = world.url("upstream")?;
    world.operator().apply(&keyed_api("orders", &upstream))?;
    world.operator().apply(&open_api("doomed", &upstream, 1))?;
    let key = subscribe(&world, "orders", "shop")?;
    let unused = subscribe(&world, "orders", "stall")?;
    the_verdict_can_fail(&world).await?;

    let (first, second, third) = ("gateway-eu-west", "gateway-us-east", "gateway-eu-west-2");
    let target = |world: &World, gateway: &str, key: &str| world.target(gateway, "/orders/item", Some(key));
    let targets = vec![target(&world, first, &key)?, target(&world, second, &key)?];
    let load = Load::start(targets, LoadOptions { per_second: PER_SECOND, timeout: TIMEOUT })?;
    under_load(&load, &[first, second]).await?;

    // No control node is left to ask.
    let servers = world.of_role(Role::Server);
    for server in &servers {
        world.kill(server)?;
    }
    under_load(&load, &[first, second]).await?;
    // A gateway restarts beside its agent.
    world.kill(first)?;
    world.start(first).await?;
    under_load(&load, &[first, second]).await?;
    // And once more without it.
    world.kill("agent-eu-west")?;
    world.kill(first)?;
    world.start(first).await?;
    under_load(&load, &[first, second]).await?;
    // The agent is back, the control plane is not; a gateway that never was joins by the agent alone.
    world.start("agent-eu-west").await?;
    world.add_gateway("agent-eu-west", third).await?;
    load.add(target(&world, third, &key)?);
    under_load(&load, &[first, second, third]).await?;
    // A key that was issued before the cut and never used is good everywhere.
    for gateway in [first, second, third] {
        load.add(target(&world, gateway, &unused)?);
    }
    under_load(&load, &[first, second, third]).await?;
    changes_are_refused(&world)?;

    // One gateway is down while the control plane returns and things change.
    world.kill(second)?;
    world.start_together(&servers).await?;
    change(&world, &upstream).await?;
    for gateway in [first, third] {
        caught_up(&world, gateway).await?;
    }
    world.start(second).await?;
    caught_up(&world, second).await?;
    under_load(&load, &[first, second, third]).await?;
    let ran = world.operator().run(&["wait", "--revision", "latest", "--timeout", "30s"], "", &[])?;
    ensure!(ran.code == 0, "everybody serves the latest revision: {}", ran.stderr);

    let ledger = load.stop()?;
    let summary = ledger.verdict(world.windows())?;
    say(format!("traffic: {summary}; {} failed on connections to the killed", ledger.failures().count()));
    Ok(())
}

/// The checker is proven by a seeded bug behind a real gateway: exactly what the upstream spoils fails, and is named.
async fn the_verdict_can_fail(world: &World) -> Result<()> {
    let address = std::net::SocketAddr::from((world.own_address(), 0));
    let flaky = FlakyUpstream::start(address, Bug::Fails(SPOILT)).await?;
    world.operator().apply(&open_api("seeded", &format!("http://{}", flaky.address), 1))?;
    let gateway = "gateway-eu-west";
    let target = world.target(gateway, "/seeded/now-1", None)?;
    let load = Load::start(vec![target], LoadOptions { per_second: PER_SECOND, timeout: TIMEOUT })?;
    under_load(&load, &[gateway]).await?;
    let ledger = load.stop()?;
    let spoilt = ledger.entries().len() / SPOILT as usize;
    ensure!(ledger.failures().count() == spoilt, "{} failures", ledger.failures().count());
    let verdict = ledger.verdict(&[]).err().context("a verdict that cannot fail")?.to_string();
    ensure!(verdict.contains(&format!("{spoilt} of ")) && verdict.contains("status 500"), "{verdict}");
    world.operator().ok(&["delete", "binding", "seeded", "--wait=30s"])?;
    Ok(())
}

/// Without a control plane a change is refused at once and clearly.
fn changes_are_refused(world: &World) -> Result<()> {
    let ran = world.operator().run(&["apply", "-f", "-"], "kind: Plan\nname: late\nspec: {}\n", &[])?;
    ensure!(ran.code == 6, "no server answers: {ran:?}");
    Ok(())
}

/// A new Api, and one that is no more.
async fn change(world: &World, upstream: &str) -> Result<()> {
    until("the control plane takes changes", CAUGHT_UP_WITHIN, || async {
        let ran = world.operator().run(&["apply", "-f", "-"], &open_api("fresh", upstream, 1), &[])?;
        ensure!(ran.code == 0, "{}", ran.stderr);
        Ok(())
    })
    .await?;
    world.operator().ok(&["delete", "binding", "doomed"])?;
    Ok(())
}

async fn caught_up(world: &World, gateway: &str) -> Result<()> {
    let client: &Client = world.client();
    let url = world.url(gateway)?;
    let fresh = format!("{url}/fresh/now-1");
    eventually(client, &fresh, &[], CAUGHT_UP_WITHIN, |answer| answer.status == 200).await?;
    let doomed = format!("{url}/doomed/now-1");
    eventually(client, &doomed, &[], CAUGHT_UP_WITHIN, |answer| answer.status == 404)
        .await
        .with_context(|| format!("{gateway} still serves what was deleted"))?;
    Ok(())
}
