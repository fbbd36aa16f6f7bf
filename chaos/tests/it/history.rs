//! Concurrent clients through all control nodes while these are killed, frozen and cut off: are the answers those of one copy of
//! the state? Judged by our own checker, and by Porcupine where Go is there.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hanse_chaos::{
    clock,
    history::{self, Options, Porcupine, best_placement, go_is_missing},
};

use crate::say;

/// Under faults: each kind once, most of them twice.
const LENGTH: Duration = Duration::from_secs(90);

/// Operations without which nothing is shown: what two busy cores do in a few seconds.
const OPERATIONS: usize = 2_000;

/// Always the same, so that a failure can be had again as far as the machine allows.
const SEED: u64 = 9;

/// What the seeded bug `read-index-without-own-term` gave, in short.
const RECORDED: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/src/history/testdata/read-index-without-own-term.jsonl");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_under_faults_are_those_of_one_copy() -> Result<()> {
    let (placement, missing) = best_placement();
    if let Some(missing) = missing {
        say(format!("on loopback, so no links are cut: {missing}"));
    }
    if let Some(missing) = clock::missing() {
        say(format!("no clock jumps: {missing}"));
    }
    let clocks = clock::missing().is_none();
    let options = Options { length: LENGTH, seed: SEED, bug: None, only: None, placement, clocks };
    let report = history::run(&options).await?;
    for (fault, count) in &report.faults {
        say(format!("{count:>4} × {fault}"));
    }
    say(&report.verdict);
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("history.jsonl");
    history::write(&path, &report.history)?;
    if let Err(error) = report.verdict.checked() {
        // The history is what shows where to look.
        let kept = dir.keep().join("history.jsonl");
        return Err(error).with_context(|| format!("the history is in {}", kept.display()));
    }
    ensure!(report.history.len() >= OPERATIONS, "only {} operations", report.history.len());
    match go_is_missing() {
        Some(missing) => say(format!("not judged by Porcupine: {missing}")),
        None => say(Porcupine::build()?.judge(&path)?),
    }
    Ok(())
}

/// Porcupine, too, notices what our own judge notices: a checker that agrees with everything proves nothing.
#[test]
fn porcupine_refuses_what_the_seeded_bug_gave() -> Result<()> {
    if let Some(missing) = go_is_missing() {
        say(format!("not judged by Porcupine: {missing}"));
        return Ok(());
    }
    let said = Porcupine::build()?.judge(RECORDED.as_ref());
    let refused = said.err().context("Porcupine agrees with a read from before an acknowledged write")?;
    ensure!(refused.to_string().contains("not linearizable"), "{refused:#}");
    Ok(())
}
