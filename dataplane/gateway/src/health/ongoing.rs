//! What goes on while an upstream's configuration changes.

use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::RetryBudget;

/// What one upstream has under way. It belongs to no table: an upstream that is applied again goes on with the budget it
/// has left and at the endpoint whose turn it is, and requests that began on the table before draw on the same.
#[derive(Debug, Default)]
pub struct Ongoing {
    /// How much may be sent again.
    pub budget: RetryBudget,
    /// Turns taken so far.
    pub next: AtomicUsize,
    /// Turns of endpoints that were out, which went to the others in order.
    pub spare: AtomicUsize,
    /// A thread counts the ejected now, to eject one more.
    pub ejecting: AtomicBool,
}
