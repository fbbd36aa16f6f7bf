//! What the gateway counts.
//!
//! Serving threads count on their own cache lines and never wait for one another; sums are made when the metrics are read.

mod api_counters;
mod collector;
mod histogram;
mod hosts;
mod sharded;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use hanse_topology::Name;
use http::StatusCode;

pub use api_counters::ApiCounters;
pub use collector::Collected;
pub use histogram::Histogram;
pub use hosts::{HostCounters, HostStats, TrafficWindow};

use self::sharded::Sharded;
use crate::{
    problem::Reason,
    tunnel::{Direction, Outcome},
};

/// Why a request was sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// No connection.
    ConnectFailure,
    /// The connection closed before an answer.
    ResetBeforeResponse,
    /// Answered 502.
    BadGateway,
    /// Answered 503.
    ServiceUnavailable,
    /// Answered 504, or not in one try's time.
    GatewayTimeout,
}

impl Retry {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
    /// Each once, in order.
    pub const ALL: [Self; 5] = [
        Self::ConnectFailure,
        Self::ResetBeforeResponse,
        Self::BadGateway,
        Self::ServiceUnavailable,
        Self::GatewayTimeout,
    ];

    /// As in an upstream's `retry.on`, and the label in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectFailure => "connect-failure",
            Self::ResetBeforeResponse => "reset-before-response",
            Self::BadGateway => "502",
            Self::ServiceUnavailable => "503",
            Self::GatewayTimeout => "504",
        }
    }

    /// The one for an answer's status.
    pub fn of_status(status: StatusCode) -> Option<Self> {
        match status {
            StatusCode::BAD_GATEWAY => Some(Self::BadGateway),
            StatusCode::SERVICE_UNAVAILABLE => Some(Self::ServiceUnavailable),
            StatusCode::GATEWAY_TIMEOUT => Some(Self::GatewayTimeout),
            _ => None,
        }
    }
}

/// Requests of one Api by class of status.
#[derive(Debug)]
pub struct ApiStats {
    environment: Box<str>,
    organization: Box<str>,
    api: Box<str>,
    /// By class, 1xx to 5xx.
    counts: Sharded<5>,
}

impl ApiStats {
    /// Counters at zero.
    pub fn new(environment: Option<&Name>, organization: &str, api: &str) -> Self {
        Self {
            environment: environment.map_or("", Name::as_str).into(),
            organization: organization.into(),
            api: api.into(),
            counts: Sharded::default(),
        }
    }

    /// Counts one answered request.
    pub fn count(&self, worker: usize, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.counts.count(worker, class);
    }

    /// Requests answered so far, by class.
    pub fn totals(&self) -> [u64; 5] {
        self.counts.totals()
    }
}

/// How often a serving thread shows that it turns.
pub const PULSE: Duration = Duration::from_secs(1);
/// A serving thread that has not shown it for so long hangs: nothing on it may take even a hundredth of that.
const HUNG_AFTER_MS: u64 = 10_000;

/// What one serving thread counts.
#[derive(Debug, Default)]
pub struct WorkerMetrics {
    /// From the request's head to the last octet of the answer.
    pub request_seconds: Histogram,
    /// From the choice of an endpoint to the head of its answer.
    pub upstream_seconds: Histogram,
    /// Answers the gateway gave by itself, by reason.
    pub rejected: [AtomicU64; Reason::COUNT],
    /// Client connections now open.
    pub connections: AtomicI64,
    /// Client connections closed in favour of newer ones because too many were open.
    pub evicted_connections: AtomicU64,
    /// Client connections refused because too many were open, all with a request in flight.
    pub refused_connections: AtomicU64,
    /// Client connections ever accepted.
    pub accepted: AtomicU64,
    /// TLS handshakes that failed or took too long.
    pub failed_handshakes: AtomicU64,
    /// Requests sent again, by reason.
    pub retries: [AtomicU64; Retry::COUNT],
    /// Requests that would have been sent again, had the budget allowed it.
    pub retry_budget_exhausted: AtomicU64,
    /// Endpoints ejected.
    pub ejections: AtomicU64,
    /// Client connections cut at the end of the drain.
    pub cut_connections: AtomicU64,
    /// When the thread last came round to this, by [`health::millis`](crate::health::millis); 0: it has not begun.
    pub pulse: AtomicU64,
}

/// Everything the gateway counts.
#[derive(Debug)]
pub struct GatewayMetrics {
    /// By serving thread.
    pub workers: Vec<Arc<WorkerMetrics>>,
    /// Requests that fit no Api.
    pub unmatched: ApiStats,
    /// Whether the table follows the configuration: not while that cannot be compiled.
    pub following: AtomicBool,
    /// Access log lines that found the queue full, or were lost to a failed write.
    pub lost_log_lines: AtomicU64,
    /// Checks that endpoints passed.
    pub checks_passed: AtomicU64,
    /// Checks that endpoints failed.
    pub checks_failed: AtomicU64,
    /// Checks that began late, or still wait, because too many others ran.
    pub checks_late: AtomicU64,
    /// Tunnelled requests, by direction, region and outcome. Few requests are, so one lock serves all threads.
    tunnelled: Mutex<BTreeMap<(Direction, Name), [u64; Outcome::COUNT]>>,
    /// Of the Apis now served.
    apis: ArcSwap<Vec<Arc<ApiStats>>>,
    /// Of the scopes now served.
    scopes: ArcSwap<Vec<ScopeGauge>>,
}

/// What is known of one scope.
#[derive(Debug, Clone)]
pub struct ScopeGauge {
    /// Its name.
    pub scope: String,
    /// The revision its table serves.
    pub revision: u64,
    /// Routes in force.
    pub routes: usize,
    /// Resources that are not in force as received.
    pub unusable: u64,
    /// Upstreams that are, and use no endpoint of the set that they refer to.
    pub waiting: usize,
}

impl GatewayMetrics {
    /// Whether every serving thread that has begun still turns, as of `now` by [`health::millis`](crate::health::millis).
    pub fn turns(&self, now: u64) -> bool {
        self.workers.iter().all(|worker| match worker.pulse.load(Ordering::Relaxed) {
            0 => true,
            last => now.saturating_sub(last) < HUNG_AFTER_MS,
        })
    }

    /// Counters at zero for so many serving threads.
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            workers: (0..workers).map(|_| Arc::default()).collect(),
            unmatched: ApiStats::new(None, "", ""),
            following: AtomicBool::new(true),
            lost_log_lines: AtomicU64::new(0),
            checks_passed: AtomicU64::new(0),
            checks_failed: AtomicU64::new(0),
            checks_late: AtomicU64::new(0),
            tunnelled: Mutex::default(),
            apis: ArcSwap::default(),
            scopes: ArcSwap::default(),
        })
    }

    /// Counts a tunnelled request.
    pub fn tunnelled(&self, direction: Direction, region: &Name, outcome: Outcome) {
        let mut counts = self.tunnelled.lock().unwrap_or_else(PoisonError::into_inner);
        counts.entry((direction, region.clone())).or_default()[outcome as usize] += 1;
    }

    /// Tunnelled requests so far, by outcome.
    pub fn tunnelled_so_far(&self) -> BTreeMap<(Direction, Name), [u64; Outcome::COUNT]> {
        self.tunnelled.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Client connections open on all threads.
    pub fn open_connections(&self) -> i64 {
        self.workers.iter().map(|worker| worker.connections.load(Ordering::Relaxed)).sum()
    }

    /// The Apis now served.
    pub fn apis(&self) -> Arc<Vec<Arc<ApiStats>>> {
        self.apis.load_full()
    }

    /// Names the Apis and scopes that are served from now on.
    pub fn serve(&self, apis: Arc<Vec<Arc<ApiStats>>>, scopes: Vec<ScopeGauge>) {
        self.apis.store(apis);
        self.scopes.store(Arc::new(scopes));
    }
}

#[cfg(test)]
mod tests;
