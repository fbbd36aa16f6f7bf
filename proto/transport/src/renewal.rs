//! Certificates that a process issues to itself: control nodes and agents hold an authority.

use std::time::{Duration, SystemTime};

use tracing::{info, warn};

use crate::{Authority, LiveCredentials, SanName, Shutdown};

/// How soon a failed renewal is tried again: many tries fit into half a leaf's life.
const RETRY: Duration = Duration::from_secs(60);

/// Replaces `live` at half its life with a certificate of the same identity from `authority`, until the shutdown.
pub async fn renew_from(
    authority: Authority,
    names: Vec<SanName>,
    live: LiveCredentials,
    shutdown: Shutdown,
) {
    let mut wait = until(live.current().renew_at());
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = match authority.issue_credentials(&live.identity(), &names) {
            Ok(fresh) => {
                let wait = until(fresh.renew_at());
                live.replace(fresh);
                info!("renewed this process's certificate");
                wait
            }
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "cannot renew this process's certificate");
                RETRY
            }
        };
    }
}

fn until(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO)
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
        let task = tokio::spawn(renew_from(control, Vec::new(), live.clone(), shutdown));
        tokio::time::sleep(Duration::from_secs(11 * 3600)).await;
        assert_eq!(live.current().chain()[0], first);
        tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
        assert_ne!(live.current().chain()[0], first);
        assert_eq!(live.identity(), identity);
        trigger.trigger();
        task.await.unwrap();
    }
}
