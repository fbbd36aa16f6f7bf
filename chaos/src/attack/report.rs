//! `hanse-chaos attack`: the table for people and the line for machines.

use std::{io::Write, time::Duration};

use anyhow::{Result, bail, ensure};
use clap::Args;
use serde::Serialize;

use super::{ALL, Outcome, measure, named, world};
use crate::{
    bench::{Machine, commit, profile},
    process::binary,
};

/// Which attacks to run, and how hard.
#[derive(Debug, Clone, Args)]
pub struct AttackArgs {
    /// Attacks by name; all when none is named
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Name the attacks and what each does, and run none
    #[arg(long)]
    list: bool,
    /// Times CI's size
    #[arg(long, value_name = "N", default_value_t = 10)]
    scale: usize,
    /// Seconds of each quiet phase and of each attack
    #[arg(long, value_name = "N", default_value_t = 10)]
    seconds: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    machine: Machine,
    commit: String,
    profile: String,
    scale: usize,
    seconds: u64,
    attacks: Vec<Outcome>,
}

/// Runs the attacks, prints the table and the line; fails when a bound did not hold.
pub async fn run(args: &AttackArgs) -> Result<()> {
    let attacks = named(&args.names)?;
    if args.list {
        for attack in ALL {
            writeln!(std::io::stdout(), "{:<22} {}", attack.name, attack.about)?;
        }
        return Ok(());
    }
    ensure!(args.scale > 0 && args.seconds > 0, "--scale and --seconds are at least 1");
    let cores = std::thread::available_parallelism()?.get();
    ensure!(cores >= 2, "attacker and node need a core each; this process may use {cores}");
    let mut outcomes = Vec::new();
    for attack in &attacks {
        writeln!(std::io::stderr(), "… {}: {}", attack.name, attack.about)?;
        // A federation of its own: what one attack leaves behind is no other's quiet.
        let mut world = world().await?;
        let seconds = Duration::from_secs(args.seconds);
        outcomes.push(measure(&mut world, attack, args.scale, seconds, true).await?);
    }
    let report = Report {
        bench: "attack",
        machine: Machine::of_this(),
        commit: commit(),
        profile: profile(&binary()?),
        scale: args.scale,
        seconds: args.seconds,
        attacks: outcomes,
    };
    std::io::stderr().write_all(table(&report).as_bytes())?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&report)?)?;
    let broken: Vec<_> = report.attacks.iter().filter_map(|outcome| outcome.verdict().err()).collect();
    if !broken.is_empty() {
        let told: Vec<_> = broken.iter().map(|error| format!("{error:#}")).collect();
        bail!("{} of {} attacks did harm:\n{}", broken.len(), report.attacks.len(), told.join("\n"));
    }
    Ok(())
}

/// The table, in Markdown, so that a document can show it.
fn table(report: &Report) -> String {
    let mut text = format!(
        "\n{} ({} cores, kernel {}), commit {}, {} build, {}× CI's size, {} s each\n\n\
         | Attack | Node | Honest requests | Failed | p99 quiet → attacked (ms) | Memory quiet → peak (MB) | After (MB, s) |\n\
         |---|---|---|---|---|---|---|\n",
        report.machine.cpu,
        report.machine.cores,
        report.machine.kernel,
        report.commit,
        report.profile,
        report.scale,
        report.seconds
    );
    let mb = |bytes: u64| bytes as f64 / 1e6;
    for outcome in &report.attacks {
        text += &format!(
            "| `{}` | {} | {} | {} | {:.1} → {:.1} ({}) | {:.0} → {:.0} | {:.0}, {:.1} |\n",
            outcome.attack,
            outcome.node,
            outcome.requests,
            outcome.failed,
            outcome.quiet_p99_ms,
            outcome.attacked_p99_ms,
            outcome.slowest,
            mb(outcome.quiet_bytes),
            mb(outcome.peak_bytes),
            mb(outcome.after_bytes),
            outcome.after_seconds
        );
    }
    text
}
