//! `hanse dev`: a whole federation of real processes on this machine.
//!
//! [`plan`] says which processes there are, [`ports`] where they listen, [`configs`] what their files say; all three are
//! pure but for probing ports. [`pattern`] has arrangements to choose from. [`supervisor`] runs the processes and never restarts one, [`bootstrap`] makes a
//! federation of them, [`control`] lets other terminals kill and start them. [`example`] is what a new one publishes.

mod advice;
mod bootstrap;
mod configs;
mod control;
mod data_dir;
mod environment;
mod example;
mod own;
mod pattern;
mod plan;
mod ports;
mod process;
mod ready;
mod state;
mod supervisor;

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use anyhow::Context as _;
use hanse_process::shutdown;

pub(crate) use pattern::Pattern;
pub(crate) use state::DevState;

use self::{data_dir::DataDir, supervisor::Supervisor};
use crate::{
    args::{DevAction, DevAddition, DevArgs},
    exit::{Exit, Failure},
    out::{Progress, data, say},
};

/// How often a first start is begun anew with other ports: another process may take a port between our look at it and our use
/// of it, but hardly again and again.
const OTHER_PORTS: usize = 2;

/// Runs a federation, or tells the one that runs what to do.
pub(crate) async fn dev(args: &DevArgs) -> anyhow::Result<()> {
    match &args.action {
        None => run(args).await,
        Some(DevAction::Ps) => {
            let dir = DataDir::existing(&args.data_dir)?;
            control::ask(&dir, control::Request::Ping).await?;
            let state = DevState::read(dir.path())?;
            data(state::table(&state.ok_or_else(|| control::nobody_runs(&dir))?))?;
            Ok(())
        }
        Some(DevAction::Kill { name }) => {
            told(args, control::Request::Kill { name: name.clone() }, "killed").await
        }
        Some(DevAction::Start { name }) => {
            let _progress = Progress::start(format!("starting {name}"));
            told(args, control::Request::Start { name: name.clone() }, "serves").await
        }
        Some(DevAction::Add(add)) => {
            let DevAddition::Gateway { region } = &add.what;
            let dir = DataDir::existing(&args.data_dir)?;
            let progress = Progress::start(format!("adding a gateway to {region}"));
            let name = control::ask(&dir, control::Request::AddGateway { region: region.clone() }).await?;
            drop(progress);
            data(name)?;
            Ok(())
        }
    }
}

async fn told(args: &DevArgs, request: control::Request, what: &str) -> anyhow::Result<()> {
    let dir = DataDir::existing(&args.data_dir)?;
    let name = control::ask(&dir, request).await?;
    say(format!("{name} {what}"));
    Ok(())
}

async fn run(args: &DevArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    // First of all, so that no signal finds the process without its handler.
    let shutdown = shutdown::on_signals();
    environment::check()?;
    let dir = DataDir::make(&args.data_dir)?;
    let _lock = dir.lock()?;
    // A federation that was killed leaves its file, and processes that are only just stopping.
    let was_killed = !matches!(DevState::read(dir.path()), Ok(None));
    DevState::remove(dir.path())?;
    let executable = std::env::current_exe().context("finding this program's own file")?;
    let mut avoided = BTreeSet::new();
    let mut others_left = OTHER_PORTS;
    let outcome = loop {
        let prepared = bootstrap::prepare(&dir, args, was_killed, &avoided)?;
        let is_new = prepared.is_new;
        let with_example = is_new && !args.no_example;
        let supervisor =
            Supervisor::new(dir.clone(), executable.clone(), prepared.plan, prepared.reservations);
        let outcome = tokio::select! {
            outcome = serve(&supervisor, &dir, is_new, with_example, started) => outcome,
            () = shutdown.wait() => Ok(()),
        };
        // In a new federation no process knows an address yet, and all of them may change.
        let taken = supervisor.taken_ports();
        let other_ports_help = is_new && !taken.is_empty() && others_left > 0;
        match &outcome {
            Err(error) if other_ports_help => {
                let said = error.to_string();
                say(format!("{}; trying again on other ports", said.lines().next().unwrap_or_default()));
                supervisor.stop_all().await;
            }
            _ => {
                say("stopping every process");
                supervisor.stop_all().await;
                break outcome;
            }
        }
        avoided.extend(taken);
        others_left -= 1;
    };
    control::close(&dir);
    DevState::remove(dir.path())?;
    outcome
}

/// Brings the federation up and obeys other terminals until dropped.
async fn serve(
    supervisor: &Arc<Supervisor>,
    dir: &DataDir,
    is_new: bool,
    with_example: bool,
    started: Instant,
) -> anyhow::Result<()> {
    let bring_up = bootstrap::bring_up(supervisor, dir, is_new, with_example);
    let ready = tokio::time::timeout(bootstrap::READY_WITHIN, bring_up);
    let federation = ready.await.unwrap_or_else(|_| {
        let message = format!("the federation was not ready within {} s", bootstrap::READY_WITHIN.as_secs());
        Err(Failure::new(Exit::WaitTimedOut, message)
            .remedy(format!("look into {}", dir.logs().display()))
            .into())
    })?;
    let listener = control::listen(dir)?;
    supervisor.publish(federation.lineage)?;
    say(advice::ready(&supervisor.state(), dir, started.elapsed()));
    control::serve(listener, supervisor.clone()).await
}
