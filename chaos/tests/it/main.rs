//! Tests with real processes: a federation started as the README says, used as operators and callers use it.
//!
//! Run by `./check process`. They find the binary by `HANSE_BIN` and big inputs by `HANSE_TEST_INPUTS`; what is missing fails.

mod alone;
mod attack;
mod bad_input;
mod bench;
mod cut;
mod damaged_log;
mod deploy;
mod dev_control;
mod dev_example;
mod disk;
mod dump;
mod egress;
mod far;
mod first_light;
mod gitops;
mod gone;
mod greedy;
mod history;
mod hosts;
mod joining;
mod leader;
mod looking;
mod neighbours;
mod operators;
mod outage;
mod patterns;
mod private_files;
mod publishing;
mod quarantine;
mod revocation;
mod revoked_agent;
mod road;
mod rotation;
mod seats;
mod secrets;
mod size;
mod stolen;
mod too_old;
mod two_releases;
mod unjudged;
mod upgrade;
mod waiting;

use std::{
    io::Write,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use hanse_chaos::{Answer, Client};

/// Calls until the answer is as wanted, or fails with the last one after `within`.
async fn eventually(
    client: &Client,
    url: &str,
    headers: &[(&str, &str)],
    within: Duration,
    wanted: impl Fn(&Answer) -> bool,
) -> Result<Answer> {
    let deadline = Instant::now() + within;
    loop {
        let answer = client.get(url, headers).await;
        match answer {
            Ok(answer) if wanted(&answer) => return Ok(answer),
            last if Instant::now() > deadline => {
                bail!("GET {url}: not as wanted within {within:?}; last: {last:?}")
            }
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Asks until it is so, or fails after `within`.
async fn until(what: &str, within: Duration, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + within;
    while !is_so()? {
        if Instant::now() > deadline {
            bail!("{what}: not within {within:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// An Api that every client may call at `/NAME/now-NUMBER`, in all regions.
fn open_api(name: &str, upstream: &str, number: u32) -> String {
    format!(
        "kind: Api\nname: {name}\nspec: {{context: /{name}, version: \"{number}\", operations: [{{method: GET, path: /now-{number}}}]}}\n---\n\
         kind: Upstream\nname: {name}\nspec: {{endpoints: [{{url: \"{upstream}\"}}]}}\n---\n\
         kind: Binding\nname: {name}\nspec: {{api: {name}, environment: production, upstream: {name}}}\n"
    )
}

/// What a test measured, for people; shown with `--nocapture` and when it fails.
fn say(text: impl std::fmt::Display) {
    // Who reads it is not there; the test is none the worse.
    let _ = writeln!(std::io::stderr(), "{text}");
}
