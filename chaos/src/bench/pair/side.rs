//! One of the two builds: its federation, and slices of load on its gateway.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::{time::ClockId, unistd::Pid};
use serde::Serialize;

use super::{Job, instructions, say};
use crate::{
    World, WorldOptions,
    attack::{
        memory::{self, Peak},
        pin,
    },
    bench::{
        median,
        nginx::does_the_job,
        publish::{Publisher, bulk_path, key},
        traffic::Load,
    },
    process::resident_bytes,
    spec,
};

const REGION: &str = "eu-west";
const GATEWAY: &str = "gateway-eu-west";
/// The Api whose upstream waits.
const WAITING: &str = "waiting";
/// Short, so that the two slices of a pair meet the same machine. `wrk` knows whole seconds only.
const SLICE: Duration = Duration::from_secs(1);
/// Thousands of connections are made in a second or two.
const WAITING_SLICE: Duration = Duration::from_secs(6);
/// Enough to keep a core busy with handshakes, and few enough that the first end soon.
const TLS_CONNECTIONS: usize = 16;
/// A slice with an error is worth nothing, and is taken again: a machine that was busy for a moment ends no run of many
/// minutes. A build that fails each time does.
const ATTEMPTS: usize = 3;
/// A gateway has so long to give memory back.
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// Its memory counts as back below this share of what it was when quiet.
const BACK_PERCENT: u64 = 120;

/// What a gateway did in one slice.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Slice {
    pub(super) requests_per_second: f64,
    pub(super) cpu_us_per_request: f64,
    /// At the end of it.
    pub(super) resident_bytes: u64,
}

impl Slice {
    /// The median of each figure.
    pub(super) fn median(slices: impl Iterator<Item = Self> + Clone) -> Self {
        let of = |figure: fn(Self) -> f64| median(slices.clone().map(figure));
        Self {
            requests_per_second: of(|slice| slice.requests_per_second),
            cpu_us_per_request: of(|slice| slice.cpu_us_per_request),
            resident_bytes: of(|slice| slice.resident_bytes as f64) as u64,
        }
    }
}

/// The memory of a gateway before, during and after many connections.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Memory {
    pub(super) quiet_bytes: u64,
    pub(super) peak_bytes: u64,
    /// For each connection.
    pub(super) bytes_each: u64,
    /// When it was back within a fifth of quiet, or after a minute.
    pub(super) after_bytes: u64,
    pub(super) after_seconds: f64,
}

/// One build.
pub(super) struct Side {
    world: World,
    binary: PathBuf,
    key: String,
}

impl Side {
    /// A small federation of this build with the Apis of all jobs.
    pub(super) async fn start(binary: &Path, upstream: &str, slow: &str) -> Result<Self> {
        let options = WorldOptions {
            control_nodes: 1,
            regions: vec![REGION.to_owned()],
            gateway_workers: Some(1),
            binary: Some(binary.to_owned()),
            ..WorldOptions::default()
        };
        let world = World::set_up(options).await.with_context(|| binary.display().to_string())?;
        let publisher = Publisher::new(&world, upstream)?;
        publisher.base().await?;
        publisher.bulk(0..1).await?;
        publisher.make_open(WAITING, slow).await?;
        world.operator().ok(&["wait", "--revision", "latest", "--timeout", "60s"])?;
        let key = key(&world)?;
        let side = Self { world, binary: binary.to_owned(), key };
        does_the_job(side.world.client(), &side.url(Job::Core)?, &side.key).await?;
        pin::to_core(pin::NODE, side.gateway()?)?;
        Ok(side)
    }

    /// One slice of a job.
    pub(super) async fn slice(&self, job: Job, waiting: usize) -> Result<Slice> {
        let mut load = Load::with_key(&self.url(job)?, &self.key, SLICE);
        match job {
            Job::Core => {}
            Job::Waiting => (load.connections, load.during) = (waiting, WAITING_SLICE),
            Job::Tls => {
                load.connections = TLS_CONNECTIONS;
                load.headers.push("Connection: close".to_owned());
            }
        }
        let mut attempt = 1;
        loop {
            match self.under(&load).await {
                Err(error) if attempt < ATTEMPTS => say(format!("a slice failed, once more: {error:#}")),
                outcome => return outcome,
            }
            attempt += 1;
        }
    }

    /// What the gateway does under a load.
    async fn under(&self, load: &Load) -> Result<Slice> {
        let gateway = self.gateway()?;
        let before = run_time(gateway)?;
        let told = load.send().await?;
        let used = run_time(gateway)?.saturating_sub(before);
        ensure!(told.requests > 0.0, "{}: no answer in a slice: the machine is too busy", load.url);
        Ok(Slice {
            requests_per_second: told.per_second,
            // To the nanosecond.
            cpu_us_per_request: (used.as_secs_f64() * 1e9 / told.requests).round() / 1e3,
            resident_bytes: resident_bytes(gateway)?,
        })
    }

    /// Instructions of one request of the job `core`. Its gateway runs under valgrind from then on.
    pub(super) async fn instructions(&mut self, requests: usize) -> Result<u64> {
        let program = instructions::wrapped(&self.binary, self.world.dir())?;
        self.world.replace(GATEWAY, &program).await?;
        let url = self.url(Job::Core)?;
        instructions::count(self.gateway()?, self.world.dir(), requests, || async {
            let answer = self.world.client().get(&url, &[("x-api-key", &self.key)]).await?;
            ensure!(answer.status == 200, "{url}: {answer:?}");
            Ok(())
        })
        .await
    }

    /// What so many connections that wait for an answer cost, and whether the memory of them is given back.
    pub(super) async fn memory(&self, waiting: usize) -> Result<Memory> {
        let gateway = self.gateway()?;
        let quiet_bytes = resident_bytes(gateway)?;
        let peak = Peak::of(gateway)?;
        self.slice(Job::Waiting, waiting).await?;
        let peak_bytes = tokio::task::spawn_blocking(|| peak.stop()).await??;
        let (after_bytes, after_seconds) =
            memory::back(gateway, quiet_bytes * BACK_PERCENT / 100, BACK_WITHIN).await;
        let bytes_each = peak_bytes.saturating_sub(quiet_bytes) / waiting as u64;
        Ok(Memory { quiet_bytes, peak_bytes, bytes_each, after_bytes, after_seconds })
    }

    fn gateway(&self) -> Result<u32> {
        self.world.process(GATEWAY)?.pid().context("the gateway runs")
    }

    fn url(&self, job: Job) -> Result<String> {
        let url = self.world.url(GATEWAY)?;
        Ok(match job {
            Job::Core => format!("{url}{}", bulk_path(0)),
            Job::Waiting => format!("{url}/{WAITING}/item"),
            Job::Tls => {
                let address = spec::at(self.world.address(GATEWAY)?, spec::HTTPS);
                format!("https://{address}{}", bulk_path(0))
            }
        })
    }
}

/// The processor time of a process, threads that have ended included, to the nanosecond.
fn run_time(process: u32) -> Result<Duration> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(process.try_into()?))?;
    Ok(clock.now()?.into())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_run_time_of_a_process_grows_while_it_works() {
        let own = std::process::id();
        let before = run_time(own).unwrap();
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(50) {
            std::hint::black_box(began);
        }
        assert!(run_time(own).unwrap() > before);
        assert!(run_time(u32::MAX).is_err());
    }
}
