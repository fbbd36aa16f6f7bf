//! `bench dns`: a responder, Knot DNS with static answers, and Knot DNS with its geoip module, in slices of load that take turns.
//!
//! What else happens on the machine hits all of them alike, so the ratio of slices of one round says more than the figures do.

mod job;
mod knot;
mod load;
mod responder;
mod table;

use std::{io::Write, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;

use self::{
    job::Job,
    knot::Knot,
    load::{Slice, ask, at_half, flat_out},
    responder::Responder,
};
use super::{
    Machine,
    machine::{commit, profile},
    median,
};

/// How often to measure.
#[derive(Debug, Clone, Args)]
pub struct DnsArgs {
    /// Rounds: each has two slices of a second for each server
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub rounds: usize,
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Dns {
    bench: &'static str,
    machine: Machine,
    commit: String,
    profile: String,
    knot: String,
    rounds: usize,
    hosts: usize,
    networks: usize,
    /// A host without a policy, asked by resolvers that tell of no network.
    plain: Figures,
    /// A host whose policy has a region for each network, asked with Client Subnet.
    by_client: Figures,
    /// Records of a zone file, asked as `plain`.
    knot_static: Figures,
    /// The module geoip in mode subnet, asked as `by_client`.
    knot_geoip: Figures,
    /// Ours for each of Knot's: below 1 we need less. Medians of the rounds' ratios.
    plain_to_static: Ratios,
    by_client_to_static: Ratios,
    by_client_to_geoip: Ratios,
}

/// What one server did.
#[derive(Debug, Clone, Copy, Serialize)]
struct Figures {
    /// Processor time of the server, flat out.
    cpu_us_per_query: f64,
    /// What a core answers that does nothing else: the inverse of the former.
    qps_per_core: f64,
    /// What one thread answered, flat out.
    qps: f64,
    /// From when a query was due until its answer, at half of that.
    p99_ms: f64,
    /// Queries without an answer, of all rounds.
    lost: u64,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Ratios {
    cpu: f64,
    p99: f64,
}

/// A server under measurement, with its slices.
struct Side {
    address: SocketAddr,
    process: u32,
    job: Job,
    /// The rate of the open loop: half of what it answered flat out when it was tried.
    half: f64,
    slices: Vec<Slice>,
}

/// Measures, prints the table and the line.
pub async fn run(args: &DnsArgs) -> Result<()> {
    ensure!(args.rounds > 0, "--rounds must be at least 1");
    let version = knot::find()?;
    let measured = tokio::task::spawn_blocking({
        let rounds = args.rounds;
        move || measure(rounds, version)
    })
    .await??;
    std::io::stderr().write_all(table::table(&measured).as_bytes())?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&measured)?)?;
    Ok(())
}

fn measure(rounds: usize, version: String) -> Result<Dns> {
    let machine = Machine::of_this(); // before this thread is pinned
    say("a federation with a responder");
    let responder = Responder::start()?;
    say("Knot");
    let dir = tempfile::tempdir()?;
    let (fixed, geoip) = (Knot::fixed(&dir.path().join("static"))?, Knot::geoip(&dir.path().join("geoip"))?);
    let (ours, its) = ((responder.address, responder.process), |knot: &Knot| (knot.address, knot.process()));
    let mut sides = [
        Side::new(ours, Job::Plain).context("the responder")?,
        Side::new(ours, Job::ByClient).context("the responder")?,
        Side::new(its(&fixed), Job::Plain).context("Knot with static answers")?,
        Side::new(its(&geoip), Job::ByClient).context("Knot with its module geoip")?,
    ];
    for round in 1..=rounds {
        say(format!("round {round} of {rounds}"));
        sides.iter_mut().try_for_each(Side::measure)?;
    }
    let [plain, by_client, fixed, geoip] = &sides;
    Ok(Dns {
        bench: "dns",
        machine,
        commit: commit(),
        profile: profile(&crate::process::binary()?),
        knot: version,
        rounds,
        hosts: job::HOSTS,
        networks: job::NETWORKS,
        plain: plain.figures(),
        by_client: by_client.figures(),
        knot_static: fixed.figures(),
        knot_geoip: geoip.figures(),
        plain_to_static: plain.to(fixed),
        by_client_to_static: by_client.to(fixed),
        by_client_to_geoip: by_client.to(geoip),
    })
}

impl Side {
    fn new((address, process): (SocketAddr, u32), job: Job) -> Result<Self> {
        for (message, expected) in job.questions() {
            let answer = ask(address, &message)?;
            ensure!(answer == expected, "it answers {answer:?}, and not {expected}");
        }
        let tried = flat_out(address, process, job)?;
        Ok(Self { address, process, job, half: tried.rate() / 2.0, slices: Vec::new() })
    }

    fn measure(&mut self) -> Result<()> {
        let flat_out = flat_out(self.address, self.process, self.job)?;
        let latencies = at_half(self.address, self.job, self.half)?;
        self.slices.push(Slice { flat_out, latencies });
        Ok(())
    }

    fn figures(&self) -> Figures {
        let of = |figure: fn(&Slice) -> f64| median(self.slices.iter().map(figure));
        let cpu_us_per_query = of(|slice| slice.flat_out.cpu_us_per_query());
        Figures {
            cpu_us_per_query,
            qps_per_core: (1e6 / cpu_us_per_query).round(),
            qps: of(|slice| slice.flat_out.rate()).round(),
            p99_ms: of(|slice| slice.latencies.p99_ms()),
            lost: self.slices.iter().map(|slice| slice.latencies.lost).sum(),
        }
    }

    fn to(&self, other: &Self) -> Ratios {
        let of = |figure: fn(&Slice) -> f64| {
            let pairs = self.slices.iter().zip(&other.slices);
            median(pairs.map(|(mine, its)| figure(mine) / figure(its)))
        };
        Ratios {
            cpu: of(|slice| slice.flat_out.cpu_us_per_query()),
            p99: of(|slice| slice.latencies.p99_ms()),
        }
    }
}

/// What is being measured now, for people.
fn say(what: impl std::fmt::Display) {
    // Who reads it is not there; the figures are none the worse.
    let _ = writeln!(std::io::stderr(), "measuring: {what}");
}

/// The difference of two clocks of processor time.
fn since(before: Duration, after: Duration) -> Duration {
    after.saturating_sub(before)
}
