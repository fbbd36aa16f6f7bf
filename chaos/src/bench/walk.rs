//! `bench walk`: the way of a change and of a request, from start-up to memory, in figures.

mod options;
mod table;

use std::{
    collections::BTreeMap,
    io::Write,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::{
    Machine,
    machine::{commit, profile},
    ms,
    nginx::{self, Nginx, does_the_job},
    propagation::{self, Propagation},
    publish::{Publisher, bulk_path, key},
    traffic::{self, Traffic},
    writes::{self, Writes},
};
use crate::{Federation, Role, World, WorldOptions, process::binary};
pub use options::WalkArgs;
use options::WalkOptions;
use table::table;

/// Changes before those that are measured: connections are made and code is paged in.
const WARM_UP: usize = 5;
/// Where the measured upstream and the peer listen, on the harness's own address.
const UPSTREAM_PORT: u16 = 9001;
const PEER_PORT: u16 = 8081;
/// The gateway that is measured against the peer, and that starts alone.
const GATEWAY: &str = "gateway-eu-west";

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Walk {
    bench: &'static str,
    machine: Machine,
    commit: String,
    profile: String,
    options: WalkOptions,
    start: Start,
    propagation: Vec<Propagation>,
    writes: Writes,
    gateway: Traffic,
    /// Resident bytes of each process with the most Apis present.
    memory_bytes: BTreeMap<String, u64>,
    nginx: Peer,
}

#[derive(Debug, Serialize)]
struct Start {
    /// From `hanse dev` in an empty directory until every gateway serves.
    federation_ready_ms: f64,
    /// A killed gateway, with neither agent nor control plane: from its start until it answers a call with a key.
    gateway_alone_ms: f64,
    /// The Apis it then serves from its own store.
    gateway_alone_apis: usize,
}

#[derive(Debug, Serialize)]
struct Peer {
    version: String,
    gateway: Traffic,
    /// Ours for each of its: above 1 we serve more.
    our_requests_ratio: f64,
    /// Ours for each of its: below 1 we need less.
    our_cpu_ratio: f64,
}

/// Measures, prints the table and the line.
pub async fn run(args: &WalkArgs) -> Result<()> {
    let options = WalkOptions::of(args)?;
    let (nginx_program, version) = nginx::find()?;
    traffic::find()?;
    let walk = measure(options, &nginx_program, version).await?;
    std::io::stderr().write_all(table(&walk).as_bytes())?;
    let line = serde_json::to_string(&walk)?;
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

async fn measure(options: WalkOptions, nginx_program: &Path, version: String) -> Result<Walk> {
    say("a federation from nothing");
    let federation_ready_ms = federation_ready()?;
    say("a federation to measure");
    let mut world =
        World::set_up(WorldOptions { gateway_workers: Some(1), ..WorldOptions::default() }).await?;
    let at = |port| SocketAddr::from((world.own_address(), port));
    let upstream = nginx::upstream(nginx_program, world.dir(), at(UPSTREAM_PORT)).await?;
    let publisher = Publisher::new(&world, &upstream.url())?;
    let propagation = propagation_of(&world, &publisher, &options).await?;
    let memory_bytes = memory(&world)?;

    let key = key(&world)?;
    let peer = nginx::gateway(
        nginx_program,
        world.dir(),
        at(PEER_PORT),
        at(UPSTREAM_PORT),
        options.most_apis(),
        &key,
    )
    .await?;
    let (gateway, nginx) = side_by_side(&world, &peer, &options, &key).await?;
    drop(peer);

    say("writes");
    let during = Duration::from_secs(options.seconds);
    let writes = writes::measure(&publisher, options.clients, options.write_bytes, during).await?;
    say("a gateway alone");
    let gateway_alone_apis = options.most_apis();
    let gateway_alone_ms = ms(gateway_alone(&mut world, gateway_alone_apis, &key).await?);
    let ratio = |ours: f64, its: f64| (ours / its * 1e3).round() / 1e3;
    Ok(Walk {
        bench: "walk",
        machine: Machine::of_this(),
        commit: commit(),
        profile: profile(&binary()?),
        start: Start { federation_ready_ms, gateway_alone_ms, gateway_alone_apis },
        propagation,
        writes,
        nginx: Peer {
            version,
            our_requests_ratio: ratio(gateway.requests_per_second, nginx.requests_per_second),
            our_cpu_ratio: ratio(gateway.cpu_us_per_request, nginx.cpu_us_per_request),
            gateway: nginx,
        },
        gateway,
        memory_bytes,
        options,
    })
}

/// How long `hanse dev` takes; the federation is stopped again.
fn federation_ready() -> Result<f64> {
    let began = Instant::now();
    let federation = Federation::start(&[])?;
    let took = began.elapsed();
    drop(federation);
    Ok(ms(took))
}

/// Changes with more and more Apis present.
async fn propagation_of(
    world: &World,
    publisher: &Publisher,
    options: &WalkOptions,
) -> Result<Vec<Propagation>> {
    publisher.base().await?;
    publisher.make_probe().await?;
    let (mut measured, mut present, mut number) = (Vec::new(), 0, 1);
    for &apis in &options.apis {
        say(format!("changes with {apis} Apis"));
        publisher.bulk(present..apis).await?;
        present = apis;
        world.operator().ok(&["wait", "--revision", "latest", "--timeout", "300s"])?;
        propagation::measure(world, publisher, apis, WARM_UP, number).await?;
        number += WARM_UP;
        measured.push(propagation::measure(world, publisher, apis, options.changes, number).await?);
        number += options.changes;
    }
    Ok(measured)
}

fn memory(world: &World) -> Result<BTreeMap<String, u64>> {
    let of = |name: &str| Ok((name.to_owned(), world.process(name)?.resident_bytes()?));
    world.names().filter(|name| *name != "upstream").map(of).collect()
}

/// How long a killed gateway takes until it serves its Apis again, without control nodes and agents.
async fn gateway_alone(world: &mut World, apis: usize, key: &str) -> Result<Duration> {
    let others = [world.of_role(Role::Server), world.of_role(Role::Agent)].concat();
    for name in &others {
        world.kill(name)?;
    }
    world.kill(GATEWAY)?;
    let began = Instant::now();
    world.start(GATEWAY).await?;
    let url = world.url(GATEWAY)?;
    let called = world.client().get(&format!("{url}{}", bulk_path(0)), &[("x-api-key", key)]).await?;
    let took = began.elapsed();
    ensure!(called.status == 200, "{GATEWAY} alone: {called:?}");
    let last = world.client().get(&format!("{url}{}", bulk_path(apis - 1)), &[]).await?;
    ensure!(last.status == 401, "the last Api is there and asks for a key: {last:?}");
    Ok(took)
}

/// Rounds that take turns, so that what else happens on the machine hits both.
async fn side_by_side(
    world: &World,
    peer: &Nginx,
    options: &WalkOptions,
    key: &str,
) -> Result<(Traffic, Traffic)> {
    let path = bulk_path(0);
    let (our_url, its_url) = (format!("{}{path}", world.url(GATEWAY)?), format!("{}{path}", peer.url()));
    for url in [&our_url, &its_url] {
        does_the_job(world.client(), url, key).await?;
    }
    let during = Duration::from_secs(options.seconds);
    let (mut ours, mut its) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        say(format!("requests, round {round} of {}", options.rounds));
        ours.push(traffic::round(&our_url, key, during, || world.process(GATEWAY)?.cpu_time()).await?);
        its.push(traffic::round(&its_url, key, during, || peer.cpu_time()).await.context("nginx")?);
    }
    Ok((Traffic::of(ours), Traffic::of(its)))
}

/// What is being measured now, for people.
fn say(what: impl std::fmt::Display) {
    // Who reads it is not there; the figures are none the worse.
    let _ = writeln!(std::io::stderr(), "measuring: {what}");
}
