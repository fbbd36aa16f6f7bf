//! How many connections to upstreams the process has, and may have.
//!
//! One client may need many: each of the 100 requests of an HTTP/2 connection has its own. So they are counted by themselves:
//! one atomic per new connection, none for a request on a kept one.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Slots are scarce while fewer than one in so many is free: then a thread keeps few connections that it does not use, for
/// another may need their slots.
const SCARCE: usize = 4;

/// The slots of one process.
#[derive(Debug)]
pub struct Slots {
    most: usize,
    taken: AtomicUsize,
}

/// A connection's slot, until dropped.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Slots>);

/// All are taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("this gateway has as many connections to upstreams as it may")]
pub(crate) struct NoSlot;

impl Slots {
    /// So many.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: AtomicUsize::new(0) })
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

    /// Whether there are few left.
    pub(super) fn are_scarce(&self) -> bool {
        self.most - self.taken() < self.most / SCARCE
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_and_a_dropped_one_is_free_again() {
        let slots = Slots::new(4);
        let mut taken: Vec<Slot> = (0..4).map(|_| slots.take().unwrap()).collect();
        assert!(slots.are_scarce());
        assert_eq!((slots.take().map(drop), slots.taken()), (Err(NoSlot), 4));
        taken.pop();
        assert!(!slots.are_scarce());
        slots.take().unwrap();
    }
}
