//! `bench walk`: the way of a change and of a request, from start-up to memory, in figures.

use std::{
    collections::BTreeMap,
    io::Write,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;

use super::{
    Machine,
    machine::{commit, profile},
    ms,
    nginx::{self, Nginx, does_the_job},
    propagation::{self, Propagation},
    publish::{MOST_WRITE_BYTES, Publisher, bulk_path, key},
    traffic::{self, Traffic},
    writes::{self, Writes},
};
use crate::{Federation, World, WorldOptions, process::binary};

/// Changes before those that are measured: connections are made and code is paged in.
const WARM_UP: usize = 5;
/// Where the measured upstream and the peer listen, on the harness's own address.
const UPSTREAM_PORT: u16 = 9001;
const PEER_PORT: u16 = 8081;
/// The gateway that is measured against the peer, and that starts alone.
const GATEWAY: &str = "gateway-eu-west";

/// What to measure, and how much of it.
#[derive(Debug, Clone, Args)]
pub struct WalkArgs {
    /// A minute's worth, for CI: fewer Apis, changes and rounds unless they are named
    #[arg(long)]
    pub quick: bool,
    /// Apis present while changes are measured, growing; default 10,1000,10000 (quick: 10,500)
    #[arg(long, value_delimiter = ',', value_name = "N,…")]
    pub apis: Vec<usize>,
    /// Changes measured at each number of Apis; default 200 (quick: 20)
    #[arg(long, value_name = "N")]
    pub changes: Option<usize>,
    /// Clients that write at once
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub clients: usize,
    /// Bytes of text in each write
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub write_bytes: usize,
    /// Seconds of writes, and of each round of requests; default 10 (quick: 2)
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Rounds of requests for each gateway, taking turns; default 5 (quick: 1)
    #[arg(long, value_name = "N")]
    pub rounds: Option<usize>,
}

/// The options with their defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct WalkOptions {
    quick: bool,
    apis: Vec<usize>,
    changes: usize,
    clients: usize,
    write_bytes: usize,
    seconds: u64,
    rounds: usize,
}

impl WalkOptions {
    fn of(args: &WalkArgs) -> Result<Self> {
        let or = |quick, full| if args.quick { quick } else { full };
        let mut apis = args.apis.clone();
        if apis.is_empty() {
            apis = if args.quick { vec![10, 500] } else { vec![10, 1_000, 10_000] };
        }
        apis.sort_unstable();
        apis.dedup();
        ensure!(apis[0] > 0, "--apis: at least one Api is called");
        let options = Self {
            quick: args.quick,
            apis,
            changes: args.changes.unwrap_or(or(20, 200)),
            clients: args.clients,
            write_bytes: args.write_bytes,
            seconds: args.seconds.unwrap_or(if args.quick { 2 } else { 10 }),
            rounds: args.rounds.unwrap_or(or(1, 5)),
        };
        for (option, value) in
            [("changes", options.changes), ("clients", options.clients), ("rounds", options.rounds)]
        {
            ensure!(value > 0, "--{option} must be at least 1");
        }
        ensure!(options.write_bytes <= MOST_WRITE_BYTES, "--write-bytes must be at most {MOST_WRITE_BYTES}");
        Ok(options)
    }

    fn most_apis(&self) -> usize {
        self.apis.last().copied().unwrap_or_default()
    }
}

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
    let world = World::set_up(WorldOptions { gateway_workers: Some(1), ..WorldOptions::default() }).await?;
    let at = |port| SocketAddr::from((world.own_address(), port));
    let upstream = Nginx::upstream(nginx_program, world.dir(), at(UPSTREAM_PORT)).await?;
    let publisher = Publisher::new(&world, &upstream.url())?;
    let propagation = propagation_of(&world, &publisher, &options).await?;
    let memory_bytes = memory(&world)?;

    let key = key(&world)?;
    let peer = Nginx::gateway(
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
    let ratio = |ours: f64, its: f64| (ours / its * 1e3).round() / 1e3;
    Ok(Walk {
        bench: "walk",
        machine: Machine::of_this(),
        commit: commit(),
        profile: profile(&binary()?),
        start: Start { federation_ready_ms },
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
    let (mut measured, mut present, mut number) = (Vec::new(), 0, 0);
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

/// The table for people.
fn table(walk: &Walk) -> String {
    let mut text = format!(
        "\n{} ({} cores, kernel {}), commit {}, {} build\n\n",
        walk.machine.cpu, walk.machine.cores, walk.machine.kernel, walk.commit, walk.profile
    );
    let mut row = |what: &str, figure: String| text += &format!("{what:<44} {figure}\n");
    row("federation ready", format!("{:.1} s", walk.start.federation_ready_ms / 1e3));
    for with in &walk.propagation {
        row(
            &format!("commit → served by all, {} Apis", with.apis),
            format!("p50 {:.1} ms, p99 {:.1} ms", with.commit_to_served_p50_ms, with.commit_to_served_p99_ms),
        );
        row(
            "  counted from sending the write",
            format!(
                "p50 {:.1} ms, p99 {:.1} ms",
                with.request_to_served_p50_ms, with.request_to_served_p99_ms
            ),
        );
    }
    let writes = &walk.writes;
    row(
        &format!("writes by {} clients", writes.clients),
        format!(
            "{:.0}/s, p50 {:.1} ms, p99 {:.1} ms, {} failed",
            writes.per_second, writes.p50_ms, writes.p99_ms, writes.failed
        ),
    );
    for (name, traffic) in
        [("gateway", &walk.gateway), (&*format!("nginx {}", walk.nginx.version), &walk.nginx.gateway)]
    {
        row(
            &format!("{name}, 1 worker, {} Apis", walk.options.most_apis()),
            format!(
                "{:.0} requests/s, {:.1} µs CPU each, p99 {:.1} ms",
                traffic.requests_per_second, traffic.cpu_us_per_request, traffic.p99_ms
            ),
        );
    }
    for (name, bytes) in &walk.memory_bytes {
        row(&format!("memory of {name}"), format!("{:.0} MB", *bytes as f64 / 1e6));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> WalkArgs {
        WalkArgs {
            quick: false,
            apis: vec![],
            changes: None,
            clients: 64,
            write_bytes: 1_024,
            seconds: None,
            rounds: None,
        }
    }

    #[test]
    fn defaults_are_those_of_the_promise_and_quick_is_less() {
        let full = WalkOptions::of(&args()).unwrap();
        assert_eq!((full.apis.as_slice(), full.changes), (&[10, 1_000, 10_000][..], 200));
        let quick = WalkOptions::of(&WalkArgs { quick: true, ..args() }).unwrap();
        assert!(quick.most_apis() < full.most_apis() && quick.changes < full.changes);
        let named =
            WalkOptions::of(&WalkArgs { quick: true, changes: Some(7), apis: vec![9, 3, 9], ..args() });
        let named = named.unwrap();
        assert_eq!((named.apis.as_slice(), named.changes), (&[3, 9][..], 7));
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        for refused in [
            WalkArgs { apis: vec![0, 5], ..args() },
            WalkArgs { changes: Some(0), ..args() },
            WalkArgs { clients: 0, ..args() },
            WalkArgs { write_bytes: MOST_WRITE_BYTES + 1, ..args() },
        ] {
            assert!(WalkOptions::of(&refused).is_err(), "{refused:?}");
        }
    }
}
