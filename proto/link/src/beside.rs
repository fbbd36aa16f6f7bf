//! Writing beside a task that must not wait for the disk.

use std::time::Duration;

use tokio::{task::JoinHandle, time::Instant};
use tracing::error;

/// Between two attempts: how late it is noticed that a disk has room again.
const WRITE_AGAIN: Duration = Duration::from_secs(10);

/// One write at a time, off the runtime's threads; one that failed is followed by the next after a while.
#[derive(Debug, Default)]
pub(crate) struct WriteBeside {
    running: Option<JoinHandle<bool>>,
    not_before: Option<Instant>,
}

impl WriteBeside {
    /// Starts to write, unless that goes on already or failed a moment ago. `write` says whether it worked.
    pub(crate) fn start(&mut self, write: impl FnOnce() -> bool + Send + 'static) {
        if self.running.is_none() && self.not_before.is_none() {
            self.running = Some(tokio::task::spawn_blocking(write));
        }
    }

    /// Resolves when it is time to look whether there is something to write: one has ended, or may be tried again. Cancel-safe.
    pub(crate) async fn turn(&mut self) {
        if let Some(running) = &mut self.running {
            let worked = running.await.unwrap_or_else(|error| {
                error!(%error, "writing panicked");
                false
            });
            self.running = None;
            self.not_before = (!worked).then(|| Instant::now() + WRITE_AGAIN);
        } else if let Some(not_before) = self.not_before {
            tokio::time::sleep_until(not_before).await;
            self.not_before = None;
        } else {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_write_that_hangs_holds_up_nobody_and_has_no_second_beside_it() {
        let (release, hangs) = mpsc::channel::<()>();
        let mut writing = WriteBeside::default();
        writing.start(move || hangs.recv().is_err());
        let turned = timeout(Duration::from_millis(20), writing.turn()).await;
        assert!(turned.is_err(), "whoever waits for it may do something else meanwhile");
        writing.start(|| panic!("one at a time"));
        drop(release);
        timeout(SOON, writing.turn()).await.unwrap();
        let (wrote, written) = mpsc::channel();
        writing.start(move || wrote.send(()).is_ok());
        timeout(SOON, writing.turn()).await.unwrap();
        written.recv().unwrap();
    }

    #[tokio::test]
    async fn one_that_failed_or_panicked_is_followed_by_the_next_after_a_while() {
        for fail in [|| false, || panic!("it does")] {
            let mut writing = WriteBeside::default();
            writing.start(fail);
            timeout(SOON, writing.turn()).await.unwrap();
            writing.start(|| panic!("not yet"));
            assert!(writing.running.is_none());
            tokio::time::pause();
            writing.turn().await;
            tokio::time::resume();
            writing.start(|| true);
            timeout(SOON, writing.turn()).await.unwrap();
            assert!(writing.not_before.is_none());
        }
    }
}
