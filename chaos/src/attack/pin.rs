//! Cores: an attacker or the load has one, the node that is watched the other, so that neither figure is the other's want of
//! processor time.

use std::fs;

use anyhow::{Context, Result};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// The core of the attacker, and of load.
pub(crate) const ATTACKER: usize = 0;
/// The core of the attacked or measured node.
pub(crate) const NODE: usize = 1;

/// Pins the calling thread.
pub(crate) fn this_thread(core: usize) -> Result<()> {
    pin(Pid::from_raw(0), core)
}

/// Pins every thread a process has now; threads that it starts later inherit that.
pub(crate) fn to_core(core: usize, process: u32) -> Result<()> {
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let name = thread?.file_name();
        let thread: i32 = name.to_string_lossy().parse().context("thread ids are numbers")?;
        pin(Pid::from_raw(thread), core)?;
    }
    Ok(())
}

fn pin(thread: Pid, core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(thread, &set).with_context(|| format!("pinning thread {thread} to core {core}"))
}
