//! Writes to the control plane by many clients at once.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use serde::Serialize;
use tokio::task::JoinSet;

use super::{ms, publish::Publisher};
use crate::percentile;

/// Acknowledged writes and how long they took. The clients share the machine with the control plane.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Writes {
    /// Clients, each with one write under way.
    pub(super) clients: usize,
    /// Bytes of text in each write.
    pub(super) bytes: usize,
    /// Acknowledged by a majority, per second.
    pub(super) per_second: f64,
    /// Half took no longer.
    pub(super) p50_ms: f64,
    /// 99 of 100 took no longer.
    pub(super) p99_ms: f64,
    /// Not acknowledged: refused, broken or unknown.
    pub(super) failed: u64,
}

/// Writes for that long. Each write is a new Plan, which every gateway learns too.
pub(super) async fn measure(
    publisher: &Publisher,
    clients: usize,
    bytes: usize,
    during: Duration,
) -> Result<Writes> {
    let failed = Arc::new(AtomicU64::new(0));
    let why = Arc::new(OnceLock::new());
    let began = Instant::now();
    let mut running = JoinSet::new();
    for client in 0..clients {
        let (publisher, failed, why) = (publisher.clone(), failed.clone(), why.clone());
        running.spawn(async move {
            let mut took = Vec::new();
            for number in 0.. {
                if began.elapsed() >= during {
                    break;
                }
                let sent = Instant::now();
                let name = format!("write-{client}-{number}");
                match publisher.create_plan(client, &name, bytes).await {
                    Ok(()) => took.push(sent.elapsed()),
                    Err(error) => {
                        failed.fetch_add(1, Ordering::Relaxed);
                        // The first reason is enough.
                        let _ = why.set(error);
                    }
                }
            }
            took
        });
    }
    let mut took = running.join_all().await.concat();
    let elapsed = began.elapsed();
    if let (true, Some(why)) = (took.is_empty(), why.get()) {
        bail!("no write was acknowledged: {why:#}");
    }
    took.sort_unstable();
    Ok(Writes {
        clients,
        bytes,
        per_second: (took.len() as f64 / elapsed.as_secs_f64()).round(),
        p50_ms: ms(percentile(&took, 50)),
        p99_ms: ms(percentile(&took, 99)),
        failed: failed.load(Ordering::Relaxed),
    })
}
