//! The disk under an agent or a gateway: full, truncated, a bit flipped. Each heals or says what is wrong; traffic goes on.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use hanse_chaos::{
    Role, World, WorldOptions,
    load::{Load, LoadOptions},
    process::until,
    spec,
};

use crate::{eventually, open_api, say};

const AGENT: &str = "agent-us-east";
const GATEWAY: &str = "gateway-us-east";
/// Room for the store as it is, and soon none.
const DISK_MEGABYTES: u32 = 12;
/// For a store to say what it met, and to try again.
const SAID_WITHIN: Duration = Duration::from_secs(30);
/// Apart in a file so that every page of 4 KiB is hit: whichever page is read, something is wrong with it.
const FLIP_EVERY: usize = 2_048;

/// A small disk, mounted over a directory; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Puts what is in `dir` onto it.
    fn under(dir: &Path) -> Result<Self> {
        let aside = dir.with_extension("aside");
        fs::rename(dir, &aside)?;
        fs::create_dir(dir)?;
        let size = format!("size={DISK_MEGABYTES}m,mode=0700");
        run("mount", &["-t", "tmpfs", "-o", &size, "hanse-chaos", text(dir)?])?;
        let disk = Self(dir.to_owned());
        run("cp", &["-a", &format!("{}/.", text(&aside)?), text(dir)?])?;
        Ok(disk)
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Writes until nothing fits.
    fn fill(&self) -> Result<()> {
        let mut filler = fs::File::create(self.filler())?;
        let piece = vec![0; 4_096];
        while filler.write_all(&piece).is_ok() {}
        Ok(())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the processes that have files open there are about to be killed.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a plain path")
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).output().with_context(|| program.to_owned())?;
    ensure!(
        output.status.success(),
        "{program} {arguments:?} (needs root): {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// The value of a metric of an agent or gateway.
async fn metric(world: &World, name: &str, metric: &str) -> Result<f64> {
    let port = if name.starts_with("agent") { spec::AGENT_ADMIN } else { spec::GATEWAY_ADMIN };
    let url = format!("http://{}/metrics", spec::at(world.address(name)?, port));
    let answer = world.client().get(&url, &[]).await?;
    let page = String::from_utf8_lossy(&answer.body).into_owned();
    let value = page.lines().find_map(|line| line.strip_prefix(metric)?.trim().parse().ok());
    value.with_context(|| format!("{name} has no {metric}:\n{page}"))
}

async fn becomes(world: &World, name: &str, what: &str, wanted: f64) -> Result<()> {
    until(&format!("{name}: {what} {wanted}"), SAID_WITHIN, || async {
        let now = metric(world, name, what).await?;
        ensure!(now == wanted, "{now}");
        Ok(())
    })
    .await
}

/// Eight Apis with more text than the small disk has room for a copy of.
fn large(upstream: &str, version: u32) -> String {
    let mut manifests =
        format!("kind: Upstream\nname: large\nspec: {{endpoints: [{{url: \"{upstream}\"}}]}}\n");
    for api in 0..8 {
        let padding = "x".repeat(200);
        let operations: Vec<_> = (0..1_200)
            .map(|number| format!("{{method: GET, path: /v{version}/{padding}/{number}}}"))
            .collect();
        manifests += &format!(
            "---\nkind: Api\nname: large-{api}\nspec: {{context: /large-{api}, version: \"{version}\", operations: [{}]}}\n---\n\
             kind: Binding\nname: large-{api}\nspec: {{api: large-{api}, environment: production, upstream: large}}\n",
            operations.join(", ")
        );
    }
    manifests
}

/// The store's file of a node.
fn store(world: &World, name: &str) -> Result<PathBuf> {
    let path = world.data_dir(name).join("store/store.redb");
    ensure!(path.exists(), "{name} has no store at {}", path.display());
    Ok(path)
}

async fn serves(world: &World, path: &str) -> Result<()> {
    for gateway in world.of_role(Role::Gateway) {
        let url = format!("{}{path}", world.url(&gateway)?);
        eventually(world.client(), &url, &[], SAID_WITHIN, |answer| answer.status == 200).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_disk_is_told_and_heals_and_traffic_goes_on() -> Result<()> {
    let mut world = World::set_up(WorldOptions { control_nodes: 1, ..WorldOptions::default() }).await?;
    let upstream = world.url("upstream")?;
    world.operator().apply(&open_api("tick", &upstream, 0))?;
    let options = LoadOptions { per_second: 50, timeout: Duration::from_secs(5) };
    let gateways = world.of_role(Role::Gateway);
    let targets = gateways.iter().map(|name| world.target(name, "/tick/now-0", None));
    let load = Load::start(targets.collect::<Result<_>>()?, options)?;

    a_full_disk(&mut world, &upstream).await?;
    a_damaged_agent(&mut world, &upstream).await?;
    // No gateway was touched so far: nothing is excused.
    let summary = load.stop()?.verdict(&[])?;
    say(format!("traffic: {summary}"));

    let other = "gateway-eu-west";
    let load = Load::start(vec![world.target(other, "/tick/now-0", None)?], options)?;
    a_damaged_gateway(&mut world, &upstream).await?;
    load.stop()?.verdict(&[])?;
    Ok(())
}

/// An agent whose disk is full relays from memory, says so, and keeps everything once there is room.
async fn a_full_disk(world: &mut World, upstream: &str) -> Result<()> {
    world.kill(AGENT)?;
    let disk = SmallDisk::under(&world.data_dir(AGENT))?;
    world.start(AGENT).await?;
    becomes(world, AGENT, "hanse_store_writable", 1.0).await?;
    disk.fill()?;
    world.operator().apply(&large(upstream, 1))?;
    world.operator().apply(&open_api("tock", upstream, 1))?;
    serves(world, "/tock/now-1").await?;
    becomes(world, AGENT, "hanse_store_writable", 0.0).await?;
    let log = world.process(AGENT)?.log();
    ensure!(log.contains("cannot be written"), "the log says so: {log}");
    // A restart on the full disk comes back with less and catches up.
    world.kill(AGENT)?;
    world.start(AGENT).await?;
    world.operator().apply(&open_api("tock", upstream, 2))?;
    serves(world, "/tock/now-2").await?;
    fs::remove_file(disk.filler())?;
    becomes(world, AGENT, "hanse_store_writable", 1.0).await?;
    world.operator().apply(&open_api("tock", upstream, 3))?;
    world.kill(AGENT)?;
    drop(disk);
    // What was on the disk is gone with it; the agent finds what it had before.
    let dir = world.data_dir(AGENT);
    fs::remove_dir(&dir)?;
    fs::rename(dir.with_extension("aside"), &dir)?;
    world.start(AGENT).await?;
    world.operator().apply(&open_api("tock", upstream, 4))?;
    serves(world, "/tock/now-4").await
}

/// What a disk does to a file.
fn damage(path: &Path, how: &str) -> Result<()> {
    let mut content = fs::read(path)?;
    match how {
        "truncated" => content.truncate(content.len() / 2),
        "flipped" => content.iter_mut().step_by(FLIP_EVERY).for_each(|byte| *byte ^= 1),
        "empty" => content.clear(),
        _ => bail!("no such damage: {how}"),
    }
    fs::write(path, content).with_context(|| path.display().to_string())
}

/// An agent whose store is damaged says so, fetches everything again and serves its gateways.
async fn a_damaged_agent(world: &mut World, upstream: &str) -> Result<()> {
    for (number, how) in [(5, "truncated"), (6, "flipped"), (7, "empty")] {
        world.kill(AGENT)?;
        damage(&store(world, AGENT)?, how)?;
        world.start(AGENT).await?;
        told_damaged(world, AGENT, how).await?;
        world.operator().apply(&open_api("tock", upstream, number))?;
        serves(world, &format!("/tock/now-{number}")).await?;
        // And it keeps again what it learns.
        becomes(world, AGENT, "hanse_store_writable", 1.0).await?;
    }
    Ok(())
}

/// A gateway whose store is damaged fetches everything from its agent.
async fn a_damaged_gateway(world: &mut World, upstream: &str) -> Result<()> {
    for (number, how) in [(8, "truncated"), (9, "flipped")] {
        world.kill(GATEWAY)?;
        damage(&store(world, GATEWAY)?, how)?;
        world.start(GATEWAY).await?;
        told_damaged(world, GATEWAY, how).await?;
        world.operator().apply(&open_api("tock", upstream, number))?;
        serves(world, &format!("/tock/now-{number}")).await?;
    }
    Ok(())
}

async fn told_damaged(world: &World, name: &str, how: &str) -> Result<()> {
    if how == "empty" {
        return Ok(()); // an empty file is a new store, to redb and to us
    }
    let mut told = 0.0;
    for what in ["file", "scope"] {
        told += metric(world, name, &format!("hanse_store_damaged_total{{what=\"{what}\"}}")).await?;
    }
    ensure!(told >= 1.0, "{name} says nothing of its {how} store");
    Ok(())
}
