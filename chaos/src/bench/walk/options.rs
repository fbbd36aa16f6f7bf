//! How much is measured.

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;

use crate::bench::publish::MOST_WRITE_BYTES;

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
pub(super) struct WalkOptions {
    pub(super) quick: bool,
    pub(super) apis: Vec<usize>,
    pub(super) changes: usize,
    pub(super) clients: usize,
    pub(super) write_bytes: usize,
    pub(super) seconds: u64,
    pub(super) rounds: usize,
}

impl WalkOptions {
    pub(super) fn of(args: &WalkArgs) -> Result<Self> {
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

    pub(super) fn most_apis(&self) -> usize {
        self.apis.last().copied().unwrap_or_default()
    }
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
