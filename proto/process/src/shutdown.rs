//! Stopping: one event that every task of a process can wait for.

use std::{io::Read as _, thread};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tracing::{info, warn};

/// When set to `1`, the process stops when its standard input closes, so that no child outlives its parent.
const STOP_ON_STDIN_CLOSE: &str = "HANSE_STOP_ON_STDIN_CLOSE";

/// The wish to stop, as its hearers see it. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// The wish to stop, as its author holds it. Dropping it expresses the wish too, because nothing else could.
#[derive(Debug)]
pub struct ShutdownTrigger(watch::Sender<bool>);

impl ShutdownTrigger {
    /// A trigger and what hears it.
    pub fn new() -> (Self, Shutdown) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Shutdown(receiver))
    }

    /// Asks to stop. Idempotent.
    pub fn trigger(&self) {
        self.0.send_replace(true);
    }

    /// Another hearer.
    pub fn shutdown(&self) -> Shutdown {
        Shutdown(self.0.subscribe())
    }
}

impl Drop for ShutdownTrigger {
    fn drop(&mut self) {
        self.trigger();
    }
}

impl Shutdown {
    /// Whether to stop.
    pub fn is_triggered(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when it is time to stop.
    pub async fn wait(&self) {
        // An error says that the trigger is gone, which is a wish to stop as well.
        let _ = self.0.clone().wait_for(|triggered| *triggered).await;
    }
}

/// A shutdown that SIGTERM and SIGINT trigger and, where asked for by environment, the closing of standard input.
/// Must be called inside a runtime.
pub fn on_signals() -> Shutdown {
    let (trigger, shutdown) = ShutdownTrigger::new();
    let (stdin, mut closed) = watch::channel(false);
    if std::env::var_os(STOP_ON_STDIN_CLOSE).is_some_and(|value| value == "1") {
        // A thread of its own, never joined: a blocking read in the runtime would keep it from ending.
        let spawned = thread::Builder::new().name("stdin".into()).spawn(move || {
            let mut input = std::io::stdin().lock();
            while input.read(&mut [0; 256]).is_ok_and(|read| read > 0) {}
            stdin.send_replace(true);
        });
        if let Err(error) = spawned {
            warn!(%error, "cannot watch standard input");
        }
    }
    // Registered before this returns: from here on no signal kills the process.
    let (terminate, interrupt) = (register(SignalKind::terminate()), register(SignalKind::interrupt()));
    tokio::spawn(async move {
        let reason = tokio::select! {
            () = received(terminate) => "SIGTERM",
            () = received(interrupt) => "SIGINT",
            Ok(_) = closed.wait_for(|closed| *closed) => "standard input closed",
        };
        info!(reason, "stopping");
        trigger.trigger();
    });
    shutdown
}

fn register(kind: SignalKind) -> Option<Signal> {
    signal(kind).inspect_err(|error| warn!(%error, "cannot listen for a signal")).ok()
}

async fn received(signal: Option<Signal>) {
    match signal {
        Some(mut signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_hearer_hears_it_also_late() {
        let (trigger, shutdown) = ShutdownTrigger::new();
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.wait().await }
        });
        assert!(!shutdown.is_triggered());
        trigger.trigger();
        waiting.await.unwrap();
        assert!(shutdown.is_triggered());
        trigger.shutdown().wait().await;
    }

    #[tokio::test]
    async fn dropping_the_trigger_triggers() {
        let (trigger, shutdown) = ShutdownTrigger::new();
        drop(trigger);
        shutdown.wait().await;
        assert!(shutdown.is_triggered());
    }

    #[tokio::test]
    async fn a_signal_triggers() {
        let shutdown = on_signals();
        let kill = format!("kill -TERM {}", std::process::id());
        assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        crate::testbed::soon(shutdown.wait()).await;
        assert!(shutdown.is_triggered());
    }
}
