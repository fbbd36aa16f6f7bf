//! `hanse dev`: a whole federation of real processes on this machine.
//!
//! [`plan`] says which processes there are, [`ports`] where they listen, [`configs`] what their files say; all three are
//! pure but for probing ports. [`supervisor`] runs the processes and never restarts one, [`bootstrap`] makes a
//! federation of them, [`control`] lets other terminals kill and start them.

mod advice;
mod bootstrap;
mod configs;
mod control;
mod data_dir;
mod plan;
mod ports;
mod process;
mod ready;
mod state;
mod supervisor;

use std::{sync::Arc, time::Instant};

use anyhow::Context as _;
use hanse_transport::shutdown;

pub(crate) use state::DevState;

use self::{data_dir::DataDir, supervisor::Supervisor};
use crate::{
    args::{DevAction, DevAddition, DevArgs},
    exit::{Exit, Failure},
    out::{Progress, data, say},
};

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
    let dir = DataDir::make(&args.data_dir)?;
    let _lock = dir.lock()?;
    // A federation that was killed leaves its file, and processes that are only just stopping.
    let was_killed = !matches!(DevState::read(dir.path()), Ok(None));
    DevState::remove(dir.path())?;
    let prepared = bootstrap::prepare(&dir, args.control_nodes, args.regions, was_killed)?;
    let executable = std::env::current_exe().context("finding this program's own file")?;
    let supervisor = Supervisor::new(dir.clone(), executable, prepared.plan, prepared.reservations);
    let outcome = tokio::select! {
        outcome = serve(&supervisor, &dir, prepared.is_new, started) => outcome,
        () = shutdown.wait() => Ok(()),
    };
    say("stopping every process");
    supervisor.stop_all().await;
    control::close(&dir);
    DevState::remove(dir.path())?;
    outcome
}

/// Brings the federation up and obeys other terminals until dropped.
async fn serve(
    supervisor: &Arc<Supervisor>,
    dir: &DataDir,
    is_new: bool,
    started: Instant,
) -> anyhow::Result<()> {
    let ready = tokio::time::timeout(bootstrap::READY_WITHIN, bootstrap::bring_up(supervisor, dir, is_new));
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
