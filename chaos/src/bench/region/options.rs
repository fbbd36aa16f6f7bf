//! How large the region is, and how much is measured.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;

use super::RELAYS;

/// The most real agents: each has a loopback address of its own, of which a federation has 254.
const MOST_AGENTS: usize = 240;
/// The most simulated agents. Each link is a session with a hub of its own, about 30 KB.
const MOST_SIMULATED: usize = 5_000;
/// The most gateways that come and go: a change is made every 1.07 s.
const MOST_GATEWAYS: usize = 100;
/// The most local scopes: Origins of one region and environment are at most 16.
const MOST_SCOPES: usize = 16;

/// What to measure, and how much of it.
#[derive(Debug, Clone, Args)]
pub struct RegionArgs {
    /// A minute's worth, for CI: fewer agents and changes unless they are named, and no wait for another relay
    #[arg(long)]
    pub quick: bool,
    /// Real agents; default 200 (quick: 14)
    #[arg(long, value_name = "N")]
    pub agents: Option<usize>,
    /// Simulated agents; default 1000 (quick: 50)
    #[arg(long, value_name = "N")]
    pub simulated: Option<usize>,
    /// Local scopes, each with a holder of its own
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub scopes: usize,
    /// Changes measured; default 100 (quick: 10)
    #[arg(long, value_name = "N")]
    pub changes: Option<usize>,
    /// Gateways that come, and then go; default 10 (quick: 2)
    #[arg(long, value_name = "N")]
    pub gateways: Option<usize>,
    /// Seconds without a change in which bytes are counted; default 20 (quick: 2)
    #[arg(long, value_name = "N")]
    pub idle: Option<u64>,
    /// The simulated agents alone: what the command runs in a process of its own, so that their memory is in no other figure
    #[arg(long, hide = true)]
    pub only_simulated: bool,
}

/// The options with their defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct RegionOptions {
    pub(super) quick: bool,
    pub(super) agents: usize,
    pub(super) simulated: usize,
    pub(super) scopes: usize,
    pub(super) changes: usize,
    pub(super) gateways: usize,
    pub(super) idle_seconds: u64,
}

impl RegionOptions {
    pub(super) fn of(args: &RegionArgs) -> Result<Self> {
        let or = |quick, full| if args.quick { quick } else { full };
        let options = Self {
            quick: args.quick,
            agents: args.agents.unwrap_or(or(14, 200)),
            simulated: args.simulated.unwrap_or(or(50, 1_000)),
            scopes: args.scopes,
            changes: args.changes.unwrap_or(or(10, 100)),
            gateways: args.gateways.unwrap_or(or(2, 10)),
            idle_seconds: args.idle.unwrap_or(if args.quick { 2 } else { 20 }),
        };
        let least = RELAYS + options.scopes + 1;
        ensure!((1..=MOST_SCOPES).contains(&options.scopes), "--scopes must be 1 to {MOST_SCOPES}");
        for (option, agents, most) in
            [("agents", options.agents, MOST_AGENTS), ("simulated", options.simulated, MOST_SIMULATED)]
        {
            ensure!(
                (least..=most).contains(&agents),
                "--{option} must be {least} to {most}: {RELAYS} relays, a holder for each scope, and others"
            );
        }
        // Each gateway comes at an agent of its own, which is neither relay nor holder.
        let most = MOST_GATEWAYS.min(options.agents - RELAYS - options.scopes);
        ensure!(
            (1..=most).contains(&options.gateways),
            "--gateways must be 1 to {most}: at most {MOST_GATEWAYS}, and one for each agent that is neither relay nor holder; --agents \
             has more of these"
        );
        for (option, value) in [("changes", options.changes as u64), ("idle", options.idle_seconds)] {
            ensure!(value > 0, "--{option} must be at least 1");
        }
        Ok(options)
    }

    /// The command line that measures the simulated agents alone, as much of them as these options say.
    pub(super) fn only_simulated(&self) -> Vec<String> {
        let numbers = [
            ("--simulated", self.simulated as u64),
            ("--scopes", self.scopes as u64),
            ("--changes", self.changes as u64),
            ("--idle", self.idle_seconds),
        ];
        let words = ["bench", "region", "--only-simulated"].map(str::to_owned);
        let numbers = numbers.into_iter().flat_map(|(option, value)| [option.to_owned(), value.to_string()]);
        words.into_iter().chain(numbers).collect()
    }

    pub(super) fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> RegionArgs {
        RegionArgs {
            quick: false,
            agents: None,
            simulated: None,
            scopes: 8,
            changes: None,
            gateways: None,
            idle: None,
            only_simulated: false,
        }
    }

    #[test]
    fn defaults_are_those_of_the_promise_and_what_cannot_be_measured_is_refused() {
        let full = RegionOptions::of(&args()).unwrap();
        assert_eq!((full.agents, full.simulated, full.scopes), (200, 1_000, 8));
        let quick = RegionOptions::of(&RegionArgs { quick: true, ..args() }).unwrap();
        assert!(quick.agents < full.agents && quick.changes < full.changes);
        let all = RegionArgs { agents: Some(20), gateways: Some(9), ..args() };
        assert_eq!(
            RegionOptions::of(&all).unwrap().gateways,
            9,
            "each agent that is neither relay nor holder"
        );
        for refused in [
            RegionArgs { agents: Some(11), ..args() },
            RegionArgs { agents: Some(MOST_AGENTS + 1), ..args() },
            RegionArgs { simulated: Some(3), ..args() },
            RegionArgs { scopes: 0, ..args() },
            RegionArgs { scopes: MOST_SCOPES + 1, ..args() },
            RegionArgs { changes: Some(0), ..args() },
            RegionArgs { gateways: Some(0), ..args() },
            RegionArgs { gateways: Some(MOST_GATEWAYS + 1), ..args() },
            RegionArgs { agents: Some(20), gateways: Some(10), ..args() },
            RegionArgs { idle: Some(0), ..args() },
        ] {
            assert!(RegionOptions::of(&refused).is_err(), "{refused:?}");
        }
    }
}
