//! Freezing a process, and copying what it keeps while nothing of it moves.

use std::{
    fs,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A thread in the middle of a sync stops when that is done.
const STOPS_WITHIN: Duration = Duration::from_secs(20);

/// A process that does not move. It goes on when this is dropped.
pub(super) struct Frozen(Pid);

impl Frozen {
    /// Stops a process; returns when none of its threads runs.
    pub(super) fn freeze(process: u32) -> Self {
        let pid = Pid::from_raw(i32::try_from(process).unwrap());
        kill(pid, Signal::SIGSTOP).unwrap();
        let frozen = Self(pid);
        let until = Instant::now() + STOPS_WITHIN;
        while !is_still(process) {
            assert!(Instant::now() < until, "process {process} does not stop");
            sleep(Duration::from_millis(1));
        }
        frozen
    }

    /// Copies the directory of a node's log: database and witness, as a kill would leave them now.
    pub(super) fn copy(&self, from: &Path, to: &Path) {
        let _ = fs::remove_dir_all(to);
        copy_dir(from, to);
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // It may have been killed meanwhile.
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

/// Whether every thread is stopped, or the process has ended.
fn is_still(process: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return true };
    threads.filter_map(Result::ok).all(|thread| {
        let Ok(stat) = fs::read_to_string(thread.path().join("stat")) else { return true };
        // The second field is the name in parentheses; the state comes after it.
        stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with(['T', 'Z', 'X']))
    })
}

pub(super) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
