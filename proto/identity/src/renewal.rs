//! Renewal: certificates are replaced at half of their life, by the process itself where it holds an authority, else by
//! the node that admitted it. Renewal checks key and revocation, never expiry: a long outage locks no process out.

mod ask;
mod keep;
mod metrics;
mod schedule;

use std::time::Duration;

use hanse_process::{Shutdown, WallClock};
use tracing::{error, info, warn};

pub use ask::{Issuers, RenewError, renew_authority, renew_credentials};
pub use keep::{Issuing, Renewal};
pub use metrics::ExpiryMetrics;

use crate::{LiveAuthority, LiveCredentials, SanName};

/// Least time between two certificates that a process issues to itself, and how soon a failed attempt is repeated: close to
/// the authority's own expiry every new certificate is due at once.
const SPACING: Duration = Duration::from_secs(60);
/// How often the log mentions an authority that needs an operator to renew it, once its end is near: once a working day.
const REMIND: Duration = Duration::from_secs(24 * 3600);

/// Replaces `live` with a certificate of the same identity from `authority`, at half its life and whenever the authority is
/// replaced, until the shutdown.
pub async fn renew_from(
    authority: LiveAuthority,
    names: Vec<SanName>,
    live: LiveCredentials,
    clock: WallClock,
    shutdown: Shutdown,
) {
    let mut replaced = authority.replaced();
    // Replaced while nothing watched: a task that is started again missed it.
    if live.current().chain().get(1) != authority.current().chain().first() {
        replaced.mark_changed();
    }
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            () = clock.reaches(live.current().validity().half_life()) => {}
            Ok(()) = replaced.changed() => {}
        }
        replaced.mark_unchanged();
        match authority.current().issue_credentials(&live.identity(), &names) {
            Ok(fresh) => {
                live.replace(fresh);
                info!("renewed this process's certificate");
            }
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "cannot renew this process's certificate");
            }
        }
        tokio::select! {
            () = shutdown.wait() => return,
            () = clock.pause(SPACING) => {}
            Ok(()) = replaced.changed() => replaced.mark_changed(),
        }
    }
}

/// Says once a day that an authority ends within `before`, and what to do, for as long as that is so.
pub async fn warn_of_expiry(
    authority: LiveAuthority,
    before: Duration,
    remedy: &'static str,
    clock: WallClock,
    shutdown: Shutdown,
) {
    loop {
        let end = authority.current().validity().not_after;
        tokio::select! {
            () = shutdown.wait() => return,
            () = clock.reaches(end - before) => {}
        }
        let left = end.duration_since(clock.now()).unwrap_or_default();
        error!(days_left = left.as_secs() / REMIND.as_secs(), remedy, "this node's authority ends soon");
        tokio::select! {
            () = shutdown.wait() => return,
            () = clock.reaches(clock.now() + REMIND) => {}
        }
    }
}

#[cfg(test)]
mod tests;
