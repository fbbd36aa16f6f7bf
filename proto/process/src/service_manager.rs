//! Telling a service manager how the process stands, by systemd's notification protocol (sd_notify(3)): ready or why not,
//! alive, stopping. Without a manager that asks, nothing is said.

use std::{future, io, time::Duration};

use sd_notify::NotifyState;
use tokio::{sync::watch, time::MissedTickBehavior};
use tracing::{error, warn};

use crate::{Shutdown, pulse::Hung};

/// Proofs of life within one watchdog period: two, as sd_watchdog_enabled(3) advises, so that one may be late.
const PROOFS: u32 = 2;

/// Tells the service manager what `ready` says, until the shutdown. While the manager's watchdog runs, it gets a proof of
/// life as long as `proof` is one; a manager that gets none ends the process and starts it anew.
pub(crate) async fn tell_service_manager(
    mut ready: watch::Receiver<Result<(), String>>,
    proof: impl Fn() -> Result<(), Hung> + Send,
    shutdown: Shutdown,
) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return shutdown.wait().await;
    }
    let mut proofs = sd_notify::watchdog_enabled().map(|period| {
        let mut proofs = tokio::time::interval((period / PROOFS).max(Duration::from_millis(1)));
        proofs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        proofs
    });
    let mut followed = true;
    say(&standing(&ready.borrow_and_update()));
    loop {
        tokio::select! {
            () = shutdown.wait() => break,
            changed = ready.changed(), if followed => match changed {
                Ok(()) => say(&standing(&ready.borrow_and_update())),
                Err(_) => followed = false, // the source of readiness is gone; the process says so itself when it ends
            },
            () = tick(proofs.as_mut()) => match proof() {
                Ok(()) => say(&[NotifyState::Watchdog]),
                Err(error) => error!(%error, "no proof of life for the service manager"),
            },
        }
    }
    say(&[NotifyState::Stopping]);
}

/// Readiness as the manager understands it. It cannot be taken back there, so only the words change then.
fn standing(ready: &Result<(), String>) -> Vec<NotifyState<'_>> {
    match ready {
        Ok(()) => vec![NotifyState::Ready, NotifyState::Status("ready")],
        Err(reason) => vec![NotifyState::Status(reason)],
    }
}

fn say(states: &[NotifyState<'_>]) {
    match sd_notify::notify(states) {
        Ok(()) => {}
        // It is busy; what it should know is said again with the next change or proof.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(error) => warn!(%error, "cannot notify the service manager"),
    }
}

async fn tick(proofs: Option<&mut tokio::time::Interval>) {
    match proofs {
        Some(proofs) => drop(proofs.tick().await),
        None => future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_is_said_with_its_reason() {
        let check = |ready: Result<(), String>, said: &[&str]| {
            let states: Vec<_> = standing(&ready).iter().map(ToString::to_string).collect();
            assert_eq!(states, said);
        };
        check(Ok(()), &["READY=1", "STATUS=ready"]);
        check(Err("no configuration yet".into()), &["STATUS=no configuration yet"]);
    }
}
