//! Copies of a log: changed as a crash or a disk would, opened as the product opens them, and judged.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use openraft::{RaftLogReader, storage::RaftLogStorage};

use super::{
    super::{
        LogError, LogPlace, LogStore, records,
        witness::{MARK_AT, MARK_BYTES},
        witnessed::SYNC_AFTER_ENTRIES,
    },
    Dice,
    frozen::copy_dir,
    ledger::{Found, Ledger},
    life::{MOST_AT_ONCE, OWNER},
};

/// Bytes of the header of a segment of sled's.
const SEGMENT_HEADER: u64 = 20;

/// What is done to a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    None,
    /// A snapshot of sled's was being written.
    TornSnapshot,
    /// The end of the newest segment is gone.
    CutEnd,
    /// So is what the witness had not synced.
    CutEndAfterPowerLoss,
}

/// What came of a copy that did not fall short.
pub(super) struct Verdict {
    /// The log said that it is damaged.
    pub(super) is_damaged: bool,
}

/// Opens a copy of `copy` after a change, and says what it lacks.
pub(super) fn verdict(
    copy: &Path,
    change: Change,
    ledger: &Ledger,
    dice: &mut Dice,
) -> Result<Verdict, String> {
    let dir = copy.with_extension("changed");
    let _ = fs::remove_dir_all(&dir);
    copy_dir(copy, &dir);
    let place = LogPlace::new(&dir, OWNER);
    let mut held = ledger.held.clone();
    match change {
        Change::None => {}
        Change::TornSnapshot => tear_snapshot(&place.dir),
        Change::CutEnd => cut_end(&place.dir, dice),
        Change::CutEndAfterPowerLoss => {
            cut_end(&place.dir, dice);
            forget_mark(&place.witness);
            // What the synced witness may be behind.
            held = held.without_last(SYNC_AFTER_ENTRIES + MOST_AT_ONCE);
        }
    }
    let found = match open(&place) {
        Ok(found) => found,
        Err(LogError::Damaged(_)) if matches!(change, Change::CutEnd | Change::CutEndAfterPowerLoss) => {
            return Ok(Verdict { is_damaged: true });
        }
        Err(error) => return Err(error.to_string()),
    };
    match held.lacking_in(&found, ledger.pending) {
        None => Ok(Verdict { is_damaged: false }),
        Some(lacking) => Err(lacking),
    }
}

/// Opens a log as the product does, reads all of it, and closes it.
pub(super) fn open(place: &LogPlace) -> Result<Found, LogError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut store = LogStore::open(place)?;
        let state = store.get_log_state().await.unwrap();
        let found = Found {
            vote: store.read_vote().await.unwrap(),
            purged: state.last_purged_log_id.map(|log_id| log_id.index),
            entries: store.try_get_log_entries(..).await.unwrap(),
        };
        store.close().await;
        Ok(found)
    })
}

/// Adds half of the newest snapshot under the name of one that is being written.
fn tear_snapshot(dir: &Path) {
    let snapshots = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let newest: Option<PathBuf> = snapshots
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("snap."))
        .filter(|path| path.extension().is_none_or(|extension| extension != "generating"))
        .max();
    let content = newest.map_or_else(Vec::new, |newest| fs::read(newest).unwrap());
    fs::write(dir.join(format!("snap.{:016X}.generating", u64::MAX)), &content[..content.len() / 2]).unwrap();
}

/// Zeroes the newest segment from some point in what was written of it.
fn cut_end(dir: &Path, dice: &mut Dice) {
    let file = fs::File::options().read(true).write(true).open(dir.join("db")).unwrap();
    let length = file.metadata().unwrap().len();
    let segment = records::SEGMENT_BYTES as u64;
    let lsn = |offset: u64| {
        let mut header = [0; SEGMENT_HEADER as usize];
        file.read_exact_at(&mut header, offset).ok()?;
        let lsn = i64::from_le_bytes(header[4..12].try_into().ok()?) ^ i64::MAX;
        (lsn >= 0 && lsn % segment as i64 == 0).then_some((lsn, offset))
    };
    let offsets = (0..length.div_ceil(segment)).map(|number| number * segment);
    let Some((_, newest)) = offsets.filter_map(lsn).max() else { return };
    let mut content = vec![0; usize::try_from(segment.min(length - newest)).unwrap()];
    file.read_exact_at(&mut content, newest).unwrap();
    let written = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
    // The header stays: a segment without one is another matter.
    let from = SEGMENT_HEADER + dice.throw(written.saturating_sub(SEGMENT_HEADER).max(1));
    let from = usize::try_from(from).unwrap().min(content.len());
    content[from..].fill(0);
    file.write_all_at(&content, newest).unwrap();
}

fn forget_mark(witness: &Path) {
    let file = fs::File::options().write(true).open(witness).unwrap();
    file.write_all_at(&[0; MARK_BYTES], MARK_AT).unwrap();
}
