//! What an HTTP/2 connection is doing, and whether it has done nothing for too long.
//!
//! hyper bounds neither the wait for a first request nor the one between two, and a client that leaves a stream's window
//! shut is never asked for anything. So streams say here when they wait for their client, and one timer per connection
//! looks.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use tokio::time::Instant;

/// The streams of one connection.
pub(super) struct Activity {
    open: Cell<usize>,
    /// When the last one opened or closed.
    changed: Cell<Instant>,
    opened: Cell<u64>,
    /// Streams whose client has not asked for more since.
    untaken: RefCell<BTreeMap<u64, Instant>>,
}

/// A request and its answer. Closes when dropped.
pub(super) struct OpenStream {
    activity: Rc<Activity>,
    number: u64,
}

/// What is wrong with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inactive {
    /// No stream is open, and none has been for too long.
    Idle,
    /// A client has taken nothing of an answer for too long.
    Stalled,
}

impl Activity {
    /// Nothing so far.
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            open: Cell::new(0),
            changed: Cell::new(Instant::now()),
            opened: Cell::new(0),
            untaken: RefCell::default(),
        })
    }

    /// A stream opens.
    pub(super) fn open(self: &Rc<Self>) -> OpenStream {
        self.open.set(self.open.get() + 1);
        self.opened.set(self.opened.get() + 1);
        self.changed.set(Instant::now());
        OpenStream { activity: self.clone(), number: self.opened.get() }
    }

    /// Resolves when nothing has happened for too long.
    pub(super) async fn stops(&self, idle: Duration, stall: Duration) -> Inactive {
        loop {
            tokio::time::sleep(idle.min(stall) / 4).await;
            let over = |since: &Instant, limit: Duration| since.elapsed() >= limit;
            if self.untaken.borrow().values().any(|since| over(since, stall)) {
                return Inactive::Stalled;
            }
            if self.open.get() == 0 && over(&self.changed.get(), idle) {
                return Inactive::Idle;
            }
        }
    }
}

impl OpenStream {
    /// Something of the answer waits for the client.
    pub(super) fn offers(&self) {
        self.activity.untaken.borrow_mut().insert(self.number, Instant::now());
    }

    /// The client took it and is ready for more.
    pub(super) fn is_taken(&self) {
        self.activity.untaken.borrow_mut().remove(&self.number);
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.is_taken();
        self.activity.open.set(self.activity.open.get() - 1);
        self.activity.changed.set(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(8);
    const STALL: Duration = Duration::from_secs(20);

    #[tokio::test(start_paused = true)]
    async fn idle_means_no_stream_for_so_long() {
        let activity = Activity::new();
        let stream = activity.open();
        assert!(tokio::time::timeout(IDLE * 10, activity.stops(IDLE, STALL)).await.is_err());
        drop(stream);
        let begun = Instant::now();
        assert_eq!(activity.stops(IDLE, STALL).await, Inactive::Idle);
        assert_eq!(begun.elapsed(), IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn stalled_means_an_answer_that_nobody_takes() {
        let activity = Activity::new();
        let (taken, stuck) = (activity.open(), activity.open());
        taken.offers();
        taken.is_taken();
        assert!(tokio::time::timeout(STALL * 10, activity.stops(IDLE, STALL)).await.is_err());
        stuck.offers();
        assert_eq!(activity.stops(IDLE, STALL).await, Inactive::Stalled);
        drop(stuck);
        assert!(tokio::time::timeout(STALL * 10, activity.stops(IDLE, STALL)).await.is_err());
    }
}
