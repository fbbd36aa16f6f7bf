//! Starting one process, and seeing it end.

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{ExitStatus, Stdio},
};

use anyhow::Context as _;
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use tokio::process::{Child, ChildStdin, Command};

use super::{
    data_dir::DataDir,
    environment, own,
    plan::{Face, ProcessSpec, Role},
};

/// Tells a process to stop when its standard input closes.
const STOP_ON_STDIN_CLOSE: &str = "HANSE_STOP_ON_STDIN_CLOSE";
/// The one of our variables that children get: how much they log.
const LOG: &str = "HANSE_LOG";

/// A running process. Its standard input is open as long as this exists: when we are gone, however we went, it stops.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) pid: u32,
    _stdin: ChildStdin,
}

impl Running {
    /// Sends a signal. An error says that it is gone already.
    pub(super) fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.pid) {
            let _ = signal::kill(Pid::from_raw(pid), signal);
        }
    }
}

/// Starts a process, in a process group of its own: a Ctrl-C at the terminal is for us alone.
pub(super) fn spawn(
    executable: &Path,
    dir: &DataDir,
    spec: &ProcessSpec,
) -> anyhow::Result<(Running, Child)> {
    let starting = || format!("starting {}", spec.name);
    let log = dir.log(spec.name.as_str());
    let log = own::file(&log, fs::OpenOptions::new().append(true)).with_context(starting)?;
    let mut command = command(executable, spec.role.command());
    if spec.role == Role::Gateway {
        command.envs(environment::of_gateways());
    }
    match spec.role {
        Role::Upstream => command.arg("--listen").arg(spec.address(Face::Http).unwrap_or_default()),
        Role::Server | Role::Agent | Role::Gateway | Role::Dns => {
            command.arg("--config").arg(dir.config(spec.name.as_str()))
        }
    };
    command
        .env(STOP_ON_STDIN_CLOSE, "1")
        .stdin(Stdio::piped())
        .stdout(log.try_clone().with_context(starting)?)
        .stderr(log)
        .process_group(0);
    let mut child = command.spawn().with_context(starting)?;
    let pid = child.id().with_context(starting)?;
    let stdin = child.stdin.take().with_context(starting)?;
    Ok((Running { pid, _stdin: stdin }, child))
}

/// A command of ours, without the variables in our own environment that configure roles.
pub(super) fn command(executable: &Path, subcommand: &str) -> Command {
    let mut command = Command::new(executable);
    command.arg(subcommand);
    for (variable, _) in std::env::vars_os() {
        if variable.to_str().is_some_and(|name| name.starts_with("HANSE_") && name != LOG) {
            command.env_remove(variable);
        }
    }
    command
}

/// Runs a command of ours to its end and gives what it printed.
pub(super) async fn output_of(mut command: Command, what: &str) -> anyhow::Result<String> {
    let output =
        command.stdin(Stdio::null()).kill_on_drop(true).output().await.with_context(|| what.to_owned())?;
    anyhow::ensure!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// How a process ended, for people.
pub(super) fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(signal) => signal.to_string(),
            Err(_) => format!("signal {signal}"),
        },
        (None, None) => "for an unknown reason".to_owned(),
    }
}

/// The end of a log.
pub(super) fn log_end(path: &Path) -> String {
    /// Enough for an error and what led to it.
    const BYTES: u64 = 4_000;
    const LINES: usize = 12;
    let read = || {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))?;
        let mut bytes = Vec::new();
        file.take(BYTES).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..]
        .iter()
        .map(|line| format!("  | {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
