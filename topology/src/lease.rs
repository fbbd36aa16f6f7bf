//! How long silence means nothing.

use std::time::Duration;

/// A subscriber not heard for so long has no lease: writes do not wait for it. Fifteen missed proofs of life.
pub const LEASE: Duration = Duration::from_secs(15);
