//! `hanse-chaos histories`: a federation, clients, faults, and both verdicts.

use std::{
    collections::BTreeMap,
    io::Write,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::{
    client::HistoryClient,
    clients::{Clients, KEYS, Recorder, key},
    equal,
    faults::{Fault, Faults},
    judge::{Verdict, judge},
    operation::{Action, Operation, Outcome, Seen},
    porcupine::Porcupine,
};
use crate::{
    clock, netns,
    process::until,
    world::{Placement, Role, World, WorldOptions},
};

/// Faults come so long, then every client stops and all nodes are compared. The list that is read in the silence is where
/// Porcupine cuts the history: its search is exponential in the worst case.
const ROUND: Duration = Duration::from_secs(25);

/// For all nodes to show the same after the last fault of a round: an election, a snapshot, a loaded machine.
const EQUAL_WITHIN: Duration = Duration::from_secs(60);

/// Acknowledged writes without which a round shows nothing.
const WRITES_PER_ROUND: usize = 20;

/// Options of `hanse-chaos histories`.
#[derive(Debug, Clone, Args)]
pub struct HistoriesArgs {
    /// How long clients work under faults, in minutes
    #[arg(long, conflicts_with = "seconds")]
    minutes: Option<u64>,
    /// How long, in seconds [default: 90]
    #[arg(long)]
    seconds: Option<u64>,
    /// The seed of what clients and faults choose [default: 1]
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write the history (JSON lines, see docs/chaos.md)
    #[arg(long)]
    out: Option<PathBuf>,
    /// Have Porcupine judge it, too; needs Go
    #[arg(long)]
    porcupine: bool,
    /// A bug to bring back in the control nodes, which must be a dev build: `read-index-without-own-term`; or
    /// `commit-mark-lost`, which they must bear
    #[arg(long)]
    bug: Option<String>,
    /// Only faults of this kind
    #[arg(long)]
    only: Option<Fault>,
    /// Stay on loopback, where links cannot be cut, also where network namespaces could be made
    #[arg(long)]
    loopback: bool,
}

/// A run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long clients work under faults; ended rounds are not cut short.
    pub length: Duration,
    /// The seed of what clients and faults choose.
    pub seed: u64,
    /// A bug to bring back.
    pub bug: Option<String>,
    /// Only faults of this kind; none: of every kind.
    pub only: Option<Fault>,
    /// Where the nodes live; on loopback no links are cut.
    pub placement: Placement,
    /// Whether clocks jump: needs libfaketime.
    pub clocks: bool,
}

/// What a run showed.
#[derive(Debug)]
pub struct Report {
    /// Everything that was done.
    pub history: Vec<Operation>,
    /// How often each fault happened.
    pub faults: BTreeMap<String, usize>,
    /// What our own judge says.
    pub verdict: Verdict,
}

/// Where links can be cut if possible, else on loopback; then what is missing.
pub fn best_placement() -> (Placement, Option<String>) {
    match netns::missing() {
        None => (Placement::Namespaces, None),
        Some(missing) => (Placement::Loopback, Some(missing)),
    }
}

/// The command: figures for people on standard error; an error names what is wrong.
pub async fn histories(args: &HistoriesArgs) -> Result<()> {
    let say = |text: &str| {
        // No reader is left to tell if this fails.
        let _ = writeln!(std::io::stderr(), "{text}");
    };
    let seconds = args.seconds.or(args.minutes.map(|minutes| minutes.saturating_mul(60))).unwrap_or(90);
    let (placement, missing) = match args.loopback {
        true => (Placement::Loopback, Some("--loopback".to_owned())),
        false => best_placement(),
    };
    if let Some(missing) = missing {
        say(&format!("on loopback, so no links are cut: {missing}"));
    }
    let porcupine = args.porcupine.then(Porcupine::build).transpose()?;
    let options = Options {
        length: Duration::from_secs(seconds),
        seed: args.seed,
        bug: args.bug.clone(),
        only: args.only,
        placement,
        clocks: clock::missing().is_none(),
    };
    if let Some(missing) = clock::missing() {
        say(&format!("no clock jumps: {missing}"));
    }
    let report = run(&options).await?;
    for (fault, count) in &report.faults {
        say(&format!("{count:>4} × {fault}"));
    }
    say(&report.verdict.to_string());
    let dir = tempfile::tempdir()?;
    let path = args.out.clone().unwrap_or_else(|| dir.path().join("history.jsonl"));
    super::write(&path, &report.history)?;
    let other = porcupine.map(|porcupine| porcupine.judge(&path));
    if let Some(Ok(said)) = &other {
        say(said);
    }
    ensure!(report.verdict.violations.is_empty(), "what the nodes showed is not one copy of the state");
    other.transpose()?;
    Ok(())
}

/// Makes a history and judges it. An error if nothing can be said: a node did not come back, or little was written.
pub async fn run(options: &Options) -> Result<Report> {
    let world = WorldOptions {
        placement: options.placement,
        // Agents and gateways have no part in this, and cost the machine.
        regions: Vec::new(),
        seeded_bug: options.bug.clone(),
        clocks: options.clocks,
        ..WorldOptions::default()
    };
    let mut world = World::set_up(world).await?;
    let outcome = rounds(&mut world, options).await;
    outcome.with_context(|| format!("seed {}:\n{}", options.seed, world.logs()))
}

async fn rounds(world: &mut World, options: &Options) -> Result<Report> {
    let nodes = world.of_role(Role::Server);
    let urls = nodes.iter().map(|name| Ok((name.clone(), world.url(name)?))).collect::<Result<_>>()?;
    let client = HistoryClient::new(&world.dir().join("ca.crt"), &world.token()?, urls)?;
    let recorder = Recorder::default();
    let keys = (0..KEYS).map(key).collect();
    let first = recorder.execute(&client, recorder.new_client(), 0, Action::Apply { keys }).await;
    ensure!(matches!(first.outcome, Outcome::Ok { .. }), "the keys cannot be made: {:?}", first.outcome);
    all_equal(&client, &recorder).await?;

    let mut faults = Faults::new(options.seed, options.placement, options.clocks, options.only);
    let mut unequal = None;
    let mut counts = BTreeMap::new();
    let mut left = options.length;
    while !left.is_zero() && unequal.is_none() {
        let round = ROUND.min(left);
        left -= round;
        let before = recorder.history().len();
        let clients = Clients::start(&client, &recorder, options.seed);
        let began = Instant::now();
        while began.elapsed() < round {
            let fault = faults.one(world, &recorder).await?;
            *counts.entry(fault.to_string()).or_default() += 1;
        }
        clients.stop().await;
        unequal = all_equal(&client, &recorder).await.err();
        let written =
            recorder.history()[before..].iter().filter(|operation| operation.is_acknowledged()).count();
        ensure!(
            written >= WRITES_PER_ROUND,
            "a round of {round:?} had {written} acknowledged writes: it shows nothing"
        );
    }
    let history = recorder.history();
    let mut verdict = judge(&history);
    if let Some(difference) = unequal {
        verdict.found_unequal(format!("{difference:#}"));
    }
    Ok(Report { history, faults: counts, verdict })
}

/// Waits until all nodes show the same state to clients, and hold the same each. A write of unknown outcome may still be on
/// its way.
async fn all_equal(client: &HistoryClient, recorder: &Recorder) -> Result<()> {
    let who = recorder.new_client();
    until("all nodes show the same", EQUAL_WITHIN, || async {
        let mut shown: Option<(u64, BTreeMap<String, Seen>)> = None;
        for node in 0..client.nodes() {
            let list = recorder.execute(client, who, node, Action::List).await;
            let Outcome::Ok { revision, seen, .. } = list.outcome else {
                bail!("{} does not show its state: {:?}", list.node, list.outcome);
            };
            let there = (revision, seen);
            match &shown {
                None => shown = Some(there),
                Some(shown) if *shown == there => {}
                Some(shown) => bail!("{} shows {there:?}, another node {shown:?}", list.node),
            }
        }
        Ok(())
    })
    .await?;
    equal::wait(client, EQUAL_WITHIN).await
}
