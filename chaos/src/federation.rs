//! A federation of real processes, started by `hanse dev` in a directory of its own.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::Deserialize;
use tempfile::TempDir;

use crate::{
    operator::{Cli, Operator},
    process::{binary, tail},
};

/// How long `hanse dev` may take until everything serves. The promise is 20 s; a loaded test machine gets more.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// How long it may take to stop: the promise is 10 s.
const STOPPED_WITHIN: Duration = Duration::from_secs(15);
/// How often conditions are looked at.
const POLL: Duration = Duration::from_millis(50);

/// A running `hanse dev`. Stopped, and its directory removed, when dropped.
pub struct Federation {
    dev: Child,
    launch: Launch,
}

/// How it was started.
struct Launch {
    dir: TempDir,
    binary: PathBuf,
    arguments: Vec<String>,
    /// More of its environment.
    variables: Vec<(String, String)>,
    /// Where `hanse dev` keeps temporary files; none: where the harness does.
    temporary: Option<PathBuf>,
}

impl Launch {
    fn spawn(&self) -> Result<Child> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("dev.log"))?;
        let mut command = Command::new(&self.binary);
        command.arg("dev").arg("--data-dir").arg(self.dir.path().join("data")).args(&self.arguments);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(temporary) = &self.temporary {
            command.env("TMPDIR", temporary);
        }
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", self.binary.display()))
    }
}

/// One process as `dev.json` lists it.
#[derive(Debug, Clone, Deserialize)]
pub struct DevProcess {
    /// `server`, `agent`, `gateway` or `upstream`.
    pub role: String,
    /// Its name.
    pub name: String,
    /// Its region, where it has one.
    pub region: Option<String>,
    /// The host of its pattern that carries it.
    pub host: Option<String>,
    /// Its process id.
    pub pid: i32,
    /// Whether it runs.
    pub up: bool,
    /// `http://127.0.0.1:PORT`
    pub http: Option<String>,
    /// `https://127.0.0.1:PORT`
    pub https: Option<String>,
    /// Its admin address.
    pub admin: Option<String>,
}

#[derive(Deserialize)]
struct DevFile {
    processes: Vec<DevProcess>,
}

impl Federation {
    /// Starts `hanse dev` with these further arguments, without its example, and waits until it serves.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        Self::start_with(&[&["--no-example"], arguments].concat(), &[], None)
    }

    /// Starts `hanse dev` as people do, with its example; with these further arguments and variables.
    pub fn start_with_example(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Self> {
        Self::start_with(arguments, variables, None)
    }

    /// The same, with another directory for its temporary files.
    pub fn start_with_temporary(temporary: &Path, arguments: &[&str]) -> Result<Self> {
        Self::start_with(&[&["--no-example"], arguments].concat(), &[], Some(temporary.to_owned()))
    }

    fn start_with(
        arguments: &[&str],
        variables: &[(&str, &str)],
        temporary: Option<PathBuf>,
    ) -> Result<Self> {
        let binary = binary()?;
        let dir = tempfile::Builder::new().prefix("hanse-").tempdir()?;
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let variables = variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let launch = Launch { dir, binary, arguments, variables, temporary };
        let mut federation = Self { dev: launch.spawn()?, launch };
        federation.wait_ready()?;
        Ok(federation)
    }

    /// Stops it, as Ctrl-C does, and waits until everything has stopped.
    pub fn stop(&mut self) -> Result<()> {
        kill(Pid::from_raw(self.dev.id() as i32), Signal::SIGTERM)?;
        let deadline = Instant::now() + STOPPED_WITHIN;
        while self.dev.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "hanse dev still runs after {STOPPED_WITHIN:?}");
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Starts it again, in the same directory, and waits until it serves.
    pub fn resume(&mut self) -> Result<()> {
        self.dev = self.launch.spawn()?;
        self.wait_ready()
    }

    fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.dev.try_wait()? {
                bail!("hanse dev ended with {status}:\n{}", self.logs());
            }
            if self.data_dir().join("dev.json").exists() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("hanse dev is not ready after {READY_WITHIN:?}:\n{}", self.logs());
            }
            std::thread::sleep(POLL);
        }
    }

    /// The federation's data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.launch.dir.path().join("data")
    }

    /// Every process, as `dev.json` says now.
    pub fn processes(&self) -> Result<Vec<DevProcess>> {
        let text = fs::read(self.data_dir().join("dev.json"))?;
        Ok(serde_json::from_slice::<DevFile>(&text)?.processes)
    }

    /// The process of that name.
    pub fn process(&self, name: &str) -> Result<DevProcess> {
        self.processes()?
            .into_iter()
            .find(|process| process.name == name)
            .with_context(|| format!("no process {name}"))
    }

    /// The gateways' HTTP addresses, in the order of their names.
    pub fn gateways(&self) -> Result<Vec<(String, String)>> {
        let mut gateways: Vec<_> = self
            .processes()?
            .into_iter()
            .filter(|process| process.role == "gateway" && process.up)
            .filter_map(|process| Some((process.name, process.http?)))
            .collect();
        gateways.sort();
        ensure!(!gateways.is_empty(), "no gateway is up");
        Ok(gateways)
    }

    /// Runs the operator's client with these arguments.
    pub fn cli(&self, arguments: &[&str]) -> Result<Cli> {
        self.cli_with_input(arguments, "")
    }

    /// Runs the operator's client with this on its standard input.
    pub fn cli_with_input(&self, arguments: &[&str], input: &str) -> Result<Cli> {
        self.operator().run(arguments, input, &[])
    }

    /// Runs the operator's client and expects success; returns its standard output.
    pub fn ok(&self, arguments: &[&str]) -> Result<String> {
        self.operator().ok(arguments)
    }

    /// Applies manifests from a string and waits until every gateway in scope serves them.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        self.operator().apply(manifests)
    }

    /// The operator's client of this federation.
    pub fn operator(&self) -> Operator {
        Operator::new(&self.launch.binary, &self.client_config())
    }

    /// Tells the running federation something: `["kill", "cp-1"]`.
    pub fn dev(&self, arguments: &[&str]) -> Result<String> {
        let data = self.data_dir();
        self.ok(&[&["dev"], arguments, &["--data-dir", &data.to_string_lossy()]].concat())
    }

    /// Sends a signal to the process of that name.
    pub fn signal(&self, name: &str, signal: Signal) -> Result<()> {
        let process = self.process(name)?;
        kill(Pid::from_raw(process.pid), signal).with_context(|| format!("{signal} to {name}"))
    }

    /// The binary under test.
    pub fn binary(&self) -> &Path {
        &self.launch.binary
    }

    /// The configuration operators' clients use.
    pub fn client_config(&self) -> PathBuf {
        self.data_dir().join("client.toml")
    }

    /// The tails of all logs, for a failing test.
    pub fn logs(&self) -> String {
        let mut text = tail(&self.launch.dir.path().join("dev.log"));
        if let Ok(entries) = fs::read_dir(self.data_dir().join("logs")) {
            for entry in entries.flatten() {
                text.push_str(&tail(&entry.path()));
            }
        }
        text
    }
}

impl Drop for Federation {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = std::io::stderr().write_all(self.logs().as_bytes());
        }
        let _ = kill(Pid::from_raw(self.dev.id() as i32), Signal::SIGTERM);
        let deadline = Instant::now() + STOPPED_WITHIN;
        while Instant::now() < deadline {
            if matches!(self.dev.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(POLL);
        }
        let _ = self.dev.kill();
        let _ = self.dev.wait();
    }
}
