//! The database together with its witness, and the order in which the two are written.
//!
//! What grows (vote, purge, entries) is in the log first and then in the witness, and in both before it is acknowledged: the
//! witness never promises what the log does not hold. What shrinks (a truncation) is taken from the witness first.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

use hanse_process::seeded;

use super::{
    LogError, LogPlace,
    disk::{Disk, LogSummary},
    rebuild,
    witness::{self, Witness, WitnessFile},
};
use crate::type_config::{Entry, LogId, Vote};

/// The synced witness may be this many entries behind the log: so many could go unnoticed if a loss of power also damaged
/// the log. Two syncs for that many appends, which need one each, are no burden.
pub(super) const SYNC_AFTER_ENTRIES: u64 = 256;

/// It is synced this long after it fell behind, so that a log with few appends is not far behind for long.
const SYNC_AFTER: Duration = Duration::from_secs(1);

/// The switch that brings back: a log that holds less than was witnessed is used.
const IGNORES_WITNESS: &str = "ignore-log-witness";

/// The open database with its witness.
pub(super) struct Witnessed {
    disk: Disk,
    witness: WitnessFile,
    /// Since when the synced witness has been behind the log.
    behind_since: Option<Instant>,
}

impl Witnessed {
    /// Opens what is at `place`, made if absent, and holds it against its witness. The database is rebuilt first if it is
    /// larger than `min_bytes` and mostly empty. A log without a witness, as older versions left it, gets one.
    pub(super) fn open(place: &LogPlace, min_bytes: u64) -> Result<Self, LogError> {
        let known = witness::read(&place.witness)?;
        if let Some(known) = known.filter(|known| known.owner != place.owner) {
            return Err(LogError::Foreign { found: known.owner, expected: place.owner });
        }
        let check = |found: &Disk| check(place, known, found);
        // sled panics where it finds what it never wrote.
        let opened =
            catch_unwind(AssertUnwindSafe(|| rebuild::open(&place.dir, place.owner, min_bytes, check)));
        let disk = opened.unwrap_or_else(|panic| Err(panicked(panic.as_ref())))?;
        let witness = WitnessFile::create(&place.witness, Witness::of(place.owner, disk.summary()))?;
        Ok(Self { disk, witness, behind_since: None })
    }

    /// The database's file.
    pub(super) fn path(&self) -> &Path {
        self.disk.path()
    }

    pub(super) fn summary(&self) -> &LogSummary {
        self.disk.summary()
    }

    pub(super) fn read(&self, start: u64, end: u64, max_bytes: usize) -> Result<Vec<Entry>, LogError> {
        self.disk.read(start, end, max_bytes)
    }

    /// Writes entries at the log's end. Durable when it returns.
    pub(super) fn append(&mut self, entries: &[Entry]) -> Result<(), LogError> {
        self.disk.append(entries)?;
        self.witness.raise_mark(self.disk.summary().last)?;
        self.behind_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    pub(super) fn save_vote(&mut self, vote: Vote) -> Result<(), LogError> {
        self.disk.save_vote(vote)?;
        if Some(witness::place(vote)) > self.witness.synced().vote {
            self.sync()?;
        }
        Ok(())
    }

    pub(super) fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), LogError> {
        self.disk.save_committed(committed)
    }

    /// Removes the entries from `index` on. Durable when it returns.
    pub(super) fn truncate(&mut self, index: u64) -> Result<(), LogError> {
        // The mark too: it may be higher on the medium than the synced end is.
        let witnessed = entries(self.witness.synced().last).max(entries(self.witness.mark()));
        if witnessed > index {
            let last = index.checked_sub(1).map(|end| self.disk.log_id(end)).transpose()?.flatten();
            self.witness.write(Witness { last, ..*self.witness.synced() })?;
        }
        self.disk.truncate(index)?;
        self.behind_since = None;
        Ok(())
    }

    /// Notes that the entries up to `upto` are gone. Durable when it returns.
    pub(super) fn purge(&mut self, upto: LogId) -> Result<(), LogError> {
        self.disk.purge(upto)?;
        if self.disk.summary().purged.map(|purged| purged.index) > self.witness.synced().purged {
            // A witness that promises less is no harm, and a purge that fails ends the node: it is synced soon after.
            if let Err(error) = self.sync() {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the log's witness cannot be written now"
                );
                self.behind_since.get_or_insert_with(Instant::now);
            }
        }
        Ok(())
    }

    /// How long it may still wait until the witness is synced; `None`: there is nothing to sync.
    pub(super) fn sync_due(&self) -> Option<Duration> {
        let since = self.behind_since?;
        let unsynced = entries(self.summary().last).saturating_sub(entries(self.witness.synced().last));
        if unsynced >= SYNC_AFTER_ENTRIES {
            return Some(Duration::ZERO);
        }
        Some(SYNC_AFTER.saturating_sub(since.elapsed()))
    }

    /// Brings the witness up to the log. Durable when it returns.
    pub(super) fn sync(&mut self) -> Result<(), LogError> {
        // Also when it fails: it is tried again after a while, not at every turn.
        self.behind_since = self.behind_since.map(|_| Instant::now());
        let owner = self.witness.synced().owner;
        self.witness.write(Witness::of(owner, self.disk.summary()))?;
        self.behind_since = None;
        Ok(())
    }

    pub(super) fn must_sweep(&self) -> bool {
        self.disk.must_sweep()
    }

    pub(super) fn sweep(&mut self) -> Result<(), LogError> {
        self.disk.sweep()
    }

    pub(super) fn mark_unwritten(&self) -> bool {
        self.disk.mark_unwritten()
    }

    pub(super) fn write_mark(&mut self) -> Result<(), LogError> {
        self.disk.write_mark()
    }
}

/// Entries up to the last one, purged ones too.
fn entries(last: Option<LogId>) -> u64 {
    last.map_or(0, |last| last.index + 1)
}

/// Whether what was recovered may be used.
fn check(place: &LogPlace, known: Option<Witness>, disk: &Disk) -> Result<(), LogError> {
    let found = disk.summary();
    let missing = match known {
        None => String::new(),
        Some(known) => {
            let at_last = known.last.map(|last| disk.log_id(last.index)).transpose()?.flatten();
            known.missing_in(found, at_last)
        }
    };
    if seeded(IGNORES_WITNESS) {
        return Ok(());
    }
    if !missing.is_empty() {
        return Err(LogError::Damaged(missing));
    }
    if let Some(owner) = found.owner.filter(|owner| *owner != place.owner) {
        return Err(LogError::Foreign { found: owner, expected: place.owner });
    }
    if place.is_member && found.last.is_none() {
        return Err(LogError::Damaged(format!("it is empty, and node {} is a member already", place.owner)));
    }
    Ok(())
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> LogError {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    LogError::Damaged(format!("the database panicked: {}", text.unwrap_or("no reason given")))
}
