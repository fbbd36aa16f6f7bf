//! What the API is made of.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hanse_state::port::{
    Fleet, NoSecrets, Projected, RecoveryWrapping, Replicated, RootCertificates, Sealing,
};
use tokio::sync::watch;

use crate::{ApiMetrics, bounds::Bounds, last_use::LastUses};

/// Everything the operator API needs. Cloning is cheap.
#[derive(Clone)]
pub struct OperatorApi {
    /// The replicated state.
    pub replicated: Arc<dyn Replicated>,
    /// What agents and gateways last said.
    pub fleet: Arc<dyn Fleet>,
    /// What each revision did to the scopes.
    pub projected: Arc<dyn Projected>,
    /// What roots' certificates say.
    pub certificates: Arc<dyn RootCertificates>,
    /// Wraps the federation key to a recovery key.
    pub recovery: Arc<dyn RecoveryWrapping>,
    /// What seals Secrets before they are proposed. It opens none.
    pub sealing: Arc<dyn Sealing>,
    /// The API's own metrics.
    pub metrics: ApiMetrics,
    /// The whole process's metrics as OpenMetrics text, for `/metrics`.
    pub scrape: Arc<dyn Fn() -> String + Send + Sync>,
    /// The time that commands carry.
    pub clock: Clock,
    /// Bounds.
    pub limits: Limits,
    /// Becomes `true` when the process stops: watches end then, so that connections can close.
    pub closing: watch::Receiver<bool>,
    /// What all requests together may take.
    pub(crate) bounds: Arc<Bounds>,
    /// When tokens were used here.
    pub(crate) last_uses: Arc<LastUses>,
}

/// Where a request came from, in its extensions: the listener's word, for the audit. A request without it says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub SocketAddr);

impl OperatorApi {
    /// With the system's clock and the default limits, never closing, without Secrets. `scrape` writes the registry that `metrics` are in.
    pub fn new(
        replicated: Arc<dyn Replicated>,
        fleet: Arc<dyn Fleet>,
        projected: Arc<dyn Projected>,
        certificates: Arc<dyn RootCertificates>,
        recovery: Arc<dyn RecoveryWrapping>,
        metrics: ApiMetrics,
        scrape: Arc<dyn Fn() -> String + Send + Sync>,
    ) -> Self {
        let (_, closing) = watch::channel(false);
        let (clock, limits) = (Clock::system(), Limits::default());
        let bounds = Arc::new(Bounds::new());
        let last_uses = Arc::default();
        let sealing = Arc::new(NoSecrets);
        Self {
            replicated,
            fleet,
            projected,
            certificates,
            recovery,
            sealing,
            metrics,
            scrape,
            clock,
            limits,
            closing,
            bounds,
            last_uses,
        }
    }
}

/// Where the time comes from.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::from_fn(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
    }

    /// Any source of Unix milliseconds.
    pub fn from_fn(now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_ms))
    }

    /// Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        (self.0)()
    }
}

/// The API's bounds.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest request body, in bytes.
    pub body: usize,
    /// How long a body may take to arrive, and beside that what its bytes take at `body_rate`.
    pub body_patience: Duration,
    /// At how many bytes a second a body arrives at least.
    pub body_rate: usize,
    /// How long a read waits for `min_revision`.
    pub read_deadline: Duration,
    /// How long an apply waits for the projection before it answers without `scopes`.
    pub effects_deadline: Duration,
    /// How often an idle watch hears a bookmark.
    pub bookmark_every: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // An `apply` of some ten thousand resources; anything larger is a mistake or an attack.
            body: 16 << 20,
            // 64 KiB at 10 KB/s, and a link that stops for a moment.
            body_patience: Duration::from_secs(6),
            // 4 Mbit/s: 16 MiB in 38 s. Slow senders must not hold the places of others for long.
            body_rate: 512 << 10,
            // A node that was cut off for a moment catches up well within it; clients wait 30 s or more.
            read_deadline: Duration::from_secs(10),
            // The projection takes milliseconds; after this long something is wrong, but the write stands.
            effects_deadline: Duration::from_secs(5),
            // Proxies on the way drop connections silent for 30–60 s.
            bookmark_every: Duration::from_secs(5),
        }
    }
}
