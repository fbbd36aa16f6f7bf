//! Processes are killed, frozen and started again; when each was away is kept for the verdict.

use std::time::Instant;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::World;
use crate::load::Window;

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
