//! Processes are killed, frozen and started again; when each was away is kept for the verdict.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::World;
use crate::{clock, load::Window, process::until, spec};

/// For a node to see that its clock was set: libfaketime looks after a second or two. The rest is for the node's log, which
/// takes five refused handshakes in ten seconds.
const CLOCK_SEEN_WITHIN: Duration = Duration::from_secs(20);
/// Between two looks at a node's clock.
const LOOK_EVERY: Duration = Duration::from_millis(700);
/// A clock that was set shows this much too little or too much at most, on a loaded machine.
const CLOCK_TOLERANCE: f64 = 0.4;
/// A node refuses what is no handshake at once.
const REFUSES_WITHIN: Duration = Duration::from_secs(2);

impl World {
    /// Kills a process (SIGKILL); it stays down.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        self.open_window(name, false);
        self.node_mut(name)?.process.kill()
    }

    /// Starts a process that is down, at the same address; returns when it serves.
    pub async fn start(&mut self, name: &str) -> Result<()> {
        self.node_mut(name)?.process.restart()?;
        self.serves(name).await?;
        self.close_window(name);
        Ok(())
    }

    /// Starts a process that is down, at the same address, and does not wait for it to serve.
    pub fn start_only(&mut self, name: &str) -> Result<()> {
        self.node_mut(name)?.process.restart()
    }

    /// Ends a process as a service manager does (SIGTERM), and starts another binary in its place, on the same files; returns when
    /// it serves.
    pub async fn replace(&mut self, name: &str, binary: &Path) -> Result<()> {
        self.replace_only(name, binary)?;
        self.serves(name).await?;
        self.close_window(name);
        Ok(())
    }

    /// The same, and does not wait for it to serve.
    pub fn replace_only(&mut self, name: &str, binary: &Path) -> Result<()> {
        self.open_window(name, false);
        let process = &mut self.node_mut(name)?.process;
        process.end()?;
        process.restart_as(binary)
    }

    /// The next starts of a process, which must be a dev build, have this bug brought back.
    pub fn seed_bug(&mut self, name: &str, bug: Option<&str>) -> Result<()> {
        self.node_mut(name)?.process.seed_bug(bug);
        Ok(())
    }

    /// Starts several at once, as after a blackout: each may need the others to serve.
    pub async fn start_together(&mut self, names: &[String]) -> Result<()> {
        for name in names {
            self.node_mut(name)?.process.restart()?;
        }
        for name in names {
            self.serves(name).await?;
            self.close_window(name);
        }
        Ok(())
    }

    /// Freezes a process (SIGSTOP).
    pub fn freeze(&mut self, name: &str) -> Result<()> {
        self.open_window(name, true);
        self.node(name)?.process.signal(Signal::SIGSTOP)
    }

    /// Lets a frozen process go on; returns when it answers.
    pub async fn thaw(&mut self, name: &str) -> Result<()> {
        self.node(name)?.process.signal(Signal::SIGCONT)?;
        self.serves(name).await?;
        self.close_window(name);
        Ok(())
    }

    /// Sets a control-plane node's wall clock so many seconds before or behind the machine's; returns when the node itself
    /// goes by it. Needs [`super::WorldOptions::clocks`].
    pub async fn set_clock(&self, name: &str, seconds: i64) -> Result<()> {
        ensure!(self.process(name)?.launch().clock.is_some(), "{name} has the machine's clock");
        clock::write(&self.clock_file(name), seconds)?;
        until(&format!("{name} sees its clock {seconds:+} s off"), CLOCK_SEEN_WITHIN, || async {
            tokio::time::sleep(LOOK_EVERY).await;
            let ahead = self.clock_ahead(name).await?;
            ensure!((ahead - seconds as f64).abs() <= CLOCK_TOLERANCE, "it is {ahead:+.3} s off");
            Ok(())
        })
        .await
    }

    /// How far a node's wall clock is ahead of the machine's, in seconds, by the time that it writes into its log. What makes
    /// it write is a connection that does not begin with a TLS handshake.
    async fn clock_ahead(&self, name: &str) -> Result<f64> {
        let mut stream = TcpStream::connect((self.address(name)?, spec::API)).await?;
        let own = stream.local_addr()?;
        stream.write_all(b"no TLS at all").await?;
        // It may be reset: what counts is what was logged.
        let _ = timeout(REFUSES_WITHIN, stream.read_to_end(&mut Vec::new())).await;
        let log = fs::read(&self.process(name)?.launch().log)?;
        let log = String::from_utf8_lossy(&log);
        let said = log.lines().rfind(|line| line.contains(&format!("address={own}")));
        clock::ahead(said.context("the node has not logged a refused handshake")?)
    }

    pub(super) fn clock_file(&self, name: &str) -> PathBuf {
        self.node_dir(name).join("clock")
    }

    fn open_window(&mut self, name: &str, frozen: bool) {
        self.windows.push(Window { target: name.to_owned(), from: Instant::now(), to: None, frozen });
    }

    fn close_window(&mut self, name: &str) {
        let now = Instant::now();
        let open = self.windows.iter_mut().filter(|window| window.target == name && window.to.is_none());
        open.for_each(|window| window.to = Some(now));
    }

    /// When which process was away: what a ledger's verdict excuses.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }
}
