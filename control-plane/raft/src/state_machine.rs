//! The state machine openraft drives: [`State`] in memory, snapshots in files.
//!
//! `apply` works on a private state and publishes a copy (O(1), it shares structure) through a watch; readers never wait
//! for it. A snapshot is another such copy, written off the core's threads.

mod snapshot_file;
mod snapshots;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hanse_management::{Problem, ProblemName};
use hanse_process::backoff::Backoff;
use hanse_state::{Command, Outcome, State, UnknownVersion};
use openraft::{
    AnyError, EntryPayload, OptionalSend, RaftSnapshotBuilder, StorageIOError, storage::RaftStateMachine,
};
use parking_lot::Mutex;
use tokio::sync::watch;

pub use self::snapshots::SnapshotError;
pub(crate) use self::snapshots::{SnapshotData, Snapshots};
use crate::{
    metrics::Metrics,
    type_config::{Entry, LogId, Snapshot, SnapshotMeta, StorageError, StoredMembership, TypeConfig},
};

/// First ceiling of the wait after a snapshot could not be written: descriptors come back within a second.
const MIN_BACKOFF: Duration = Duration::from_secs(1);
/// Last ceiling: a full disk takes people; meanwhile the log grows.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// A state with the place in the log it belongs to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Applied {
    /// The last entry applied.
    pub(crate) log_id: Option<LogId>,
    /// The last membership applied.
    pub(crate) membership: Arc<StoredMembership>,
    /// The state after it.
    pub(crate) state: State,
}

impl Applied {
    /// How many entries were applied since the log's beginning.
    pub(crate) fn count(&self) -> u64 {
        self.log_id.map_or(0, |log_id| log_id.index + 1)
    }

    fn meta(&self) -> SnapshotMeta {
        let snapshot_id = self.log_id.map_or_else(|| "empty".to_owned(), |log_id| log_id.to_string());
        SnapshotMeta { last_log_id: self.log_id, last_membership: (*self.membership).clone(), snapshot_id }
    }
}

/// The state machine.
pub(crate) struct StateMachine {
    applied: Applied,
    published: watch::Sender<Applied>,
    snapshots: Arc<Snapshots>,
    metrics: Metrics,
    unknown: UnknownVersionWatch,
}

/// The version of the group, once this build has met one that it does not know.
pub(crate) type UnknownVersionWatch = watch::Sender<Option<UnknownVersion>>;

impl StateMachine {
    /// A machine that starts from the latest snapshot in `snapshots`, or empty.
    pub(crate) fn new(snapshots: Arc<Snapshots>, restored: Option<Applied>, metrics: Metrics) -> Self {
        let applied = restored.unwrap_or_default();
        let published = watch::Sender::new(applied.clone());
        Self { published, applied, snapshots, metrics, unknown: UnknownVersionWatch::default() }
    }

    /// Follows what is applied.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Applied> {
        self.published.subscribe()
    }

    /// Tells the version before which the machine stopped, because this build does not know it. Clones share it.
    pub(crate) fn unknown(&self) -> UnknownVersionWatch {
        self.unknown.clone()
    }

    /// The term is that of the entry, the same on every node.
    fn apply_command(&mut self, term: u64, command: &Command) -> Outcome {
        match command.only_in_term {
            Some(only) if only != term => {
                let detail = format!("this holds in term {only} only, and a leader of term {term} has it");
                Outcome::Rejected(Problem::new(ProblemName::Stale, detail))
            }
            Some(_) | None => self.applied.state.apply(command),
        }
    }

    fn apply_entry(&mut self, entry: Entry) -> Result<Vec<Outcome>, StorageError> {
        let log_id = entry.log_id;
        let outcomes = match entry.payload {
            EntryPayload::Blank => Vec::new(),
            EntryPayload::Normal(batch) => {
                // Every node has the same bytes: one that cannot read them must stop here, not go on differently.
                let commands =
                    batch.take_commands().map_err(|e| StorageIOError::apply(log_id, AnyError::new(&e)))?;
                if let Some(unknown) = commands.iter().find_map(|command| command.check_version().err()) {
                    self.unknown.send_replace(Some(unknown.clone()));
                    return Err(StorageIOError::apply(log_id, AnyError::new(&unknown)).into());
                }
                let term = log_id.leader_id.term;
                commands.iter().map(|command| self.apply_command(term, command)).collect()
            }
            EntryPayload::Membership(membership) => {
                self.applied.membership = Arc::new(StoredMembership::new(Some(log_id), membership));
                Vec::new()
            }
        };
        self.applied.log_id = Some(log_id);
        Ok(outcomes)
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.applied.log_id, (*self.applied.membership).clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Vec<Outcome>>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let started = Instant::now();
        let results = entries.into_iter().map(|entry| self.apply_entry(entry)).collect();
        // Also when one failed: what was applied before it is applied.
        self.published.send_replace(self.applied.clone());
        self.metrics.applied(self.applied.count(), started.elapsed());
        results
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder {
            applied: self.applied.clone(),
            snapshots: self.snapshots.clone(),
            metrics: self.metrics.clone(),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotData>, StorageError> {
        // Snapshots are received by our own service, whole, before openraft hears of them.
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<SnapshotData>,
    ) -> Result<(), StorageError> {
        let (snapshots, snapshot) = (self.snapshots.clone(), Arc::new(Mutex::new(snapshot)));
        let install = || {
            let (snapshots, snapshot) = (snapshots.clone(), snapshot.clone());
            move || snapshots.install(&mut snapshot.lock())
        };
        let applied = written(&self.metrics, install)
            .await
            .map_err(|e| StorageIOError::write_snapshot(Some(meta.signature()), AnyError::new(&e)))?;
        if applied.log_id > self.applied.log_id {
            self.applied = applied;
            self.published.send_replace(self.applied.clone());
            self.metrics.snapshot_installed(self.applied.count());
        }
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        let snapshots = self.snapshots.clone();
        let current = blocking(move || snapshots.current()).await;
        Ok(current.map_err(|e| StorageIOError::read_snapshot(None, AnyError::new(&e)))?)
    }
}

/// Writes one snapshot.
pub(crate) struct SnapshotBuilder {
    applied: Applied,
    snapshots: Arc<Snapshots>,
    metrics: Metrics,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        let meta = self.applied.meta();
        let started = Instant::now();
        let build = || {
            let (applied, snapshots) = (self.applied.clone(), self.snapshots.clone());
            move || snapshots.build(&applied)
        };
        let snapshot = written(&self.metrics, build)
            .await
            .map_err(|e| StorageIOError::write_snapshot(Some(meta.signature()), AnyError::new(&e)))?;
        self.metrics.snapshot_built(started.elapsed());
        Ok(snapshot)
    }
}

/// Does what writes a snapshot until it is written. To openraft a failure means the end of the node; but a disk that is full,
/// or descriptors that are missing, come back, and the log has everything meanwhile.
async fn written<T, W>(metrics: &Metrics, work: impl Fn() -> W) -> Result<T, SnapshotError>
where
    T: Send + 'static,
    W: FnOnce() -> Result<T, SnapshotError> + Send + 'static,
{
    let mut backoff = Backoff::new(MIN_BACKOFF, MAX_BACKOFF);
    loop {
        let error = match blocking(work()).await {
            Err(error @ SnapshotError::Io(_)) => error,
            // A panic, or a snapshot that cannot be read, would come again.
            done => return done,
        };
        metrics.snapshot_failed();
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "a snapshot cannot be written, and is tried again; is the disk full?"
        );
        tokio::time::sleep(backoff.next()).await;
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SnapshotError> + Send + 'static,
) -> Result<T, SnapshotError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(SnapshotError::Interrupted(error)),
    }
}
