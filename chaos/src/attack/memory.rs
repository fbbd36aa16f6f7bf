//! A node's memory: its peak, looked at from a thread of its own, and whether it comes back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::process::resident_bytes;

/// How often a node's memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks at the memory of a process until it is asked for the peak.
pub(crate) struct Peak {
    stop: Arc<AtomicBool>,
    looking: thread::JoinHandle<Result<u64>>,
}

impl Peak {
    /// Of the process with this id, from now on.
    pub(crate) fn of(process: u32) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let looking = thread::Builder::new().name("memory".to_owned()).spawn(move || {
            // A process that is gone fails here: how it ended is said elsewhere.
            let mut peak = resident_bytes(process)?;
            while !stopped.load(Ordering::Relaxed) {
                thread::sleep(LOOK_EVERY);
                peak = peak.max(resident_bytes(process).unwrap_or_default());
            }
            Ok(peak)
        })?;
        Ok(Self { stop, looking })
    }

    /// The most it had since.
    pub(crate) fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let peak = self.looking.join().map_err(|_| anyhow::anyhow!("looking at memory panicked"))?;
        peak.context("the node's memory")
    }
}

/// Waits until a process has at most `bytes`, for so long at most. What it has then, and the seconds it took.
pub(crate) async fn back(process: u32, bytes: u64, within: Duration) -> (u64, f64) {
    let began = Instant::now();
    loop {
        let now = resident_bytes(process).unwrap_or(u64::MAX);
        let waited = began.elapsed();
        if now <= bytes || waited > within {
            return (now, (waited.as_secs_f64() * 10.0).round() / 10.0);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peak_is_seen_whatever_else_waits_and_a_process_that_is_gone_is_no_zero() {
        let own = std::process::id();
        let before = resident_bytes(own).unwrap();
        let peak = Peak::of(own).unwrap();
        let held = std::hint::black_box(vec![1_u8; 64 << 20]);
        thread::sleep(LOOK_EVERY * 4); // as a test does that blocks its runtime
        drop(held);
        let peak = peak.stop().unwrap();
        assert!(peak >= before + (60 << 20), "{peak} after {before}");

        let mut gone = std::process::Command::new("true").spawn().unwrap();
        let id = gone.id();
        gone.wait().unwrap();
        assert!(Peak::of(id).unwrap().stop().is_err());
        assert_eq!(back(id, 1, Duration::ZERO).await.0, u64::MAX);
    }
}
