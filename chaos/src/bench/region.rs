//! `bench region`: how many agents of one region follow one another, in figures. Two hundred agents are real; a thousand are sessions of
//! the sync protocol on a simulated clock, in a process of their own.

mod agents;
mod figures;
mod live;
mod measured;
mod options;
mod simulated;
mod sockets;
mod table;

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

use super::{
    Machine,
    machine::{commit, profile},
};
use figures::Figures;
pub use options::RegionArgs;
use options::RegionOptions;

/// The relays of a region, as the leader names them.
const RELAYS: usize = 3;

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Region {
    bench: &'static str,
    machine: Machine,
    commit: String,
    profile: String,
    options: RegionOptions,
    measured: Figures,
    simulated: Figures,
}

/// Measures, prints the table and the line.
pub async fn run(args: &RegionArgs) -> Result<()> {
    let options = RegionOptions::of(args)?;
    if args.only_simulated {
        return print(&simulated::measure(&options)?);
    }
    sockets::find()?;
    say(&format!("{} simulated agents", options.simulated));
    let simulated = simulated::measure_apart(&options).await?;
    let measured = measured::measure(&options).await?;
    let region = Region {
        bench: "region",
        machine: Machine::of_this(),
        commit: commit(),
        profile: profile(&std::env::current_exe()?),
        options,
        measured,
        simulated,
    };
    std::io::stderr().write_all(table::table(&region).as_bytes())?;
    print(&region)
}

/// The line for programs.
fn print(measured: &impl Serialize) -> Result<()> {
    let line = serde_json::to_string(measured)?;
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

/// What happens now, for the people who wait.
fn say(what: &str) {
    // No reader is left to tell if this fails.
    let _ = writeln!(std::io::stderr(), "  {what} …");
}
