//! Proofs that work turns: a loop beats its pulse, and the supervisor looks how long ago that was.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// How often a loop beats while it waits for news: far more often than the minute and more after which a loop counts as hung.
const BEAT: Duration = Duration::from_secs(1);

/// When a loop last turned. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Pulse(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    made: Instant,
    /// Milliseconds after that.
    last: AtomicU64,
}

impl Pulse {
    /// One that has just beaten.
    #[allow(clippy::new_without_default)] // two of them differ: each begins when it is made
    pub fn new() -> Self {
        Self(Arc::new(Inner { made: Instant::now(), last: AtomicU64::new(0) }))
    }

    /// The loop turns.
    pub fn beat(&self) {
        let since = u64::try_from(self.0.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last.fetch_max(since, Ordering::Relaxed);
    }

    /// Beats for as long as it is polled, beside what a loop waits for: news that do not come are no hang.
    pub async fn beat_on(&self) {
        loop {
            self.beat();
            tokio::time::sleep(BEAT).await;
        }
    }

    /// How long ago it last turned.
    pub fn age(&self) -> Duration {
        let last = Duration::from_millis(self.0.last.load(Ordering::Relaxed));
        self.0.made.elapsed().saturating_sub(last)
    }
}

/// Work that gives no proof that it turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} hangs")]
pub struct Hung(pub &'static str);

/// Work of which a proof is wanted.
pub(crate) struct Watched {
    pub(crate) work: &'static str,
    pub(crate) turns: Box<dyn Fn() -> bool + Send>,
    /// The supervisor that asks for the proof. Once it is gone, the proof is not asked for any more.
    pub(crate) asker: Weak<()>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.work).finish()
    }
}
