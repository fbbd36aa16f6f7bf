//! How many connections to upstreams the process has, and may have.
//!
//! One client may need many: each of the 100 requests of an HTTP/2 connection has its own. So they are counted by themselves:
//! one atomic per new connection, none for a request on a kept one.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

/// For a slot when all are taken: time for a connection that was just given up to be closed, on a busy machine. Longer waits would
/// only make a heap of requests.
pub(super) const WAIT: Duration = Duration::from_millis(500);

/// The slots of one process.
#[derive(Debug)]
pub struct Slots {
    most: usize,
    taken: AtomicUsize,
    /// Requests that wait for one.
    waiting: AtomicUsize,
    /// Connections that are to be closed for them, by whichever thread has one.
    to_close: AtomicUsize,
    /// Wakes the request that has waited for longest.
    freed: Notify,
    /// Wakes threads that keep connections which they do not use.
    wanted: Notify,
}

/// A connection's slot, until dropped.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Slots>);

/// A request that waits, until dropped.
struct Waiting<'a>(&'a AtomicUsize);

/// All are taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("this gateway has as many connections to upstreams as it may")]
pub(crate) struct NoSlot;

impl Slots {
    /// So many.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            taken: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            to_close: AtomicUsize::new(0),
            freed: Notify::new(),
            wanted: Notify::new(),
        })
    }

    /// How many are taken now.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// A slot for a connection that is to be opened.
    pub(crate) fn take(self: &Arc<Self>) -> Result<Slot, NoSlot> {
        let more = |taken: usize| (taken < self.most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map_err(|_| NoSlot)?;
        Ok(Slot(self.clone()))
    }

    /// The same, and waits for one where all are taken.
    pub(crate) async fn wait(self: &Arc<Self>) -> Result<Slot, NoSlot> {
        let _waiting = Waiting::new(&self.waiting);
        self.to_close.fetch_add(1, Ordering::Relaxed);
        self.wanted.notify_waiters();
        let freed = async {
            loop {
                let mut freed = pin!(self.freed.notified());
                freed.as_mut().enable(); // before the look, so that none is missed
                if let Ok(slot) = self.take() {
                    return slot;
                }
                freed.await;
            }
        };
        tokio::time::timeout(WAIT, freed).await.map_err(|_elapsed| NoSlot)
    }

    /// Resolves when more requests wait for a slot.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Whether requests wait for a slot: no connection is kept meanwhile.
    pub(super) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Whether the caller is to close one connection; [`unclaim`](Self::unclaim) if it has none. One request that waits costs one
    /// connection, however many threads hear of it.
    pub(super) fn claim(&self) -> bool {
        let waiting = self.waiting.load(Ordering::Relaxed);
        // Of requests that wait no more nothing is left.
        let less = |to_close: usize| to_close.min(waiting).checked_sub(1);
        self.to_close.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// See [`claim`](Self::claim).
    pub(super) fn unclaim(&self) {
        self.to_close.fetch_add(1, Ordering::Relaxed);
    }
}

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.freed.notify_one(); // takes no lock while nothing waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_and_a_dropped_one_is_free_again() {
        let slots = Slots::new(2);
        let mut taken = vec![slots.take().unwrap(), slots.take().unwrap()];
        assert_eq!((slots.take().map(drop), slots.taken()), (Err(NoSlot), 2));
        taken.pop();
        slots.take().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_are_taken_a_request_says_so_and_waits_a_little() {
        let slots = Slots::new(2);
        let [one, other] = [(); 2].map(|()| slots.take().unwrap());
        assert_eq!(slots.wait().await.map(drop), Err(NoSlot));
        let gives = async |slot: Slot| {
            slots.wanted().await;
            assert!(slots.claim());
            drop(slot);
        };
        let ((), (), first, second) = tokio::join!(gives(one), gives(other), slots.wait(), slots.wait());
        assert!(first.is_ok() && second.is_ok());
        assert!(!slots.claim(), "two waited, and two were closed");
    }
}
