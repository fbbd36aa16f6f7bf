//! `hanse-chaos`: benchmarks, attacks and histories of a real federation, from the command line.
//!
//! Nothing here breaks or measures by itself: the library does.

use std::{io::Write, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use hanse_chaos::{
    attack::{self, AttackArgs},
    bench::{MissingPeer, dns, pair, region, walk},
    history::{self, HistoriesArgs},
};

/// Something failed, and nothing was measured.
const FAILED: u8 = 1;
/// A tool to compare with or to measure by is not here; it is named. Clap answers so too to what makes no sense.
const MISSING_PEER: u8 = 2;

/// Breaks and measures Hanse: real processes from the built binary (HANSE_BIN, else `hanse` beside this one)
#[derive(Debug, Parser)]
#[command(name = "hanse-chaos", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure: a table for people on standard error, one line of JSON on standard output
    Bench(BenchArgs),
    /// Attack a federation's ports beside honest clients: a table on standard error, one line of JSON on standard output
    Attack(AttackArgs),
    /// Judge: concurrent operations through all control nodes under faults, and whether their answers agree
    Histories(HistoriesArgs),
}

#[derive(Debug, Args)]
struct BenchArgs {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// The way of a change to all gateways, writes, requests beside nginx, start-up, memory
    Walk(walk::WalkArgs),
    /// Two builds of the gateway side by side: processor time and instructions per request, in slices that take turns
    Pair(pair::PairArgs),
    /// The agents of one region that follow one another: streams, memory, bytes, the way of a local change
    Region(region::RegionArgs),
    /// A DNS responder beside Knot DNS: processor time per query, and latency at half of what it can
    Dns(dns::DnsArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Bench(BenchArgs { bench: Bench::Walk(args) }) => walk::run(&args).await,
        Command::Bench(BenchArgs { bench: Bench::Pair(args) }) => pair::run(&args).await,
        Command::Bench(BenchArgs { bench: Bench::Region(args) }) => region::run(&args).await,
        Command::Bench(BenchArgs { bench: Bench::Dns(args) }) => dns::run(&args).await,
        Command::Attack(args) => attack::run(&args).await,
        Command::Histories(args) => history::histories(&args).await,
    };
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    // No reader is left to tell if this fails.
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
    ExitCode::from(if error.is::<MissingPeer>() { MISSING_PEER } else { FAILED })
}
