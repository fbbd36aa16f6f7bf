//! Control tasks: run until the shutdown, started again when they end before it.
//!
//! A process serves on while a task is down, but it is not ready: what the task keeps in step grows old. For example, an agent
//! whose link ended by a panic relays what it has, says `the task link ended and is started again` at `/readyz`, and is ready again
//! when the link has run for a second; for longer, up to ten, where it has failed several times.

use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};
use tokio::{
    runtime::Handle,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tracing::{Instrument as _, error, info_span};

use crate::{
    Metrics, Shutdown,
    backoff::Backoff,
    drain,
    pulse::{Hung, Pulse, Watched},
    service_manager::tell_service_manager,
};

/// First ceiling of the wait before a task is started again: most defects do not come again at once.
const MIN_BACKOFF: Duration = Duration::from_millis(200);
/// Last ceiling: one that fails again and again fills no log, and is far below the age at which a pulse counts as hung.
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// A task that was started again counts as running once it has run for so long, and for the ceiling of its wait: one that fails
/// at once keeps the process not ready, and so does one that lives a little longer and fails each time.
const SETTLED: Duration = Duration::from_secs(1);

/// A task that runs on state that is not its own.
pub type Running<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Runs the control tasks of one process, or of a [part](Self::part) of it. Dropping it ends them.
#[derive(Debug)]
pub struct Supervisor {
    process: Arc<Shared>,
    shutdown: Shutdown,
    tasks: Mutex<JoinSet<()>>,
    /// Is gone when the supervisor is: then the proofs that it asked for are not asked for any more.
    present: Arc<()>,
}

/// What the supervisors of one process share.
#[derive(Debug)]
struct Shared {
    /// How many tasks of a name are down.
    down: watch::Sender<BTreeMap<&'static str, usize>>,
    restarts: Family<TaskLabels, Counter>,
    watched: Mutex<Vec<Watched>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskLabels {
    task: &'static str,
}

impl Supervisor {
    /// Without tasks. Counts `hanse_task_restarts_total{task}`.
    pub fn new(metrics: &Metrics, shutdown: Shutdown) -> Self {
        let restarts = Family::default();
        metrics.register(|registry| {
            registry.sub_registry_with_prefix("hanse_task").register(
                "restarts",
                "Control tasks started again because they ended by themselves",
                restarts.clone(),
            );
        });
        let (down, watched) = (watch::Sender::default(), Mutex::default());
        Self::of(Arc::new(Shared { down, restarts, watched }), shutdown)
    }

    /// A supervisor for tasks that end before the process does, with a shutdown of their own. The process says how they stand for as
    /// long as this supervisor is there. Example: a control node that must not vote any more stops all but its admin port.
    pub fn part(&self, shutdown: Shutdown) -> Self {
        Self::of(self.process.clone(), shutdown)
    }

    fn of(process: Arc<Shared>, shutdown: Shutdown) -> Self {
        Self { process, shutdown, tasks: Mutex::default(), present: Arc::default() }
    }

    /// Runs `run` on a clone of `state` until the shutdown, which it is given: each time it ends or panics before, on another clone.
    /// `task` is its name in metrics and at `/readyz`: `link`.
    pub fn spawn<S, F>(
        &self,
        task: &'static str,
        state: S,
        run: impl Fn(S, Shutdown) -> F + Clone + Send + 'static,
    ) where
        S: Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_on(&Handle::current(), task, state, run);
    }

    /// The same, on another runtime than the caller's.
    pub fn spawn_on<S, F>(
        &self,
        runtime: &Handle,
        task: &'static str,
        state: S,
        run: impl Fn(S, Shutdown) -> F + Clone + Send + 'static,
    ) where
        S: Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let kept = self.keep(task, state, run);
        self.tasks.lock().spawn_on(kept, runtime);
    }

    /// The same for a task whose state outlives an end of it.
    pub fn spawn_lasting<T: Send + 'static>(
        &self,
        task: &'static str,
        state: T,
        run: impl for<'a> Fn(&'a mut T, Shutdown) -> Running<'a> + Copy + Send + Sync + 'static,
    ) {
        let state = Arc::new(tokio::sync::Mutex::new(state));
        self.spawn(task, state, move |state, shutdown| async move {
            run(&mut *state.lock().await, shutdown).await;
        });
    }

    /// The same as a future, for a task whose end is awaited by its owner. It ends after the shutdown, when the task does.
    pub fn keep<S, F>(
        &self,
        task: &'static str,
        state: S,
        run: impl Fn(S, Shutdown) -> F + Clone + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static
    where
        S: Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        drop(self.process.restarts.get_or_create(&TaskLabels { task })); // it is shown from the beginning
        keep(self.process.clone(), self.shutdown.clone(), task, state, run).in_current_span()
    }

    /// A pulse that the role's own work beats. Where it is older than `most`, the process gives no proof of life.
    pub fn pulse(&self, work: &'static str, most: Duration) -> Pulse {
        let pulse = Pulse::new();
        let watched = pulse.clone();
        self.prove(work, move || watched.age() <= most);
        pulse
    }

    /// The process gives no proof of life while `turns` says that this work hangs.
    pub fn prove(&self, work: &'static str, turns: impl Fn() -> bool + Send + 'static) {
        let asker = Arc::downgrade(&self.present);
        self.process.watched.lock().push(Watched { work, turns: Box::new(turns), asker });
    }

    /// Whether everything that is to be proven turns.
    pub fn proof(&self) -> Result<(), Hung> {
        self.process.proof()
    }

    /// Tells the service manager how the process stands, and says what `/readyz` does: that it is draining, the task that is
    /// down, or else what `own` says.
    pub fn announce(&self, own: watch::Receiver<Result<(), String>>) -> watch::Receiver<Result<(), String>> {
        let (say, said) = watch::channel(own.borrow().clone());
        let state = (self.process.clone(), own, say);
        self.spawn("readiness", state, |(process, own, say), shutdown| stand(process, own, say, shutdown));
        let state = (self.process.clone(), said.clone());
        self.spawn("service-manager", state, |(process, ready), shutdown| {
            tell_service_manager(ready, move || process.proof(), shutdown)
        });
        said
    }

    /// Waits for the tasks, which have noticed the shutdown, and ends those that do not come to an end.
    pub async fn drain(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock());
        drain(tasks).await;
    }
}

impl Shared {
    fn proof(&self) -> Result<(), Hung> {
        let mut watched = self.watched.lock();
        watched.retain(|watched| watched.asker.strong_count() > 0);
        watched.iter().find(|watched| !(watched.turns)()).map_or(Ok(()), |watched| Err(Hung(watched.work)))
    }

    fn mark(&self, task: &'static str, is_down: bool) {
        self.down.send_modify(|down| {
            let count = down.entry(task).or_default();
            *count = if is_down { *count + 1 } else { count.saturating_sub(1) };
            down.retain(|_, count| *count > 0);
        });
    }
}

/// A task is down while this is there.
struct Down {
    process: Arc<Shared>,
    task: &'static str,
}

impl Down {
    fn new(process: &Arc<Shared>, task: &'static str) -> Self {
        process.mark(task, true);
        Self { process: process.clone(), task }
    }
}

impl Drop for Down {
    fn drop(&mut self) {
        self.process.mark(self.task, false);
    }
}

async fn keep<S, F>(
    process: Arc<Shared>,
    shutdown: Shutdown,
    task: &'static str,
    state: S,
    run: impl Fn(S, Shutdown) -> F + Clone + Send + 'static,
) where
    S: Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let mut backoff = Backoff::new(MIN_BACKOFF, MAX_BACKOFF);
    let mut down: Option<Down> = None;
    loop {
        let (began, settled) = (Instant::now(), backoff.ceiling().max(SETTLED));
        let mut running = JoinSet::new(); // its panic ends nothing else, and it ends with this
        let (state_of_run, run, stop) = (state.clone(), run.clone(), shutdown.clone());
        let run = async move { run(state_of_run, stop).await }; // in there, for the call may panic as well
        running.spawn(run.instrument(info_span!("task", name = task)));
        let ended = loop {
            tokio::select! {
                biased;
                () = shutdown.wait() => {
                    drop(state); // with what only it holds, a listening socket say
                    if let Some(Err(error)) = running.join_next().await {
                        error!(task, %error, "a task failed while the process stops");
                    }
                    return;
                }
                ended = running.join_next() => break ended,
                () = sleep_until(began + settled), if down.is_some() => down = None,
            }
        };
        let why = ended.and_then(Result::err).map_or("it returned".to_owned(), |error| error.to_string());
        if began.elapsed() >= MAX_BACKOFF {
            backoff.reset();
        }
        let again_in = backoff.next();
        error!(task, why, ?again_in, "a task ended by itself and is started again; report this");
        process.restarts.get_or_create(&TaskLabels { task }).inc();
        down.get_or_insert_with(|| Down::new(&process, task));
        tokio::select! {
            () = shutdown.wait() => return,
            () = sleep(again_in) => {}
        }
    }
}

/// Says how the process stands, until nothing can change any more.
async fn stand(
    process: Arc<Shared>,
    mut own: watch::Receiver<Result<(), String>>,
    say: watch::Sender<Result<(), String>>,
    shutdown: Shutdown,
) {
    let mut down = process.down.subscribe();
    let mut has_own = true;
    loop {
        let now = match down.borrow_and_update().keys().next() {
            _ if shutdown.is_triggered() => Err("draining".to_owned()),
            Some(task) => Err(format!("the task {task} ended and is started again")),
            None => own.borrow_and_update().clone(),
        };
        say.send_if_modified(|before| {
            let is_news = *before != now;
            *before = now;
            is_news
        });
        if shutdown.is_triggered() {
            return;
        }
        tokio::select! {
            () = shutdown.wait() => {}
            Ok(()) = down.changed() => {}
            changed = own.changed(), if has_own => has_own = changed.is_ok(),
        }
    }
}

#[cfg(test)]
mod tests;
