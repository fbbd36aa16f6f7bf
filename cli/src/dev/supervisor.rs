//! The processes: started and killed on request, never restarted.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::ExitStatus,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use hanse_api::answer::LineageStatus;
use hanse_topology::Name;
use nix::sys::signal::Signal;
use tokio::{process::Child, sync::watch};

use super::{
    configs,
    data_dir::DataDir,
    plan::{Plan, ProcessSpec},
    ports::Reservations,
    process::{self, Running},
    ready,
    state::{DevState, ProcessState},
};
use crate::{
    exit::{Exit, Failure},
    out::say,
};

/// How long processes may take to stop by themselves: gateways finish their requests. With what follows it stays below
/// the ten seconds a person was promised.
const GRACE: Duration = Duration::from_secs(7);
/// How long the system may take to end a killed process.
const KILL_TIMEOUT: Duration = Duration::from_secs(2);
/// What the system says of an address that a process listens on (EADDRINUSE); the log repeats it.
const ADDRESS_IN_USE: &str = "Address already in use";
/// How long a process that is started or added may take to serve.
const SERVES_WITHIN: Duration = Duration::from_secs(30);

/// Runs the processes of a plan.
#[derive(Debug)]
pub(super) struct Supervisor {
    dir: DataDir,
    executable: PathBuf,
    state: Mutex<State>,
    /// How many processes run: a task that stops them all waits for zero.
    count: watch::Sender<usize>,
}

#[derive(Debug)]
struct State {
    plan: Plan,
    reservations: Reservations,
    running: BTreeMap<Name, Process>,
    /// The process id each had last, running or not.
    pids: BTreeMap<Name, u32>,
    /// Set once the federation is ready: from then on `dev.json` follows every change.
    lineage: Option<LineageStatus>,
    /// Whether ends are expected and not worth a word.
    stopping: bool,
    /// Ports of processes that could not start because another process listens there after all.
    taken: BTreeSet<u16>,
}

#[derive(Debug)]
struct Process {
    running: Running,
    /// How it ended; sent after the state and `dev.json` say so.
    ended: watch::Receiver<Option<ExitStatus>>,
    /// Whether we ended it.
    killed: bool,
}

impl Supervisor {
    /// For the processes of `plan`, which `executable` plays.
    pub(super) fn new(
        dir: DataDir,
        executable: PathBuf,
        plan: Plan,
        reservations: Reservations,
    ) -> Arc<Self> {
        let (running, pids) = (BTreeMap::new(), BTreeMap::new());
        let (stopping, taken) = (false, BTreeSet::new());
        let state = State { plan, reservations, running, pids, lineage: None, stopping, taken };
        Arc::new(Self { dir, executable, state: Mutex::new(state), count: watch::Sender::new(0) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of the plan.
    pub(super) fn plan(&self) -> Plan {
        self.lock().plan.clone()
    }

    /// This program's file.
    pub(super) fn executable(&self) -> &PathBuf {
        &self.executable
    }

    /// What runs where.
    pub(super) fn state(&self) -> DevState {
        self.lock().dev_state(&self.dir)
    }

    /// Ports that looked free when they were chosen and were not when a process wanted them, before the federation was
    /// ready: later, addresses stay.
    pub(super) fn taken_ports(&self) -> BTreeSet<u16> {
        self.lock().taken.clone()
    }

    fn remember_taken(&self, spec: &ProcessSpec) {
        let mut state = self.lock();
        if state.lineage.is_none() {
            state.taken.extend(spec.ports.values());
        }
    }

    /// From now on `dev.json` says what runs.
    pub(super) fn publish(&self, lineage: LineageStatus) -> anyhow::Result<()> {
        let mut state = self.lock();
        state.lineage = Some(lineage);
        state.write(&self.dir)
    }

    /// Starts a process of the plan; it may take a while to serve.
    pub(super) fn spawn(self: &Arc<Self>, name: &str) -> anyhow::Result<()> {
        let mut state = self.lock();
        let spec = state.find(name)?;
        if state.running.contains_key(&spec.name) {
            return Err(Failure::new(Exit::Conflict, format!("{name} runs already")).into());
        }
        anyhow::ensure!(!state.stopping, "the federation is being stopped");
        let (running, child) = process::spawn(&self.executable, &self.dir, &spec)?;
        let (sender, ended) = watch::channel(None);
        let pid = running.pid;
        state.pids.insert(spec.name.clone(), pid);
        state.running.insert(spec.name.clone(), Process { running, ended, killed: false });
        self.count.send_modify(|count| *count += 1);
        state.write_if_published(&self.dir);
        drop(state);
        tokio::spawn(self.clone().see_off(spec.name, pid, child, sender));
        Ok(())
    }

    /// Waits for the end of a process and says so.
    async fn see_off(
        self: Arc<Self>,
        name: Name,
        pid: u32,
        mut child: Child,
        ended: watch::Sender<Option<ExitStatus>>,
    ) {
        let status = match child.wait().await {
            Ok(status) => status,
            Err(error) => {
                say(format!("cannot wait for {name}: {error}"));
                ExitStatus::default()
            }
        };
        {
            let mut state = self.lock();
            let was = state
                .running
                .get(&name)
                .filter(|process| process.running.pid == pid)
                .map(|process| process.killed);
            if was == Some(false) && !state.stopping && state.lineage.is_some() {
                let log = self.dir.log(name.as_str());
                say(format!("{name} ended by itself: {} (see {})", process::ending(status), log.display()));
            }
            state.running.remove(&name);
            state.write_if_published(&self.dir);
        }
        ended.send_replace(Some(status));
        self.count.send_modify(|count| *count -= 1);
    }

    /// Returns when a process serves; fails when it ends instead.
    pub(super) async fn serves(&self, name: &str) -> anyhow::Result<()> {
        let (spec, mut ended) = {
            let state = self.lock();
            let spec = state.find(name)?;
            (spec, state.running.get(name).map(|process| process.ended.clone()))
        };
        let log = self.dir.log(name);
        let failed = |how: String| {
            let end = process::log_end(&log);
            if end.contains(ADDRESS_IN_USE) {
                self.remember_taken(&spec);
            }
            Failure::new(Exit::General, format!("{name} did not start: {how}\n{end}"))
                .remedy(format!("see {}", log.display()))
        };
        let Some(url) = ready::url(&spec) else { return Ok(()) };
        let ending = async {
            match &mut ended {
                Some(ended) => ended.wait_for(Option::is_some).await.ok().and_then(|status| *status),
                None => None,
            }
        };
        tokio::select! {
            () = ready::answers(&url) => Ok(()),
            status = ending => Err(failed(status.map_or_else(|| "it is down".to_owned(), process::ending)).into()),
            () = tokio::time::sleep(SERVES_WITHIN) => {
                Err(failed(format!("it does not serve after {} s", SERVES_WITHIN.as_secs())).into())
            }
        }
    }

    /// Kills a process, or all that run of a host, at once.
    pub(super) async fn kill_all(&self, name: &str) -> anyhow::Result<()> {
        let all = self.lock().of(name, true)?;
        try_join_all(all.iter().map(|name| self.kill(name.as_str()))).await.map(drop)
    }

    /// Starts a process, or all that are down of a host, at once.
    pub(super) async fn start_all(self: &Arc<Self>, name: &str) -> anyhow::Result<()> {
        let all = self.lock().of(name, false)?;
        try_join_all(all.iter().map(|name| self.start(name.as_str()))).await.map(drop)
    }

    /// Kills a process; returns when it is gone and `dev.json` says so.
    async fn kill(&self, name: &str) -> anyhow::Result<()> {
        let mut ended = {
            let mut state = self.lock();
            let spec = state.find(name)?;
            let Some(process) = state.running.get_mut(&spec.name) else {
                return Err(Failure::new(Exit::Conflict, format!("{name} is down already")).into());
            };
            process.killed = true;
            process.running.signal(Signal::SIGKILL);
            process.ended.clone()
        };
        tokio::time::timeout(KILL_TIMEOUT, ended.wait_for(Option::is_some))
            .await
            .with_context(|| format!("{name} is still there after SIGKILL"))?
            .context("the process is no longer watched")?;
        Ok(())
    }

    /// Starts a process that is down; returns when it serves.
    async fn start(self: &Arc<Self>, name: &str) -> anyhow::Result<()> {
        self.spawn(name)?;
        self.serves(name).await
    }

    /// Adds a gateway to a region; returns its name when it serves.
    pub(super) async fn add_gateway(self: &Arc<Self>, region: &Name) -> anyhow::Result<Name> {
        let (gateway, agent) = {
            let mut state = self.lock();
            let state = &mut *state;
            let agent = state.plan.agents(region).next().cloned().ok_or_else(|| {
                let known = state.plan.regions().map(Name::to_string).collect::<Vec<_>>().join(", ");
                Failure::new(Exit::NotFound, format!("there is no region {region}"))
                    .remedy(format!("regions are {known}"))
            })?;
            let mut gateway = state.plan.another_gateway(region);
            let reservations = &mut state.reservations;
            state
                .plan
                .choose_for(&mut gateway, |preferred| reservations.pick(preferred))
                .context("choosing ports")?;
            state.plan.processes.push(gateway.clone());
            (gateway, agent)
        };
        let name = gateway.name.clone();
        let outcome = async {
            configs::write(&self.dir, &self.plan(), &gateway)?;
            self.mint_token(&agent, &gateway).await?;
            self.start(name.as_str()).await
        };
        if let Err(error) = outcome.await {
            // It never served: as if it had not been asked for.
            let _ = self.kill(name.as_str()).await;
            let mut state = self.lock();
            state.plan.processes.retain(|process| process.name != name);
            state.reservations.release(gateway.ports.values().copied());
            state.write_if_published(&self.dir);
            return Err(error);
        }
        self.save_plan(true)?;
        Ok(name)
    }

    /// Has an agent make a join token for a gateway or a responder. Needs no control plane.
    pub(super) async fn mint_token(&self, agent: &ProcessSpec, node: &ProcessSpec) -> anyhow::Result<()> {
        let mut command = process::command(&self.executable, "agent");
        command.arg("mint-token").arg("--config").arg(self.dir.config(agent.name.as_str()));
        command.arg("--join").arg(node.role.command());
        let token = process::output_of(command, &format!("making a join token for {}", node.name)).await?;
        crate::client_config::write_private(&self.dir.join_token(node.name.as_str()), token.as_bytes())
    }

    /// Keeps the plan for the next start.
    pub(super) fn save_plan(&self, complete: bool) -> anyhow::Result<()> {
        let mut state = self.lock();
        state.plan.complete = complete;
        let text = serde_json::to_vec_pretty(&state.plan).context("writing plan.json")?;
        crate::client_config::write_private(&self.dir.plan(), &text)
    }

    /// Stops every process, then gives their ports back: all are asked, and those that do not hear are killed.
    pub(super) async fn stop_all(&self) {
        self.end_all().await;
        self.lock().reservations.release_all();
    }

    async fn end_all(&self) {
        let mut count = self.count.subscribe();
        self.signal_all(Signal::SIGTERM);
        if tokio::time::timeout(GRACE, count.wait_for(|count| *count == 0)).await.is_ok() {
            return;
        }
        let late = self.lock().running.keys().map(Name::to_string).collect::<Vec<_>>().join(", ");
        say(format!("killing {late}: still there after {} s", GRACE.as_secs()));
        self.signal_all(Signal::SIGKILL);
        if tokio::time::timeout(KILL_TIMEOUT, count.wait_for(|count| *count == 0)).await.is_err() {
            say("some processes are still there after SIGKILL");
        }
    }

    fn signal_all(&self, signal: Signal) {
        let mut state = self.lock();
        state.stopping = true;
        for process in state.running.values() {
            process.running.signal(signal);
        }
    }
}

impl State {
    /// The process of this name, or those of the host of this name that run, or are down. A host with none is an error, as is a process:
    /// whoever kills or starts it a second time then hears so.
    fn of(&self, name: &str, running: bool) -> anyhow::Result<Vec<Name>> {
        let mut all = self.plan.named(name);
        if all.is_empty() {
            return Err(self.find(name).expect_err("it is no process").into());
        }
        let is_so = |one: &Name| self.running.contains_key(one) == running;
        if all.iter().any(is_so) {
            all.retain(is_so);
        }
        Ok(all)
    }

    fn find(&self, name: &str) -> Result<ProcessSpec, Failure> {
        self.plan.find(name).cloned().ok_or_else(|| {
            let known = self
                .plan
                .processes
                .iter()
                .map(|process| process.name.to_string())
                .collect::<Vec<_>>()
                .join(", ");
            Failure::new(Exit::NotFound, format!("there is no process {name}"))
                .remedy(format!("there are {known}"))
        })
    }

    fn dev_state(&self, dir: &DataDir) -> DevState {
        let process = |spec: &ProcessSpec| {
            ProcessState::new(spec, self.pids.get(&spec.name).copied(), self.running.contains_key(&spec.name))
        };
        DevState {
            lineage: self.lineage.clone(),
            client: dir.client(),
            processes: self.plan.processes.iter().map(process).collect(),
        }
    }

    fn write(&self, dir: &DataDir) -> anyhow::Result<()> {
        self.dev_state(dir).write(dir.path())
    }

    /// A file that cannot be written must not keep a process from being killed.
    fn write_if_published(&self, dir: &DataDir) {
        if self.lineage.is_some()
            && !self.stopping
            && let Err(error) = self.write(dir)
        {
            say(format!("error: {error:#}"));
        }
    }
}

#[cfg(test)]
mod tests;
