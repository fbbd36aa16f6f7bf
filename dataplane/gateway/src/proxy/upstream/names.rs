//! The addresses of upstreams' names, looked up without holding a thread and shared by the whole process.
//!
//! `getaddrinfo` holds a thread for as long as a name server is silent, and a serving thread has a bounded number of those:
//! one owner's hanging name would take every other's new connections with it. Here a lookup is a task, one per name at a
//! time, and what it found is kept.
//!
//! The cache is one for all serving threads and checks, and lookups run on a runtime of their own: sockets and timers of a
//! lookup belong to the runtime that began it, so one that several threads wait for must not end with any of them. A name
//! is then asked for once per process, not once per thread, and answers are parsed off the serving threads. What it
//! costs them is a short lock per new connection by name; requests on kept connections come nowhere near it.

mod addresses;
mod cache;
mod system;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
    vec,
};

use hickory_resolver::net::NetError;
use hyper_util::client::legacy::connect::dns;
use tokio::{
    runtime::{Builder, Handle},
    sync::{Semaphore, oneshot, watch},
};
use tower::Service;

use self::{
    addresses::Addresses,
    cache::{Asked, Begin, Cache, Outcome},
    system::{Settings, Source},
};

/// For one name, all its search domains and name servers together: a little below the 5 s in which connections must stand
/// by default. Two tries of [`system::TRY`] fit in. As long, a lookup waits for its place.
const LOOKUP_LIMIT: Duration = Duration::from_secs(4);
/// Of a connection's time, the lookup of its name may take so much: what is left must do for TCP and TLS.
const SHARE_OF_CONNECT: (u32, u32) = (3, 4);
/// Lookups under way at once where there are descriptors for them; others wait for their places.
const MAX_LOOKUPS: usize = 576;
/// Of a lookup at worst: two families, each asked of three silent name servers thrice. Mostly it is one each.
const LOOKUP_DESCRIPTORS: usize = 18;
/// Of all of them at worst.
pub(crate) const MOST_LOOKUP_DESCRIPTORS: usize = MAX_LOOKUPS * LOOKUP_DESCRIPTORS;
/// One place in so many is for names whose last lookup took too long, and only for them: an owner of many names that hang takes
/// the others' places once at most.
const SLOW_SHARE: usize = 9;

/// How many lookups the process has room for; [`MAX_LOOKUPS`] if nothing was said.
static ROOM: OnceLock<usize> = OnceLock::new();

/// Bounds the process's lookups at so many descriptors. Holds if nothing has been looked up yet.
pub(super) fn bound(descriptors: usize) {
    let _ = ROOM.set(room(descriptors)); // the first gateway of a process says it
}

/// For how many lookups so many descriptors are enough; at least an ordinary and a slow one.
fn room(descriptors: usize) -> usize {
    (descriptors / LOOKUP_DESCRIPTORS).clamp(2, MAX_LOOKUPS)
}

/// The process's, as the system is set up. Like the C library's, there is one: what it knows and the name servers it asks
/// are the machine's, not a gateway's.
static SYSTEM: LazyLock<Names> = LazyLock::new(|| Names::new(source()));

#[cfg(not(test))]
fn source() -> Source {
    Source::default()
}

/// Tests ask no name server but their own.
#[cfg(test)]
fn source() -> Source {
    tests::source_for_all()
}

/// Why a name has no address just now.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum LookupError {
    /// Name servers say so.
    #[error("the name has no address")]
    NoAddress,
    /// No name server answered.
    #[error("the name was not looked up within {0:?}")]
    Timeout(Duration),
    /// A name server could not say, or none could be reached.
    #[error("the name cannot be looked up")]
    Failed(#[source] NetError),
    /// Name servers cannot be asked for it.
    #[error("is no name that can be looked up: {0}")]
    Malformed(String),
    /// There are bounds.
    #[error("too many names are being looked up")]
    Busy,
    /// The lookup broke off.
    #[error("the lookup ended without an answer")]
    Ended,
    /// Nothing can be looked up at all.
    #[error("no thread looks names up")]
    NoThread(#[source] Arc<io::Error>),
}

impl LookupError {
    /// Whether what was known before may still hold: not if name servers say that there is no such address.
    fn is_failure(&self) -> bool {
        !matches!(self, Self::NoAddress | Self::Malformed(_))
    }

    /// Whether it is this process that has no room for it, or breaks off: nothing of the name or its server.
    pub(super) fn is_ours(&self) -> bool {
        matches!(self, Self::Busy | Self::Ended | Self::NoThread(_))
    }

    /// Whether it took too long.
    pub(super) fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::Failed(NetError::Timeout))
    }
}

/// Looks names up, and keeps what it found. Cloning shares it.
#[derive(Clone)]
pub(super) struct Names(Arc<Shared>);

struct Shared {
    cache: Mutex<Cache>,
    source: Source,
    settings: Mutex<Option<Arc<Settings>>>,
    places: Semaphore,
    slow_places: Semaphore,
    failed: AtomicU64,
    thread: Result<Thread, Arc<io::Error>>,
}

/// The thread that lookups run on; it ends when this is dropped.
struct Thread {
    runtime: Handle,
    _end: oneshot::Sender<()>,
}

impl Default for Names {
    /// The process's.
    fn default() -> Self {
        SYSTEM.clone()
    }
}

impl Names {
    fn new(source: Source) -> Self {
        let places = *ROOM.get().unwrap_or(&MAX_LOOKUPS);
        let slow = (places / SLOW_SHARE).max(1);
        Self::bounded(source, places - slow, slow)
    }

    fn bounded(source: Source, places: usize, slow_places: usize) -> Self {
        Self(Arc::new(Shared {
            cache: Mutex::default(),
            source,
            settings: Mutex::default(),
            places: Semaphore::new(places),
            slow_places: Semaphore::new(slow_places),
            failed: AtomicU64::new(0),
            thread: Thread::start().map_err(Arc::new),
        }))
    }

    /// For connections that must stand within `connect_timeout`.
    pub(super) fn within(&self, connect_timeout: Duration) -> Lookup {
        let (share, of) = SHARE_OF_CONNECT;
        Lookup { names: self.clone(), within: LOOKUP_LIMIT.min(connect_timeout * share / of) }
    }

    /// Whether there is the thread that lookups run on.
    pub(super) fn check(&self) -> io::Result<()> {
        let failed = self.0.thread.as_ref().err();
        failed.map_or(Ok(()), |error| Err(io::Error::new(error.kind(), error.clone())))
    }

    /// Lookups that found no address so far.
    pub(super) fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// What is known of the name, or can be found within this time.
    async fn addresses(&self, name: &str, within: Duration) -> Outcome {
        let name = name.to_ascii_lowercase();
        let now = Instant::now();
        let asked = self.0.cache().ask(&name, now);
        let (mut lookup, begin, stale) = match asked {
            Asked::Answered(outcome) => return outcome,
            Asked::Awaited { lookup, begin, stale } => (lookup, begin, stale),
        };
        if let Some(begin) = begin {
            self.begin(name, begin);
        }
        let wait = match &stale {
            Some((_, until)) => until.saturating_duration_since(now).min(within),
            None => within,
        };
        let outcome = match tokio::time::timeout(wait, lookup.wait_for(Option::is_some)).await {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or(Err(LookupError::Ended)),
            Ok(Err(_)) => Err(LookupError::Ended),
            Err(_) => Err(LookupError::Timeout(wait)),
        };
        match (outcome, stale) {
            (Err(error), Some((stale, _))) if error.is_failure() => Ok(stale),
            (outcome, _) => outcome,
        }
    }

    /// Begins a lookup. It goes on when its caller stops waiting.
    fn begin(&self, name: String, Begin { end, was_slow }: Begin) {
        let shared = self.0.clone();
        match &self.0.thread {
            Err(error) => shared.note(&name, Err(LookupError::NoThread(error.clone())), &end),
            Ok(thread) => drop(thread.runtime.spawn(async move {
                let found = shared.look_up(&name, was_slow).await;
                shared.note(&name, found, &end);
            })),
        }
    }
}

impl Shared {
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look_up(&self, name: &str, was_slow: bool) -> Result<(Addresses, Duration), LookupError> {
        let places = if was_slow { &self.slow_places } else { &self.places };
        let _place = match tokio::time::timeout(LOOKUP_LIMIT, places.acquire()).await {
            Ok(place) => place.map_err(|_closed| LookupError::Ended)?,
            // It is not this name that is slow, as far as is known.
            Err(_elapsed) if !was_slow => return Err(LookupError::Busy),
            Err(_elapsed) => return Err(LookupError::Timeout(LOOKUP_LIMIT)),
        };
        let settings = {
            let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
            let read = Settings::read(&self.source, settings.clone())?;
            settings.insert(read).clone()
        };
        let found = tokio::time::timeout(LOOKUP_LIMIT, settings.look_up(name)).await;
        found.unwrap_or(Err(LookupError::Timeout(LOOKUP_LIMIT)))
    }

    fn note(
        &self,
        name: &str,
        found: Result<(Addresses, Duration), LookupError>,
        end: &watch::Sender<Option<Outcome>>,
    ) {
        if let Err(error) = &found {
            self.failed.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(name, error = %hanse_process::telemetry::causes(error), "no address found");
        }
        let outcome = self.cache().note(name, found, Instant::now());
        end.send_replace(Some(outcome));
    }
}

impl Thread {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        std::thread::Builder::new().name("gateway-names".to_owned()).spawn(move || {
            let _ = runtime.block_on(ended); // which says that no caller is left
        })?;
        Ok(Self { runtime: handle, _end: end })
    }
}

/// Looks up the names of connections, each within its share of their time. Literal addresses never get here.
#[derive(Clone)]
pub(super) struct Lookup {
    names: Names,
    within: Duration,
}

impl Service<dns::Name> for Lookup {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = LookupError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, LookupError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LookupError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: dns::Name) -> Self::Future {
        let Self { names, within } = self.clone();
        Box::pin(async move { Ok(names.addresses(name.as_str(), within).await?.in_turn().into_iter()) })
    }
}
