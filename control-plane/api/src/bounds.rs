//! How much memory and work all requests together may take.
//!
//! A request waits for its place before its body is read and before the body is parsed. What is small never waits behind
//! what is large. Parsing, and writing answers that may be large, happens on threads that serve nothing else.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hanse_management::{Problem, ProblemName};
use hanse_topology::Name;
use tokio::{
    runtime::{Builder, Runtime},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use crate::ApiMetrics;

/// A body up to this size is small: a change of one resource, or an apply of some hundred. It has a reserve of its own.
pub(crate) const SMALL_BODY: usize = 64 << 10;
/// How many bytes of large bodies are held at once: one of the largest. With what they may become ([`LARGE_WORK`]) and what their
/// connections hold this stays below 100 MiB.
const LARGE_BODIES: usize = 16 << 20;
/// How many bytes of small bodies are held at once: some hundred clients with the largest, thousands with a usual one.
const SMALL_BODIES: usize = 8 << 20;
/// What a body without a single byte counts as, so that many of them are bounded too.
const LEAST_BODY: usize = 1 << 10;
/// How much memory what large bodies say may take at once, from parsing them until their changes are replicated.
const LARGE_WORK: usize = 64 << 20;
/// How much of that a byte of a body is counted as: 10 was measured for 29,000 Plans. A body that takes more is refused by
/// the manifest's own budgets, which are half of it each, so that none takes more than all of it.
const WORK_PER_BYTE: usize = 10;
/// How many small bodies are parsed at once. Each takes at most 6 MiB for a millisecond.
const SMALL_PARSES: usize = 4;
/// How many answers are written at once. Each takes at most about 60 MiB (an Api of 25,000 operations of six fields) for 100 ms.
const ANSWERS: usize = 2;
/// How long the thread for large bodies stays when there is none: as good as always.
const LARGE_WORK_IDLE: Duration = Duration::from_secs(24 * 3_600);
/// How many bytes of large answers are held that clients have not taken yet: two of the largest pages, of 4 MiB and a resource of
/// 8 MiB, or three of the largest resources.
const UNTAKEN: usize = 32 << 20;
/// How many watches there are at once: each makes its own text of each change, up to 64 KiB beside what is counted as untaken.
const WATCHES: usize = 512;
/// How many of them may be of one token: four tokens must be at it to keep a fifth from watching.
const WATCHES_OF_A_TOKEN: usize = 128;
/// How many dumps there are at once: each holds the state that it is of, and a part of up to 16 MiB.
const DUMPS: usize = 1;
/// How long a request waits for its place: longer than the largest body may take to arrive. A client that waits longer does better
/// with another node.
const WAIT: Duration = Duration::from_secs(30);

/// What all requests of a node share.
#[derive(Debug)]
pub(crate) struct Bounds {
    large_bodies: Arc<Semaphore>,
    small_bodies: Arc<Semaphore>,
    large_work: Arc<Semaphore>,
    large_thread: OneThread,
    small_parses: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    untaken: Arc<Semaphore>,
    watches: Arc<Semaphore>,
    watches_of: Shares,
    dumps: Arc<Semaphore>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    bytes: usize,
    metrics: Option<ApiMetrics>,
    _permit: OwnedSemaphorePermit,
}

/// How many watches each token has.
type Shares = Arc<Mutex<BTreeMap<Name, usize>>>;

/// The place of a watch, and its part of the share of its token.
#[derive(Debug)]
pub(crate) struct WatchPlace {
    token: Name,
    shares: Shares,
    _place: Place,
}

impl Drop for WatchPlace {
    fn drop(&mut self) {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut share) = shares.entry(self.token.clone()) {
            *share.get_mut() -= 1;
            if *share.get() == 0 {
                share.remove();
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(metrics) = &self.metrics {
            metrics.body_released(self.bytes);
        }
    }
}

impl Bounds {
    pub(crate) fn new() -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self {
            large_bodies: semaphore(LARGE_BODIES),
            small_bodies: semaphore(SMALL_BODIES),
            large_work: semaphore(LARGE_WORK),
            large_thread: OneThread::new(),
            small_parses: semaphore(SMALL_PARSES),
            answers: semaphore(ANSWERS),
            untaken: semaphore(UNTAKEN),
            watches: semaphore(WATCHES),
            watches_of: Shares::default(),
            dumps: semaphore(DUMPS),
        }
    }

    /// A place for a body of up to `bytes`.
    pub(crate) async fn body(&self, bytes: usize, metrics: &ApiMetrics) -> Result<Place, Problem> {
        let (bodies, all) = match bytes <= SMALL_BODY {
            true => (&self.small_bodies, SMALL_BODIES),
            false => (&self.large_bodies, LARGE_BODIES),
        };
        let bytes = bytes.clamp(LEAST_BODY, all);
        let mut place = wait(bodies, bytes, metrics, "bodies").await?;
        metrics.body_held(bytes);
        place.metrics = Some(metrics.clone());
        Ok(place)
    }

    /// Works on a body of `bytes` on a thread of its own. What a large one says has a place as long as the caller keeps it.
    pub(crate) async fn parse<T: Send + 'static>(
        &self,
        bytes: usize,
        metrics: &ApiMetrics,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<(T, Option<Place>), Problem> {
        let small = bytes <= SMALL_BODY;
        let place = match small {
            true => wait(&self.small_parses, 1, metrics, "parsing").await?,
            false => {
                let bytes = bytes.saturating_mul(WORK_PER_BYTE).min(LARGE_WORK);
                wait(&self.large_work, bytes, metrics, "parsing").await?
            }
        };
        // The place is on the thread: a client that goes away does not make room that is not there.
        let worked = move || {
            let done = work();
            (done, (!small).then_some(place))
        };
        finished(match small {
            true => spawn_blocking(worked),
            false => self.large_thread.spawn(worked),
        })
        .await
    }

    /// A place for a large answer of `bytes`, or none now: what was written does not wait in memory for others to be taken.
    pub(crate) fn untaken(&self, bytes: usize, metrics: &ApiMetrics) -> Result<Place, Problem> {
        match self.untaken.clone().try_acquire_many_owned(permits(bytes.min(UNTAKEN))) {
            Ok(_permit) => Ok(Place { bytes: 0, metrics: None, _permit }),
            Err(_) => {
                metrics.busy("untaken");
                let detail =
                    "this node holds as many large answers as it may for clients that are slow to take them";
                Err(busy(detail.to_owned())
                    .remedy("nothing was changed: send it again later or to another node, or ask for less"))
            }
        }
    }

    /// A place for a watch of a token.
    pub(crate) fn watch(&self, token: &Name, metrics: &ApiMetrics) -> Result<WatchPlace, Problem> {
        let refused = |detail: String| {
            metrics.busy("watches");
            Err(busy(detail).remedy("watch at another node, or several kinds with one watch"))
        };
        let Ok(_permit) = self.watches.clone().try_acquire_owned() else {
            return refused(format!("this node has {WATCHES} watches, as many as it may"));
        };
        let mut shares = self.watches_of.lock().unwrap_or_else(PoisonError::into_inner);
        let share = shares.get(token).copied().unwrap_or_default();
        if share == WATCHES_OF_A_TOKEN {
            return refused(format!(
                "the token {token} has {WATCHES_OF_A_TOKEN} watches at this node, as many as one token may"
            ));
        }
        shares.insert(token.clone(), share + 1);
        let place = Place { bytes: 0, metrics: None, _permit };
        Ok(WatchPlace { token: token.clone(), shares: self.watches_of.clone(), _place: place })
    }

    /// The place for a dump.
    pub(crate) fn dump(&self, metrics: &ApiMetrics) -> Result<Place, Problem> {
        match self.dumps.clone().try_acquire_owned() {
            Ok(_permit) => Ok(Place { bytes: 0, metrics: None, _permit }),
            Err(_) => {
                metrics.busy("dumps");
                Err(busy("this node writes a dump already".to_owned())
                    .remedy("ask again when it is written, or ask another node"))
            }
        }
    }

    /// Writes an answer on a thread of its own. It waits for as long as that takes: writers end by themselves, and a change that was
    /// made is not told as one that was not.
    pub(crate) async fn answer<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let place = self.answers.clone().acquire_owned().await.expect("no semaphore is ever closed");
        let worked = move || {
            let done = work();
            drop(place);
            done
        };
        finished(spawn_blocking(worked)).await
    }
}

/// One thread that large bodies are parsed on, one after the other. The allocator keeps a part of its memory per thread: what one
/// parse gave back the next one takes again, where threads that take turns would each hold the most that a parse takes.
#[derive(Debug)]
struct OneThread(Option<Runtime>);

impl OneThread {
    fn new() -> Self {
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(1)
            .thread_keep_alive(LARGE_WORK_IDLE)
            .thread_name("large-bodies")
            .build()
            .expect("a runtime without a driver needs nothing of the system");
        Self(Some(runtime))
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        self.0.as_ref().expect("taken by drop only").spawn_blocking(work)
    }
}

impl Drop for OneThread {
    fn drop(&mut self) {
        // Waiting for the thread is not allowed on the threads that drop this.
        self.0.take().expect("taken here only").shutdown_background();
    }
}

async fn wait(
    places: &Arc<Semaphore>,
    wanted: usize,
    metrics: &ApiMetrics,
    what: &'static str,
) -> Result<Place, Problem> {
    match timeout(WAIT, places.clone().acquire_many_owned(permits(wanted))).await {
        Ok(permit) => {
            let _permit = permit.expect("no semaphore is ever closed");
            Ok(Place { bytes: wanted, metrics: None, _permit })
        }
        Err(_) => {
            metrics.busy(what);
            Err(busy(format!(
                "this node works on other requests and had no place for this one within {WAIT:?}"
            ))
            .remedy("nothing was changed: send it again later, or to another node"))
        }
    }
}

fn permits(wanted: usize) -> u32 {
    u32::try_from(wanted).expect("every bound is below 4 GiB")
}

fn busy(detail: String) -> Problem {
    Problem::new(ProblemName::Busy, detail)
}

async fn finished<T>(work: JoinHandle<T>) -> Result<T, Problem> {
    work.await.map_err(|error| {
        Problem::new(ProblemName::Internal, format!("the request's work was given up: {error}"))
    })
}
