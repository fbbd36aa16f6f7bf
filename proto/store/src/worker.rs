//! The thread that owns the file: no other thread waits for the disk.

use std::{
    mem,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use crate::{
    content::{Loaded, Transaction},
    file::{Opened, StoreFile, guarded},
    notes::{Note, Notes},
    store::{CommitError, Shared, StoreInUse},
    tables::{Failure, Found, Tables},
};

/// How long a start waits for a store that another process still has, or whose disk or key is not there yet: what a
/// predecessor needs to end, or a volume to be mounted, and little enough that a gateway without its disk serves soon.
const OPEN_PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts to open it.
const OPEN_PAUSE: Duration = Duration::from_millis(100);

/// Something to keep, and whom to tell.
pub(crate) struct Job {
    pub(crate) content: Transaction,
    pub(crate) notes: Vec<Note>,
    pub(crate) done: oneshot::Sender<Result<(), CommitError>>,
}

pub(crate) struct Worker {
    /// `None`: to be opened again. First, so that the file is closed before its owner can see that the worker is gone.
    tables: Option<Tables>,
    file: StoreFile,
    shared: Arc<Shared>,
    /// The file may hold other content than the writer believes: the next transaction replaces it all.
    unknown: bool,
    failing: bool,
    /// What was in the file was given out, or was written here. Content that no reader has seen is not overwritten.
    is_seen: bool,
}

impl Worker {
    pub(crate) fn new(file: StoreFile, shared: Arc<Shared>) -> Self {
        Self { file, shared, tables: None, unknown: true, failing: false, is_seen: false }
    }

    /// Opens the store, says what was in it, and then keeps what it is given until all senders are gone.
    pub(crate) fn run(
        mut self,
        opened: oneshot::Sender<Result<Loaded, StoreInUse>>,
        mut jobs: mpsc::Receiver<Job>,
    ) {
        let first = self.open_first();
        let in_use = first.is_err();
        if opened.send(first).is_err() || in_use {
            return;
        }
        while let Some(Job { content, notes, done }) = jobs.blocking_recv() {
            let outcome = self.commit(&content, &notes);
            self.tell(&outcome);
            // The caller may have been told to stop.
            let _ = done.send(outcome);
        }
    }

    fn open_first(&mut self) -> Result<Loaded, StoreInUse> {
        let data = self.file.dir.parent().unwrap_or(&self.file.dir);
        if self.file.key.lies_in(data) {
            warn!(
                data_dir = %data.display(),
                "store_key lies in the data directory: whoever has a copy of that can open the store; move it elsewhere"
            );
        }
        let began = Instant::now();
        loop {
            let failure = match self.file.open() {
                Ok(Opened { tables, found, .. }) => {
                    self.tables = Some(tables);
                    self.file.metrics.writable.set(1);
                    return Ok(self.take_in(found));
                }
                Err(failure @ Failure::Unavailable(_)) => match self.file.read() {
                    Ok(found) => {
                        // Noted and said. What is to be kept is tried on the file that opens later.
                        let _ = self.failed(failure);
                        return Ok(self.take_in(found));
                    }
                    Err(_) => failure,
                },
                Err(failure) => failure,
            };
            if began.elapsed() > OPEN_PATIENCE {
                if failure == Failure::InUse {
                    return Err(StoreInUse(self.file.dir.clone()));
                }
                match self.failed(failure) {
                    CommitError::Emptied => continue,
                    // What is to be kept is tried on the file that opens later.
                    CommitError::Unavailable(_) => return Ok(Loaded::default()),
                }
            }
            thread::sleep(OPEN_PAUSE);
        }
    }

    fn take_in(&mut self, found: Found) -> Loaded {
        self.unknown = false;
        self.is_seen = true;
        *self.shared.notes() = Notes::loaded(found.notes);
        found.loaded
    }

    fn commit(&mut self, content: &Transaction, notes: &[Note]) -> Result<(), CommitError> {
        let mut tables = self.take_tables()?;
        match guarded(|| tables.apply(content, notes, self.unknown)) {
            Ok(()) => {
                self.tables = Some(tables);
                self.unknown = false;
                self.is_seen = true;
                let mut shared = self.shared.notes();
                shared.are_kept(notes);
                content.drops.iter().for_each(|scope| shared.forget_scope(scope));
                Ok(())
            }
            Err(failure) => {
                let closed = guarded(|| {
                    drop(tables);
                    Ok(())
                });
                if let Err(failure) = closed {
                    error!(?failure, "closing the store panicked");
                }
                Err(self.failed(failure))
            }
        }
    }

    /// The open database, opened again after a failure.
    fn take_tables(&mut self) -> Result<Tables, CommitError> {
        if let Some(tables) = self.tables.take() {
            return Ok(tables);
        }
        let mut opened = self.file.open().map_err(|failure| self.failed(failure))?;
        if !opened.is_fresh && !self.is_seen {
            drop(opened); // closed before it moves
            let again = self.file.move_unseen_aside().and_then(|()| self.file.open());
            opened = again.map_err(|failure| self.failed(failure))?;
        }
        let Opened { tables, found, is_fresh } = opened;
        // Changes alone would make a hollow scope of one that was lost.
        if (is_fresh || found.has_losses()) && !self.unknown {
            self.tables = Some(tables);
            self.unknown = true;
            self.shared.notes().all_dirty();
            return Err(CommitError::Emptied);
        }
        Ok(tables)
    }

    /// What a failure means to the caller.
    fn failed(&mut self, failure: Failure) -> CommitError {
        let why = match failure {
            Failure::InUse => "another process has it".to_owned(),
            Failure::Unavailable(why) => why,
            Failure::Refused(why) if self.file.reads_well() => why,
            // What was in the store is in memory, and the key may be away with its disk for a moment: no other is made now.
            Failure::KeyLost(why) if self.is_seen => why,
            Failure::KeyLost(why) => match self.file.move_keyless_aside(&why) {
                Ok(()) => return self.emptied(),
                Err(failure) => failure.why_or(why),
            },
            Failure::Damaged(why) | Failure::Refused(why) => match self.file.move_aside(&why) {
                Ok(()) => return self.emptied(),
                Err(failure) => failure.why_or(why),
            },
        };
        self.file.metrics.failures.inc();
        self.file.metrics.writable.set(0);
        if !mem::replace(&mut self.failing, true) {
            error!(
                why, store = %self.file.dir.display(),
                "the store cannot be written; going on from memory and trying again: a restart now comes back with less"
            );
        }
        CommitError::Unavailable(why)
    }

    fn emptied(&mut self) -> CommitError {
        self.unknown = true;
        self.shared.notes().all_dirty();
        CommitError::Emptied
    }

    fn tell(&mut self, outcome: &Result<(), CommitError>) {
        if outcome.is_ok() {
            self.file.metrics.commits.inc();
            self.file.metrics.writable.set(1);
            if mem::take(&mut self.failing) {
                info!(store = %self.file.dir.display(), "the store can be written again");
            }
        }
    }
}
