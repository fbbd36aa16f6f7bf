//! The thread that owns the database, and how it is asked.

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{LogError, disk::LogSummary, witnessed::Witnessed};
use crate::type_config::{Entry, LogId, Vote};

/// Nothing is asked for so long: then the commit mark is written, and purged entries are removed a step at a time. Keeps
/// the thread free for appends.
const IDLE: Duration = Duration::from_millis(5);

type Reply<T> = oneshot::Sender<Result<T, LogError>>;

/// Called when an append is durable, or failed.
type Done = Box<dyn FnOnce(Result<(), LogError>) + Send>;

enum Request {
    State(Reply<LogSummary>),
    Read { start: u64, end: u64, max_bytes: usize, reply: Reply<Vec<Entry>> },
    Append { entries: Vec<Entry>, done: Done },
    SaveVote(Vote, Reply<()>),
    SaveCommitted(Option<LogId>, Reply<()>),
    Truncate(u64, Reply<()>),
    Purge(LogId, Reply<()>),
    Close(oneshot::Sender<()>),
}

/// Asks the thread. Requests are served in order. The channel has no bound: the Raft core and each reader wait for their
/// answer before they ask again.
#[derive(Clone)]
pub(super) struct Worker {
    requests: mpsc::Sender<Request>,
    thread: Arc<Mutex<Option<thread::JoinHandle<()>>>>,
}

impl Worker {
    /// Starts the thread of an open database.
    pub(super) fn start(log: Witnessed) -> Result<Self, LogError> {
        let path = log.path().to_owned();
        let (requests, receiver) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("raft-log".to_owned())
            .spawn(move || serve(log, &receiver))
            .map_err(|source| LogError::Io { action: "starting a thread for", path, source })?;
        Ok(Self { requests, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    pub(super) async fn state(&self) -> Result<LogSummary, LogError> {
        self.ask(Request::State).await
    }

    pub(super) async fn read(&self, start: u64, end: u64, max_bytes: usize) -> Result<Vec<Entry>, LogError> {
        self.ask(|reply| Request::Read { start, end, max_bytes, reply }).await
    }

    pub(super) fn append(&self, entries: Vec<Entry>, done: Done) -> Result<(), LogError> {
        self.requests.send(Request::Append { entries, done }).map_err(|_| LogError::Closed)
    }

    pub(super) async fn save_vote(&self, vote: Vote) -> Result<(), LogError> {
        self.ask(|reply| Request::SaveVote(vote, reply)).await
    }

    pub(super) async fn save_committed(&self, committed: Option<LogId>) -> Result<(), LogError> {
        self.ask(|reply| Request::SaveCommitted(committed, reply)).await
    }

    pub(super) async fn truncate(&self, index: u64) -> Result<(), LogError> {
        self.ask(|reply| Request::Truncate(index, reply)).await
    }

    pub(super) async fn purge(&self, upto: LogId) -> Result<(), LogError> {
        self.ask(|reply| Request::Purge(upto, reply)).await
    }

    pub(super) async fn close(&self) {
        let (closed, wait) = oneshot::channel();
        if self.requests.send(Request::Close(closed)).is_ok() {
            let _ = wait.await;
        }
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // It has dropped the database and only has to return.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, LogError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).map_err(|_| LogError::Closed)?;
        answer.await.map_err(|_| LogError::Closed)?
    }
}

fn serve(mut log: Witnessed, requests: &mpsc::Receiver<Request>) {
    loop {
        let request = if let Some(wait) = next_chore(&log) {
            match requests.recv_timeout(wait) {
                Ok(request) => Some(request),
                Err(mpsc::RecvTimeoutError::Timeout) => None,
                Err(mpsc::RecvTimeoutError::Disconnected) => return sync(&mut log),
            }
        } else {
            match requests.recv() {
                Ok(request) => Some(request),
                Err(mpsc::RecvError) => return,
            }
        };
        // A reply that no caller waits for any more is dropped.
        match request {
            None if log.mark_unwritten() => write_mark(&mut log),
            None if log.must_sweep() => sweep(&mut log),
            None => sync(&mut log),
            Some(Request::State(reply)) => drop(reply.send(Ok(log.summary().clone()))),
            Some(Request::Read { start, end, max_bytes, reply }) => {
                drop(reply.send(log.read(start, end, max_bytes)));
            }
            Some(Request::Append { entries, done }) => {
                done(log.append(&entries));
                // Under steady load there is no pause to do these in.
                if log.must_sweep() {
                    sweep(&mut log);
                }
                if log.sync_due().is_some_and(|due| due.is_zero()) {
                    sync(&mut log);
                }
            }
            Some(Request::SaveVote(vote, reply)) => drop(reply.send(log.save_vote(vote))),
            Some(Request::SaveCommitted(committed, reply)) => drop(reply.send(log.save_committed(committed))),
            Some(Request::Truncate(index, reply)) => drop(reply.send(log.truncate(index))),
            Some(Request::Purge(upto, reply)) => drop(reply.send(log.purge(upto))),
            Some(Request::Close(closed)) => {
                sync(&mut log);
                drop(log);
                let _ = closed.send(());
                return;
            }
        }
    }
}

/// How long the thread may wait for a request before it has something to do by itself.
fn next_chore(log: &Witnessed) -> Option<Duration> {
    if log.must_sweep() || log.mark_unwritten() { Some(IDLE) } else { log.sync_due() }
}

/// Without the mark a restarted node waits for a quorum before it shows its last entries; a broken disk shows in the next
/// append, which is fatal.
fn write_mark(log: &mut Witnessed) {
    if let Err(error) = log.write_mark() {
        tracing::warn!(error = &error as &dyn std::error::Error, "writing the commit mark failed");
    }
}

/// A step that fails is tried again with the next one; a broken disk shows in the next append, which is fatal.
fn sweep(log: &mut Witnessed) {
    if let Err(error) = log.sweep() {
        tracing::warn!(error = &error as &dyn std::error::Error, "removing purged entries failed");
    }
}

/// Until it is synced, the witness promises less than the log holds; it is tried again.
fn sync(log: &mut Witnessed) {
    if log.sync_due().is_none() {
        return;
    }
    if let Err(error) = log.sync() {
        tracing::warn!(error = &error as &dyn std::error::Error, "syncing the log's witness failed");
    }
}

impl From<LogError> for io::Error {
    fn from(error: LogError) -> Self {
        io::Error::other(error)
    }
}
