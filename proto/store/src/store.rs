//! The handle that others have of a store.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use bytes::Bytes;
use hanse_topology::ScopeId;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::error;

use crate::{
    content::{Loaded, Transaction},
    file::{Disk, StoreFile},
    key::StoreKey,
    metrics::StoreMetrics,
    notes::{KeyNote, Note, NoteId, Noted, Notes},
    tables::Medium,
    worker::{Job, Worker},
};

/// Transactions that wait: a persister has one under way at a time.
const JOBS: usize = 1;

/// Whose store it is, and where.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The directory it has for itself, in the node's data directory. Made if absent.
    pub dir: PathBuf,
    /// The node's identity: what another node sealed does not open.
    pub node: String,
    /// What opens it.
    pub key: StoreKey,
    /// Whether the store makes a key file that is not there: at once where there is no store, else after some seconds, and sets the
    /// store aside that the lost key opened. Without this it goes on from memory until the file is there. A control node has
    /// it so: its private key is sealed with the same key, and another one in its place would lock the node.
    pub makes_key: bool,
}

/// Another process has the store: two nodes cannot share one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is in use by another process; stop that, or give this one a data_dir of its own")]
pub struct StoreInUse(pub PathBuf);

/// Why something was not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The disk or the key is not to be had. Try again later.
    #[error("the store cannot be written: {0}")]
    Unavailable(String),
    /// The store had to be given up, and is empty now. Everything is to be kept anew.
    #[error("the store had to be given up and is empty now")]
    Emptied,
}

/// Notes to be kept, as they were at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnkeptNotes(Vec<Note>);

impl UnkeptNotes {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A node's store. Cloning shares it; it is closed when the last clone is gone.
#[derive(Debug, Clone)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
    metrics: StoreMetrics,
}

/// What the handle and the thread share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    notes: Mutex<Notes>,
    changed: watch::Sender<u64>,
}

impl Shared {
    pub(crate) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, id: NoteId, value: Option<Noted>) {
        if self.notes().set(id, value) {
            self.changed.send_modify(|version| *version += 1);
        }
    }
}

/// The thread, whose end is not silent.
fn run(
    worker: Worker,
    opened: oneshot::Sender<Result<Loaded, StoreInUse>>,
    jobs: mpsc::Receiver<Job>,
    metrics: &StoreMetrics,
) {
    if catch_unwind(AssertUnwindSafe(|| worker.run(opened, jobs))).is_err() {
        metrics.failures.inc();
        metrics.writable.set(0);
        error!("the store's thread panicked; nothing is kept any more until this process is started again");
    }
}

impl Store {
    /// Opens the store, and gives what was in it. What cannot be used is moved aside; a disk that cannot be used leaves the
    /// node without memory of its own until it can.
    pub async fn open(options: StoreOptions) -> Result<(Self, Loaded), StoreInUse> {
        Self::open_on(options, Box::new(Disk)).await
    }

    pub(crate) async fn open_on(
        options: StoreOptions,
        medium: Box<dyn Medium>,
    ) -> Result<(Self, Loaded), StoreInUse> {
        let StoreOptions { dir, node, key, makes_key } = options;
        let metrics = StoreMetrics::default();
        let shared = Arc::<Shared>::default();
        let file = StoreFile { dir: dir.clone(), node, key, makes_key, medium, metrics: metrics.clone() };
        let worker = Worker::new(file, Arc::clone(&shared));
        let of_thread = metrics.clone();
        let (jobs, received) = mpsc::channel(JOBS);
        let (opened, is_open) = oneshot::channel();
        thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || run(worker, opened, received, &of_thread))
            .expect("a process that starts can start a thread");
        let loaded = is_open.await.unwrap_or(Ok(Loaded::default()))?;
        Ok((Self { jobs, shared, metrics }, loaded))
    }

    /// The notes that are not kept yet, as they should be now. Taken before the scopes that go with them are read, no note is
    /// kept before what it speaks of.
    pub fn unkept_notes(&self) -> UnkeptNotes {
        UnkeptNotes(self.shared.notes().unkept())
    }

    /// Keeps scopes and notes together. Returns when they are safe on the disk.
    pub async fn commit(&self, content: Transaction, notes: UnkeptNotes) -> Result<(), CommitError> {
        let gone = || CommitError::Unavailable("the store's thread has ended".to_owned());
        let (done, outcome) = oneshot::channel();
        self.jobs.send(Job { content, notes: notes.0, done }).await.map_err(|_| gone())?;
        outcome.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Whether the disk took what it was given last.
    pub fn is_writable(&self) -> bool {
        self.metrics.writable.get() == 1
    }

    /// Fires when a note changed.
    pub fn notes_changed(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// A fact, as it was set last.
    pub fn fact(&self, name: &str) -> Option<Bytes> {
        self.shared.notes().get(&NoteId::Fact(name.into())).cloned()
    }

    /// Sets a fact, or with `None` removes it. It is kept with the next transaction.
    pub fn set_fact(&self, name: &str, value: Option<Bytes>) {
        let noted = |value| Noted { revision: 0, value: Some(value) };
        self.shared.set(NoteId::Fact(name.into()), value.map(noted));
    }

    /// What is noted of the keys of a scope.
    pub fn key_notes(&self, what: KeyNote, scope: &ScopeId) -> BTreeMap<Arc<str>, Noted> {
        self.shared.notes().of_keys(what, scope)
    }

    /// Has these be all that is noted of the keys of a scope. It is kept with the next transaction, and goes when the scope goes.
    pub fn set_key_notes(
        &self,
        what: KeyNote,
        scope: &ScopeId,
        notes: impl IntoIterator<Item = (Arc<str>, Noted)>,
    ) {
        let mut before = self.key_notes(what, scope);
        for (key, noted) in notes {
            if before.remove(&key).as_ref() != Some(&noted) {
                self.shared.set(NoteId::Key(what, scope.clone(), key), Some(noted));
            }
        }
        for key in before.into_keys() {
            self.shared.set(NoteId::Key(what, scope.clone(), key), None);
        }
    }

    /// Has these be noted, all at once. They are kept as [`Self::set_key_notes`] says.
    pub fn set_key_notes_of(
        &self,
        scope: &ScopeId,
        notes: impl IntoIterator<Item = (KeyNote, Arc<str>, Option<Noted>)>,
    ) {
        let mut is_news = false;
        let mut all = self.shared.notes();
        for (what, key, noted) in notes {
            is_news |= all.set(NoteId::Key(what, scope.clone(), key), noted);
        }
        drop(all);
        if is_news {
            self.shared.changed.send_modify(|version| *version += 1);
        }
    }

    /// Whether a fact is on disk as it was set last.
    pub fn is_fact_kept(&self, name: &str) -> bool {
        self.shared.notes().is_kept(&NoteId::Fact(name.into()))
    }

    /// What the thread holds too, until it has closed the file.
    #[cfg(test)]
    pub(crate) fn into_shared(self) -> Arc<Shared> {
        self.shared
    }

    /// What the store counts.
    pub fn metrics(&self) -> &StoreMetrics {
        &self.metrics
    }
}
