//! Certificates that a process issues to itself: control nodes and agents hold an authority.

use std::time::{Duration, SystemTime};

use tracing::{info, warn};

use crate::{Authority, LiveCredentials, SanName, Shutdown};

/// How often the wall clock is looked at: a machine that was suspended finds its certificate half expired within this.
/// Also how soon a failed renewal is tried again, and how often one happens at most: close to the authority's own expiry
/// every new certificate is due at once.
const LOOK: Duration = Duration::from_secs(60);

/// Replaces `live` at half its life with a certificate of the same identity from `authority`, until the shutdown.
pub async fn renew_from(
    authority: Authority,
    names: Vec<SanName>,
    live: LiveCredentials,
    shutdown: Shutdown,
) {
    renew_by(SystemTime::now, authority, names, live, shutdown).await;
}

async fn renew_by(
    now: impl Fn() -> SystemTime,
    authority: Authority,
    names: Vec<SanName>,
    live: LiveCredentials,
    shutdown: Shutdown,
) {
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        if now() < live.current().renew_at() {
            continue;
        }
        match authority.issue_credentials(&live.identity(), &names) {
            Ok(fresh) => {
                live.replace(fresh);
                info!("renewed this process's certificate");
            }
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "cannot renew this process's certificate");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hanse_topology::Name;

    use super::*;
    use crate::{Identity, ShutdownTrigger};

    #[tokio::test(start_paused = true)]
    async fn half_a_life_later_there_is_another_certificate() {
        let root = Authority::new_root().unwrap();
        let control = root.new_control_intermediate(&Name::new("cp-1").unwrap()).unwrap();
        let identity = Identity::server(Name::new("cp-1").unwrap());
        let live = LiveCredentials::new(control.issue_credentials(&identity, &[]).unwrap());
        let first = live.current().chain()[0].clone();
        let (trigger, shutdown) = ShutdownTrigger::new();
        let (began, wall) = (tokio::time::Instant::now(), SystemTime::now());
        let now = move || wall + began.elapsed();
        let task = tokio::spawn(renew_by(now, control, Vec::new(), live.clone(), shutdown));
        tokio::time::sleep(Duration::from_secs(11 * 3600)).await;
        assert_eq!(live.current().chain()[0], first);
        tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
        assert_ne!(live.current().chain()[0], first);
        assert_eq!(live.identity(), identity);
        trigger.trigger();
        task.await.unwrap();
    }
}
