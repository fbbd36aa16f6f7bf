//! Raft's log, vote and commit mark, on sled.
//!
//! One thread owns the database ([`disk`] is what it does, [`worker`] how it is asked). [`LogStore`] is the face that
//! openraft sees; clones of it share the thread and the [`tail`] of recent entries, from which replication and applying
//! are served without a trip to the thread. Outside of the database a [`witness`] says what the log must at least hold
//! when it is opened again.

mod disk;
mod files;
mod rebuild;
mod records;
#[cfg(test)]
mod scan;
mod tail;
#[cfg(test)]
mod tests;
mod witness;
mod witnessed;
mod worker;

use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    path::PathBuf,
    sync::Arc,
};

use hanse_state::UnknownVersion;
use openraft::{
    AnyError, LogState, OptionalSend, RaftLogReader, StorageIOError,
    storage::{LogFlushed, RaftLogStorage},
};
use parking_lot::Mutex;

use self::{tail::Tail, witnessed::Witnessed, worker::Worker};
use crate::{
    options::RaftOptions,
    type_config::{Entry, LogId, NodeId, StorageError, TypeConfig, Vote},
};

/// One read for a follower stops beyond this many bytes: far below what one message may carry, and small enough to
/// arrive within a heartbeat on a slow road.
const MAX_READ_BYTES: usize = 1 << 20;

/// Why the log could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// sled refused.
    #[error("the log database failed")]
    Sled(#[source] sled::Error),
    /// The file system refused.
    #[error("{action} {path} failed")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// What is on disk is no log, or holds less than it did.
    #[error("the log is damaged: {0}")]
    Damaged(String),
    /// It is in a form that came with a version which this build does not know.
    #[error(transparent)]
    Version(#[from] UnknownVersion),
    /// The directory is another node's.
    #[error(
        "the data directory belongs to node {found}, this is node {expected}: a node keeps its id for life"
    )]
    Foreign {
        /// Whose it is.
        found: u64,
        /// Who wants it.
        expected: u64,
    },
    /// The store was closed.
    #[error("the log is closed")]
    Closed,
}

impl From<sled::Error> for LogError {
    fn from(error: sled::Error) -> Self {
        match error {
            // sled says no more of it than where it was found.
            sled::Error::Corruption { .. } | sled::Error::ReportableBug(_) => {
                Self::Damaged(format!("the database cannot be read: {error}"))
            }
            error => Self::Sled(error),
        }
    }
}

/// Where a node's log is, and what is known of it beforehand.
#[derive(Debug, Clone)]
pub(crate) struct LogPlace {
    /// The database's directory.
    pub(crate) dir: PathBuf,
    /// The file of what the log must at least hold; not in `dir`, so that it does not go with it.
    pub(crate) witness: PathBuf,
    /// The node whose log it is.
    pub(crate) owner: NodeId,
    /// The node is a member of a group already, so its log is not empty.
    pub(crate) is_member: bool,
}

#[cfg(test)]
impl LogPlace {
    /// The log of a node that may be new, in `dir/log`, and its witness beside it.
    pub(crate) fn new(dir: &std::path::Path, owner: NodeId) -> Self {
        Self { dir: dir.join("log"), witness: dir.join("raft.witness"), owner, is_member: false }
    }
}

/// The log store. Clones share one database.
#[derive(Clone)]
pub(crate) struct LogStore {
    worker: Worker,
    tail: Arc<Mutex<Tail>>,
    owner: NodeId,
    /// A seeded bug: a restarted leader goes on in its old term.
    resumes_leadership: bool,
    /// Seeded: the commit mark never reaches the disk.
    loses_mark: bool,
}

impl LogStore {
    /// Opens the log at `place`, made if absent, on a thread of its own. Blocks.
    pub(crate) fn open(place: &LogPlace) -> Result<Self, LogError> {
        let log = Witnessed::open(place, rebuild::MIN_BYTES)?;
        Ok(Self {
            worker: Worker::start(log)?,
            tail: Arc::default(),
            owner: place.owner,
            resumes_leadership: false,
            loses_mark: false,
        })
    }

    /// Brings bugs back: see [`RaftOptions`].
    pub(crate) fn seed(&mut self, options: &RaftOptions) {
        self.resumes_leadership = options.read_index_without_own_term;
        self.loses_mark = options.commit_mark_lost;
    }

    /// Closes the database; later calls fail. Returns when its files are free to be opened again.
    pub(crate) async fn close(&self) {
        self.worker.close().await;
    }

    /// The last entry that was purged, if any was.
    pub(crate) async fn purged(&self) -> Result<Option<LogId>, LogError> {
        Ok(self.worker.state().await?.purged)
    }

    async fn read(&self, start: u64, end: u64, max_bytes: usize) -> Result<Vec<Entry>, StorageError> {
        if start >= end {
            return Ok(Vec::new());
        }
        if let Some(entries) = self.tail.lock().read(start, end, max_bytes) {
            return Ok(entries);
        }
        Ok(self
            .worker
            .read(start, end, max_bytes)
            .await
            .map_err(|e| StorageIOError::read_logs(AnyError::new(&e)))?)
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, StorageError> {
        let start = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => index.saturating_add(1),
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start, end, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        self.read(start, end, MAX_READ_BYTES).await
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let state = self.worker.state().await.map_err(|e| StorageIOError::read_logs(AnyError::new(&e)))?;
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        Ok(self.worker.save_vote(*vote).await.map_err(|e| StorageIOError::write_vote(AnyError::new(&e)))?)
    }

    /// The vote that openraft starts from. A node's own vote comes back as not committed, which makes it a follower that
    /// has to be elected again, in a new term. openraft would lead on in the old term: the commit mark on disk may lie
    /// behind what was acknowledged, and the first entry of the old term with it, so a read would be answered from before
    /// an acknowledged write.
    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        let state = self.worker.state().await.map_err(|e| StorageIOError::read_vote(AnyError::new(&e)))?;
        Ok(state.vote.map(|mut vote| {
            if vote.leader_id.node_id == self.owner && !self.resumes_leadership {
                vote.committed = false;
            }
            vote
        }))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        if self.loses_mark {
            return Ok(());
        }
        Ok(self
            .worker
            .save_committed(committed)
            .await
            .map_err(|e| StorageIOError::write(AnyError::new(&e)))?)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.worker.state().await.map_err(|e| StorageIOError::read(AnyError::new(&e)))?.committed)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        for entry in &entries {
            if let openraft::EntryPayload::Normal(batch) = &entry.payload {
                batch.mark_written();
            }
        }
        self.tail.lock().append(&entries);
        self.worker
            .append(
                entries,
                Box::new(move |result| callback.log_io_completed(result.map_err(io::Error::other))),
            )
            .map_err(|e| StorageIOError::write_logs(AnyError::new(&e)))?;
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.tail.lock().truncate(log_id.index);
        Ok(self
            .worker
            .truncate(log_id.index)
            .await
            .map_err(|e| StorageIOError::write_logs(AnyError::new(&e)))?)
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.tail.lock().purge(log_id.index);
        Ok(self.worker.purge(log_id).await.map_err(|e| StorageIOError::write_logs(AnyError::new(&e)))?)
    }
}
