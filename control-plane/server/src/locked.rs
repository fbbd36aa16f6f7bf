//! A node that cannot open its private key stays up to say so, and does nothing else.
//!
//! The key is sealed with the key that `store_key` names. That may be on a medium or a service that comes later than the node, or
//! it is another key. Without its private key the node can neither speak to others nor serve. It serves its admin port only, leaves
//! its files as they are, and goes on by itself once the key opens.

use std::{sync::atomic::AtomicU64, time::Duration};

use hanse_process::{Metrics, WallClock, telemetry};
use prometheus_client::metrics::gauge::Gauge;
use tracing::{error, info};

use crate::{
    Config, Error,
    control::{self, Control},
    shell::Shell,
};

/// What an operator does about it.
const REMEDY: &str = "this node neither votes nor serves; put the key that store_key names back, and the node goes on within 10 s; \
                      or, if that key is lost for good, put the root into pki/root and run \
                      `hanse server reissue --new-key` with this node's configuration";

/// How often the node tries again: a mount or a secret comes late once, at the boot of a machine, and 10 s more do not matter.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// This node's control intermediate, as soon as its private key opens. `None`: told to stop first.
pub(crate) async fn opened(
    config: &Config,
    clock: &WallClock,
    shell: &Shell,
    metric: &LockedMetric,
) -> Result<Option<Control>, Error> {
    let mut error = match control::open(config, clock) {
        Err(error) if error.is_locked() => error,
        opened => return opened.map(Some),
    };
    metric.0.set(1);
    let mut said = String::new();
    loop {
        let causes = telemetry::causes(&error).to_string();
        if said != causes {
            error!(name = %config.name, error = causes, remedy = REMEDY, "this control node cannot open its private key");
            shell.not_ready(format!("{causes}; {REMEDY}"));
            said = causes;
        }
        tokio::select! {
            () = shell.shutdown.wait() => return Ok(None),
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
        // Any failure is waited for now: the operator may be in the middle of a `reissue --new-key`.
        match control::open(config, clock) {
            Ok(control) => {
                metric.0.set(0);
                info!("the private key of this control node opens");
                shell.not_ready("starting".to_owned());
                return Ok(Some(control));
            }
            Err(again) => error = again,
        }
    }
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
