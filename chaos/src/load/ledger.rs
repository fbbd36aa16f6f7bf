//! The ledger: what became of every request, and what follows from it. Pure.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

/// How many failures a verdict names: enough to see a pattern, few enough to read.
const NAMED: usize = 10;

/// What a request went over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// A connection made for it.
    New,
    /// One that had served another request before.
    Reused,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A whole answer with this status.
    Status(u16),
    /// No connection came about: nothing was sent.
    Refused(String),
    /// The connection broke before the answer was whole.
    Broken(String),
    /// Time was up.
    TimedOut,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its number, counted from 0.
    pub id: u64,
    /// The process it was sent to.
    pub target: String,
    /// When it arrived by the clock: latencies count from here.
    pub due: Instant,
    /// When the generator took it up.
    pub sent: Instant,
    /// Whether its connection was made for it.
    pub connection: Connection,
    /// When the making of that connection began.
    pub connected_from: Instant,
    /// What became of it.
    pub outcome: Outcome,
    /// When that was known.
    pub finished: Instant,
    /// Whether the answer is the target's own: where the target echoes, that the upstream got this very request. Unknown where
    /// it did not answer.
    pub upstream_saw: Option<bool>,
}

/// A time in which connections to a process may break, because the process was killed or stopped.
#[derive(Debug, Clone)]
pub struct Window {
    /// The process.
    pub target: String,
    /// When it was taken away.
    pub from: Instant,
    /// When it served again, or not yet.
    pub to: Option<Instant>,
    /// Whether it was frozen and not killed: then its connections live and requests on them may time out.
    pub frozen: bool,
}

/// All requests of a run, in the order of their arrival.
#[derive(Debug, Clone)]
pub struct Ledger {
    entries: Vec<Entry>,
}

/// A ledger in figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Requests sent.
    pub sent: usize,
    /// Of these answered well.
    pub answered: usize,
    /// Of these on new connections.
    pub new_connections: usize,
    /// Latency from arrival to the whole answer of those answered well: half, 99 of 100, the longest.
    pub p50: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
    /// How late the generator was at worst. Verdicts about times are worth no more than this.
    pub late: Duration,
}

impl Entry {
    /// Answered with success, by an upstream that got this very request.
    pub fn succeeded(&self) -> bool {
        matches!(self.outcome, Outcome::Status(200..=299)) && self.upstream_saw == Some(true)
    }

    /// From its arrival to its end.
    pub fn latency(&self) -> Duration {
        self.finished.saturating_duration_since(self.due)
    }

    /// Whether its failure is that of a connection to a process that was away while the connection lived.
    fn excused_by(&self, window: &Window) -> bool {
        let of_the_connection = match self.outcome {
            Outcome::Refused(_) | Outcome::Broken(_) => true,
            Outcome::TimedOut => window.frozen,
            Outcome::Status(_) => false,
        };
        of_the_connection
            && self.target == window.target
            && self.finished >= window.from
            && window.to.is_none_or(|to| self.connected_from <= to)
    }
}

impl Ledger {
    pub(super) fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(|entry| entry.id);
        Self { entries }
    }

    /// Every request.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The requests to one process.
    pub fn of<'a>(&'a self, target: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.target == target)
    }

    /// Requests that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| !entry.succeeded())
    }

    /// Requests that failed otherwise than on a connection to a process that was away.
    pub fn failures_outside<'a>(&'a self, windows: &'a [Window]) -> impl Iterator<Item = &'a Entry> {
        self.failures().filter(|entry| !windows.iter().any(|window| entry.excused_by(window)))
    }

    /// The summary, if nothing failed that was not allowed to; else an error that names what did.
    pub fn verdict(&self, windows: &[Window]) -> Result<Summary> {
        ensure!(!self.entries.is_empty(), "the ledger is empty: nothing was shown");
        let start = self.entries[0].due;
        let failed: Vec<_> = self.failures_outside(windows).collect();
        if failed.is_empty() {
            return Ok(self.summary());
        }
        let named: Vec<_> = failed.iter().take(NAMED).map(|entry| entry.told_from(start)).collect();
        bail!("{} of {} requests failed:\n{}", failed.len(), self.entries.len(), named.join("\n"))
    }

    /// The ledger in figures.
    pub fn summary(&self) -> Summary {
        let mut latencies: Vec<_> =
            self.entries.iter().filter(|entry| entry.succeeded()).map(Entry::latency).collect();
        latencies.sort_unstable();
        let late = self.entries.iter().map(|entry| entry.sent.saturating_duration_since(entry.due)).max();
        let new = self.entries.iter().filter(|entry| entry.connection == Connection::New);
        Summary {
            sent: self.entries.len(),
            answered: latencies.len(),
            new_connections: new.count(),
            p50: crate::percentile(&latencies, 50),
            p99: crate::percentile(&latencies, 99),
            max: latencies.last().copied().unwrap_or_default(),
            late: late.unwrap_or_default(),
        }
    }
}

impl Entry {
    /// What became of it, for people; times count from `start`.
    pub fn told_from(&self, start: Instant) -> String {
        format!(
            "  request {} to {} at {:.3} s, {} connection, after {:.3} s: {}",
            self.id,
            self.target,
            self.due.saturating_duration_since(start).as_secs_f64(),
            if self.connection == Connection::New { "new" } else { "kept" },
            self.latency().as_secs_f64(),
            match (&self.outcome, self.upstream_saw) {
                (Outcome::Status(status), Some(false)) =>
                    format!("{status}, but the upstream did not get it"),
                (outcome, _) => outcome.to_string(),
            },
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}"),
            Self::Refused(reason) => write!(f, "no connection: {reason}"),
            Self::Broken(reason) => write!(f, "broken: {reason}"),
            Self::TimedOut => f.write_str("timed out"),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} answered, {} on new connections; p50 {:.1?}, p99 {:.1?}, max {:.1?}; generator late by {:.1?}",
            self.answered, self.sent, self.new_connections, self.p50, self.p99, self.max, self.late
        )
    }
}
