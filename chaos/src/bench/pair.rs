//! `bench pair`: two builds of the gateway, each in a federation of its own, in slices of load that take turns.
//!
//! What else happens on the machine hits both builds alike, so the ratio of a pair of slices says more than the figures do.

mod instructions;
mod side;
mod slow;
mod table;

use std::{
    io::Write,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use hanse_process::raise_descriptor_limit;
use serde::Serialize;

use super::{Machine, median, nginx, traffic};
use crate::attack::pin;
use side::{Memory, Side, Slice};
use table::table;

/// Which builds to compare, and by what.
#[derive(Debug, Clone, Args)]
pub struct PairArgs {
    /// The `hanse` binary to compare with
    #[arg(long, value_name = "BIN")]
    pub before: PathBuf,
    /// The `hanse` binary that is judged
    #[arg(long, value_name = "BIN")]
    pub after: PathBuf,
    /// Pairs of slices for each job
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub pairs: usize,
    /// Jobs; all when none is named
    #[arg(long, value_name = "JOB,…", value_delimiter = ',')]
    pub jobs: Vec<Job>,
    /// Connections of the job `waiting`
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub waiting: usize,
    /// Requests whose instructions are counted under valgrind, for effects below 5%; 0: none
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub instructions: usize,
}

/// What a gateway does while it is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Job {
    /// Calls with an API key on kept connections, to an upstream that answers at once
    Core,
    /// Calls on many connections at once, to an upstream that waits for half a second
    Waiting,
    /// Calls with an API key, each on a new connection with TLS
    Tls,
}

impl Job {
    const ALL: [Self; 3] = [Self::Core, Self::Waiting, Self::Tls];

    /// Its name, as the command takes it.
    fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Waiting => "waiting",
            Self::Tls => "tls",
        }
    }
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Pair {
    bench: &'static str,
    machine: Machine,
    before: PathBuf,
    after: PathBuf,
    jobs: Vec<Measured>,
    /// Of each build, in a run with the job `waiting`.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<[Memory; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<Instructions>,
}

/// One job.
#[derive(Debug, Serialize)]
struct Measured {
    job: Job,
    /// After for each of before, the median of the pairs: below 1 the judged build needs less.
    cpu_ratio: f64,
    /// The lower and the upper quartile of the pairs.
    quartiles: [f64; 2],
    before: Slice,
    after: Slice,
    pairs: Vec<[Slice; 2]>,
}

/// Instructions of one request of the job `core`.
#[derive(Debug, Clone, Copy, Serialize)]
struct Instructions {
    before: u64,
    after: u64,
    ratio: f64,
}

/// Measures, prints the table and the line.
pub async fn run(args: &PairArgs) -> Result<()> {
    let (nginx_program, _) = nginx::find()?;
    traffic::find()?;
    if args.instructions > 0 {
        instructions::find()?;
    }
    ensure!(args.pairs > 0 && args.waiting > 0, "--pairs and --waiting are at least 1");
    let cores = std::thread::available_parallelism()?.get();
    ensure!(cores >= 2, "load and gateway need a core each; this process may use {cores}");
    let machine = Machine::of_this();
    // The upstream that waits has a descriptor for each connection, and `wrk` inherits the limit.
    raise_descriptor_limit();
    // What is started from here on inherits the core. The gateways get the other one.
    pin::to_core(pin::ATTACKER, std::process::id())?;
    let pair = measure(args, &nginx_program, machine).await?;
    std::io::stderr().write_all(table(&pair).as_bytes())?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&pair)?)?;
    Ok(())
}

async fn measure(args: &PairArgs, nginx_program: &Path, machine: Machine) -> Result<Pair> {
    let dir = tempfile::Builder::new().prefix("hanse-pair-").tempdir()?;
    let upstream = nginx::upstream(nginx_program, dir.path(), free_address()?).await?;
    let slow = slow::start().await?;
    say("a federation of the build before");
    let mut before = Side::start(&args.before, &upstream.url(), &slow).await?;
    say("a federation of the build after");
    let mut after = Side::start(&args.after, &upstream.url(), &slow).await?;
    let named = if args.jobs.is_empty() { &Job::ALL[..] } else { &args.jobs };
    let memory = match named.contains(&Job::Waiting) {
        true => {
            say(format!("memory of {} connections", args.waiting));
            // Before any other job: its connections would count as quiet.
            Some([before.memory(args.waiting).await?, after.memory(args.waiting).await?])
        }
        false => None,
    };
    let mut jobs = Vec::new();
    for job in named {
        jobs.push(measure_job(*job, args, &before, &after).await?);
    }
    let instructions = match args.instructions {
        0 => None,
        requests => {
            say("instructions of the build before");
            let before = before.instructions(requests).await?;
            say("instructions of the build after");
            let after = after.instructions(requests).await?;
            Some(Instructions { before, after, ratio: rounded(after as f64 / before as f64) })
        }
    };
    Ok(Pair {
        bench: "pair",
        machine,
        before: args.before.clone(),
        after: args.after.clone(),
        jobs,
        memory,
        instructions,
    })
}

/// An address that was free a moment ago.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?.local_addr()?)
}

async fn measure_job(job: Job, args: &PairArgs, before: &Side, after: &Side) -> Result<Measured> {
    // Connections are made, and code is paged in.
    before.slice(job, args.waiting).await?;
    after.slice(job, args.waiting).await?;
    let mut pairs = Vec::new();
    for number in 0..args.pairs {
        say(format!("{}, pair {} of {}", job.name(), number + 1, args.pairs));
        // Neither build always comes first.
        pairs.push(if number % 2 == 0 {
            let first = before.slice(job, args.waiting).await?;
            [first, after.slice(job, args.waiting).await?]
        } else {
            let first = after.slice(job, args.waiting).await?;
            [before.slice(job, args.waiting).await?, first]
        });
    }
    Ok(Measured::of(job, pairs))
}

impl Measured {
    fn of(job: Job, pairs: Vec<[Slice; 2]>) -> Self {
        let ratios = pairs.iter().map(|[before, after]| after.cpu_us_per_request / before.cpu_us_per_request);
        let mut ratios: Vec<f64> = ratios.collect();
        ratios.sort_by(f64::total_cmp);
        let at = |quarters: usize| ratios.get((ratios.len() - 1) * quarters / 4).copied().unwrap_or_default();
        Self {
            job,
            cpu_ratio: rounded(median(ratios.iter().copied())),
            quartiles: [rounded(at(1)), rounded(at(3))],
            before: Slice::median(pairs.iter().map(|pair| pair[0])),
            after: Slice::median(pairs.iter().map(|pair| pair[1])),
            pairs,
        }
    }
}

/// To three digits after the point.
fn rounded(ratio: f64) -> f64 {
    (ratio * 1e3).round() / 1e3
}

/// What is being measured now, for people.
fn say(what: impl std::fmt::Display) {
    // Who reads it is not there; the figures are none the worse.
    let _ = writeln!(std::io::stderr(), "measuring: {what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(cpu_us_per_request: f64) -> Slice {
        Slice { requests_per_second: 1e6 / cpu_us_per_request, cpu_us_per_request, resident_bytes: 1 << 20 }
    }

    #[test]
    fn pairs_are_compared_each_for_itself() {
        // A machine that becomes twice as slow in the middle changes no ratio.
        let pairs = [(10.0, 9.0), (20.0, 18.0), (20.0, 19.0), (10.0, 8.0)];
        let pairs = pairs.map(|(before, after)| [slice(before), slice(after)]).to_vec();
        let measured = Measured::of(Job::Core, pairs);
        assert_eq!((measured.cpu_ratio, measured.quartiles), (0.9, [0.8, 0.9]));
        assert_eq!((measured.before.cpu_us_per_request, measured.after.cpu_us_per_request), (10.0, 9.0));
        let text = table(&Pair {
            bench: "pair",
            machine: Machine::of_this(),
            before: "a/hanse".into(),
            after: "b/hanse".into(),
            jobs: vec![measured],
            memory: None,
            instructions: Some(Instructions { before: 40_000, after: 39_000, ratio: 0.975 }),
        });
        assert!(text.contains("core") && text.contains("0.900") && text.contains("0.975"), "{text}");
    }
}
