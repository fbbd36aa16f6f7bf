//! What an attack did, counted where it did it: an attack that never reached its port shows nothing.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Result, ensure};
use thiserror::Error;

/// The attacker did less than its attack stands for.
#[derive(Debug, Error)]
#[error("only {done} of at least {least} {what}: nothing was attacked")]
pub(super) struct NotAttacked {
    pub(super) done: usize,
    pub(super) least: usize,
    pub(super) what: String,
}

/// How often something was done. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(super) struct Count(Arc<AtomicUsize>);

impl Count {
    /// It was done once more.
    pub(super) fn one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Fails if it was done less often than the attack says. What the node refused or closed was done.
    pub(super) fn at_least(&self, least: usize, what: &str) -> Result<()> {
        let done = self.0.load(Ordering::Relaxed);
        ensure!(done >= least, NotAttacked { done, least, what: what.to_owned() });
        Ok(())
    }
}
