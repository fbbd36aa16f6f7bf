//! Regions that are far away: every message takes its time, and one day nothing comes any more. Without namespaces: the road
//! is a proxy.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hanse_chaos::{
    Role, World, WorldOptions,
    delay::{Road, Way},
    load::{Load, LoadOptions},
    process::until,
};

use crate::{eventually, open_api, say};

/// One way between continents, generously.
const FAR: Duration = Duration::from_millis(150);
/// For agents to see that a silent road is dead and to be told so; for a reconnect after it.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_far_region_is_served_late_once_and_a_silent_road_is_noticed() -> Result<()> {
    let way = Way { delay: FAR, bytes_per_second: None };
    let options = WorldOptions { control_nodes: 1, road: Some([way, way]), ..WorldOptions::default() };
    let world = World::set_up(options).await?;
    let upstream = world.url("upstream")?;
    world.operator().apply(&open_api("tick", &upstream, 0))?;
    let gateways = world.of_role(Role::Gateway);
    let targets = gateways.iter().map(|gateway| world.target(gateway, "/tick/now-0", None));
    let options = LoadOptions { per_second: 50, timeout: Duration::from_secs(3) };
    let load = Load::start(targets.collect::<Result<_>>()?, options)?;

    // A change takes the way down before a gateway serves it, and the way up before the operator knows.
    let began = Instant::now();
    world.operator().apply(&open_api("tock", &upstream, 1))?;
    let took = began.elapsed();
    ensure!(took >= 2 * FAR, "a change cannot be known to be served after {took:?}");
    served(&world, 1).await?;

    // The road falls silent: nothing comes, and no connection is closed.
    world.roads().for_each(Road::pause);
    until("status says who is silent", NOTICED_WITHIN, || async {
        let table = world.operator().ok(&["status"])?;
        let silent = table.lines().filter(|line| line.contains(" agent-") && line.contains("silent")).count();
        ensure!(silent == gateways.len(), "{table}");
        Ok(())
    })
    .await?;
    let ran = world.operator().run(&["apply", "-f", "-"], &open_api("tock", &upstream, 2), &[])?;
    ensure!(ran.code == 0, "{}", ran.stderr);
    for gateway in &gateways {
        let old = world.client().get(&format!("{}/tock/now-1", world.url(gateway)?), &[]).await?;
        ensure!(old.status == 200, "{gateway} serves what it last learnt: {old:?}");
    }
    let opened = Instant::now();
    world.roads().for_each(Road::resume);
    served(&world, 2).await?;
    say(format!("{took:.1?} for a change there and back, {:.1?} to catch up", opened.elapsed()));
    let summary = load.stop()?.verdict(&[])?;
    say(format!("traffic: {summary}"));
    Ok(())
}

async fn served(world: &World, number: u32) -> Result<()> {
    for gateway in world.of_role(Role::Gateway) {
        let url = format!("{}/tock/now-{number}", world.url(&gateway)?);
        eventually(world.client(), &url, &[], NOTICED_WITHIN, |answer| answer.status == 200).await?;
    }
    Ok(())
}
