//! Open-loop load with a ledger: requests arrive by the clock, and wait for no earlier one. Each is written down.
//!
//! The generator has a thread of its own, so that nothing a test does can hold arrivals up.

mod exchange;
mod ledger;
mod pool;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use http::Method;
use rustls::ClientConfig;
use tokio::{
    sync::{mpsc, watch},
    time::sleep_until,
};

use exchange::exchange;
pub use ledger::{Connection, Entry, Ledger, Outcome, Summary, Window};
use pool::Pool;

/// The header that carries a request's number; `hanse upstream` echoes headers, so an answer shows whose it is.
pub const REQUEST_ID: &str = "x-chaos-request";

/// Where requests go. Several targets share the arrivals in turn.
#[derive(Debug, Clone)]
pub struct Target {
    /// The process it is a connection to: what [`Window`]s speak of.
    pub name: String,
    /// `http://ADDRESS:PORT/PATH`, or `https` with [`Target::tls`].
    pub url: String,
    /// GET, unless something else is to be tried.
    pub method: Method,
    /// Sent with every request.
    pub headers: Vec<(String, String)>,
    /// How to talk TLS; none: plain HTTP.
    pub tls: Option<Arc<ClientConfig>>,
    /// Whether the answer is the sample upstream's, which echoes the request's number. A success must then show its own.
    pub echoes: bool,
    /// Whether each request makes a connection of its own, as a client does that has just arrived.
    pub fresh: bool,
}

impl Target {
    /// The sample upstream behind a gateway, in plain HTTP over kept connections.
    pub fn echoing(name: impl Into<String>, url: impl Into<String>) -> Self {
        let (name, url) = (name.into(), url.into());
        Self { name, url, method: Method::GET, headers: Vec::new(), tls: None, echoes: true, fresh: false }
    }

    /// One more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// How requests arrive.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// Arrivals per second, over all targets together.
    pub per_second: u32,
    /// After so long without its whole answer a request has failed.
    pub timeout: Duration,
}

/// A running generator.
#[derive(Debug)]
pub struct Load {
    targets: Arc<Mutex<Vec<Target>>>,
    answered: Answered,
    stop: watch::Sender<bool>,
    thread: Option<thread::JoinHandle<Result<Ledger>>>,
}

/// How many requests were answered well, by target: what shows that load goes on while it does. Cloning shares it.
#[derive(Debug, Clone, Default)]
struct Answered(Arc<Mutex<HashMap<String, usize>>>);

impl Answered {
    fn note(&self, entry: &Entry) {
        if entry.succeeded() {
            *self
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(entry.target.clone())
                .or_default() += 1;
        }
    }

    fn of(&self, target: &str) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(target).copied().unwrap_or_default()
    }
}

impl Load {
    /// Starts requests to these targets.
    pub fn start(targets: Vec<Target>, options: LoadOptions) -> Result<Self> {
        ensure!(!targets.is_empty(), "load needs a target");
        ensure!(options.per_second > 0, "load needs a rate");
        let targets = Arc::new(Mutex::new(targets));
        let (stop, stopped) = watch::channel(false);
        let (shared, answered) = (targets.clone(), Answered::default());
        let noting = answered.clone();
        let thread = thread::Builder::new().name("load".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(generate(shared, options, noting, stopped)))
        })?;
        Ok(Self { targets, answered, stop, thread: Some(thread) })
    }

    /// Gives arrivals to one more target from now on.
    pub fn add(&self, target: Target) {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).push(target);
    }

    /// Gives arrivals to these targets alone from now on.
    pub fn replace(&self, targets: Vec<Target>) -> Result<()> {
        ensure!(!targets.is_empty(), "load needs a target");
        *self.targets.lock().unwrap_or_else(PoisonError::into_inner) = targets;
        Ok(())
    }

    /// How many requests to this target were answered well so far.
    pub fn answered(&self, target: &str) -> usize {
        self.answered.of(target)
    }

    /// Ends arrivals, waits for the requests under way, and gives the ledger.
    pub fn stop(mut self) -> Result<Ledger> {
        self.stop.send_replace(true);
        let thread = self.thread.take().context("a generator is stopped once")?;
        thread.join().map_err(|_| anyhow::anyhow!("the load generator panicked"))?
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Spawns a request at each arrival until told to stop; returns when all have ended.
async fn generate(
    targets: Arc<Mutex<Vec<Target>>>,
    options: LoadOptions,
    answered: Answered,
    mut stopped: watch::Receiver<bool>,
) -> Ledger {
    let pool = Pool::default();
    // Unbounded: an entry per request is what a ledger is, and a full channel would hold requests up.
    let (entries, mut written) = mpsc::unbounded_channel();
    let start = Instant::now();
    for id in 0_u64.. {
        let due = start + arrival(id, options.per_second);
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => break,
            () = sleep_until(due.into()) => {}
        }
        let target = {
            let targets = targets.lock().unwrap_or_else(PoisonError::into_inner);
            targets[id as usize % targets.len()].clone()
        };
        let (pool, entries, answered) = (pool.clone(), entries.clone(), answered.clone());
        tokio::spawn(async move {
            let entry = exchange(&pool, target, id, due, options.timeout).await;
            answered.note(&entry);
            // The receiver lives until the last sender is gone.
            let _ = entries.send(entry);
        });
    }
    drop(entries);
    let mut all = Vec::new();
    while let Some(entry) = written.recv().await {
        all.push(entry);
    }
    Ledger::new(all)
}

/// When the request of that number arrives, after the start.
fn arrival(id: u64, per_second: u32) -> Duration {
    let nanos = u128::from(id) * 1_000_000_000 / u128::from(per_second);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
