//! How late this machine is with a task that does nothing.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::{sync::watch, task::JoinHandle, time::sleep};

/// How long each sleep is: far less than the lateness that matters.
const NAP: Duration = Duration::from_millis(10);

/// A task that sleeps again and again. It waits for nothing but a processor.
pub(super) struct Canary {
    stop: watch::Sender<bool>,
    task: JoinHandle<Duration>,
}

impl Canary {
    /// Sleeps until it is stopped.
    pub(super) fn start() -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut latest = Duration::ZERO;
            while !*stopped.borrow() {
                let began = Instant::now();
                sleep(NAP).await;
                latest = latest.max(began.elapsed().saturating_sub(NAP));
            }
            latest
        });
        Self { stop, task }
    }

    /// How late the latest sleep ended.
    pub(super) async fn stop(self) -> Result<Duration> {
        self.stop.send_replace(true);
        Ok(self.task.await?)
    }
}
