//! A node that cannot open its private key stays up to say so, and does nothing else.
//!
//! The key is sealed with the key that `store_key` names. That may be on a medium or a service that comes later than the node, or
//! it is another key. Without its private key the node can neither speak to others nor serve. It serves its admin port only, leaves
//! its files as they are, and goes on by itself once the key opens.

use std::{sync::atomic::AtomicU64, time::Duration};

use hanse_identity::PkiError;
use hanse_link::StoreKey;
use hanse_process::{Metrics, WallClock, telemetry};
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;
use tracing::{error, info};

use crate::{
    Config, Error,
    control::{self, Control},
    home::{self, Lock},
    shell::{STARTING, Shell},
};

/// How often the node tries again: a mount or a secret comes late once, at the boot of a machine, and 10 s more do not matter.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How long a start waits for keys that another process has: what a predecessor needs to end.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts meanwhile.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// What an operator does about it.
fn remedy(store_key: &StoreKey) -> String {
    let back = match store_key {
        // A process keeps the environment that it was started with.
        StoreKey::Environment(variable) => format!("set {variable} to its key and start this node again"),
        StoreKey::File(_) | StoreKey::Secret(_) => {
            format!("put the key that store_key names back, and the node goes on within {LOOK_AGAIN:?}")
        }
    };
    format!(
        "this node neither votes nor serves; {back}; or, if that key is lost for good, put the root into pki/root and run \
         `hanse server reissue --new-key` with this node's configuration"
    )
}

/// This node's control intermediate, as soon as its private key opens, and the lock on its keys. `None`: told to stop first. Any
/// other failure than a key that does not open ends the wait, as it ends a start.
pub(crate) async fn opened(
    config: &Config,
    clock: &WallClock,
    shell: &Shell,
    metric: &LockedMetric,
) -> Result<Option<(Control, Lock)>, Error> {
    let began = Instant::now();
    let mut said = String::new();
    loop {
        let attempt = tokio::select! {
            () = shell.shutdown.wait() => return Ok(None),
            attempt = attempt(config, clock) => attempt,
        };
        let is_waiting = !said.is_empty();
        let pause = match attempt {
            Ok(opened) => {
                if is_waiting {
                    metric.0.set(0);
                    info!("the private key of this control node opens");
                    shell.not_ready(STARTING.to_owned());
                }
                return Ok(Some(opened));
            }
            Err(error) if error.is_locked() => {
                metric.0.set(1);
                let causes = telemetry::causes(&error).to_string();
                if said != causes {
                    let remedy = remedy(&config.store().key);
                    error!(name = %config.name, error = causes, remedy, "this control node cannot open its private key");
                    shell.not_ready(format!("{causes}; {remedy}"));
                    said = causes;
                }
                LOOK_AGAIN
            }
            Err(Error::Running(_)) if is_waiting => LOOK_AGAIN,
            Err(Error::Running(_)) if began.elapsed() < LOCK_PATIENCE => LOCK_PAUSE,
            Err(error) => return Err(error),
        };
        tokio::select! {
            () = shell.shutdown.wait() => return Ok(None),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// One attempt, off the runtime's threads: `store_key` may be on a mount that does not answer.
async fn attempt(config: &Config, clock: &WallClock) -> Result<(Control, Lock), Error> {
    let (config, clock) = (config.clone(), clock.clone());
    let attempt = tokio::task::spawn_blocking(move || {
        let lock = home::lock(&config)?;
        Ok((control::open(&config, &clock)?, lock))
    });
    let panicked = |_| {
        let reason = "reading this node's private key panicked".to_owned();
        Err(PkiError::Certificate { reason }.into())
    };
    attempt.await.unwrap_or_else(panicked)
}

/// Whether this node waits for its `store_key`.
#[derive(Debug)]
pub(crate) struct LockedMetric(Gauge<u64, AtomicU64>);

impl LockedMetric {
    /// Adds it; not locked.
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let locked = Gauge::default();
        metrics.register(|registry| {
            registry.register(
                "hanse_server_locked",
                "1 if the node's private key does not open with its store_key: the node serves nothing until it does",
                locked.clone(),
            );
        });
        Self(locked)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use hanse_process::ShutdownTrigger;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_with_the_key_or_with_another_failure() {
        let dir = tempfile::tempdir().unwrap();
        let (key, away) = (dir.path().join("secret"), dir.path().join("away"));
        let store_key = Some(StoreKey::Secret(key.clone()));
        let config = Config { store_key, ..crate::home::tests::config(&dir.path().join("data")) };
        fs::write(&key, "07".repeat(32)).unwrap();
        crate::init(&config).unwrap();
        let (_trigger, shutdown) = ShutdownTrigger::new();
        let shell = Shell::start(&config, shutdown).await.unwrap();
        let (metric, clock) = (LockedMetric::register(&shell.metrics), WallClock::system());
        let opening = || opened(&config, &clock, &shell, &metric);

        // Another process has the keys, and does not end.
        let lock = home::lock(&config).unwrap();
        assert!(matches!(opening().await, Err(Error::Running(_))));
        drop(lock);
        opening().await.unwrap().unwrap();

        fs::rename(&key, &away).unwrap();
        let late = async {
            tokio::time::sleep(LOOK_AGAIN / 2).await;
            assert_eq!(metric.0.get(), 1);
            assert!(home::lock(&config).is_ok(), "a command may replace the keys");
            fs::rename(&away, &key).unwrap();
        };
        let (found, ()) = tokio::join!(opening(), late);
        found.unwrap().unwrap();
        assert_eq!(metric.0.get(), 0);

        fs::rename(&key, &away).unwrap();
        let damaged = async {
            tokio::time::sleep(LOOK_AGAIN / 2).await;
            fs::write(config.pki_dir().join("control/chain.pem"), "").unwrap();
        };
        let (found, ()) = tokio::join!(opening(), damaged);
        assert!(matches!(found, Err(Error::Pki(_))), "{:?}", found.map(|_| ()));
    }

    #[test]
    fn only_a_file_is_waited_for() {
        let file = remedy(&StoreKey::File("/mnt/key".into()));
        assert!(file.contains("goes on within 10s") && !file.contains("start this node again"), "{file}");
        let variable = remedy(&StoreKey::Environment("HANSE_KEY".into()));
        assert!(
            variable.contains("set HANSE_KEY") && variable.contains("start this node again"),
            "{variable}"
        );
        assert!(!variable.contains("goes on"), "{variable}");
    }
}
