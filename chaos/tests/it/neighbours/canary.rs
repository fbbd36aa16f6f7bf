//! How late this machine is with a task that does nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::{sync::watch, time::sleep};

/// How long each sleep is: far less than the lateness that matters.
const NAP: Duration = Duration::from_millis(10);

/// Does this work, and has a canary beside it: a task that only sleeps. What the work came to, and how late the latest sleep ended. An error
/// of the work says that, too.
///
/// The canary waits for a processor, and for one of the threads that the clients of this test share. Processes that compute may wait longer:
/// the scheduler prefers those that slept.
pub(super) async fn beside<T>(work: impl Future<Output = Result<T>>) -> Result<(T, Duration)> {
    let (stop, stopped) = watch::channel(false);
    let canary = tokio::spawn(naps(stopped));
    let outcome = work.await;
    stop.send_replace(true);
    let lateness = canary.await?;
    let done = outcome.with_context(|| format!("a task that only sleeps woke {lateness:?} late at most"))?;
    Ok((done, lateness))
}

async fn naps(stopped: watch::Receiver<bool>) -> Duration {
    let mut latest = Duration::ZERO;
    while !*stopped.borrow() {
        let began = Instant::now();
        sleep(NAP).await;
        latest = latest.max(began.elapsed().saturating_sub(NAP));
    }
    latest
}
