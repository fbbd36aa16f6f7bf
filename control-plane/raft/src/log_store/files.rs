//! The database's files: what is done with them before sled opens them, and how it is told to.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use hanse_process::seeded;

use super::{LogError, records};

/// sled's own default is 1 GiB. Reads mostly come from the tail in memory.
const CACHE_BYTES: u64 = 64 << 20;

/// How often the lock on the files is tried before giving up: sled's threads may hold it a moment after a close, and a
/// process that is being replaced a little longer.
const LOCK_ATTEMPTS: u32 = 40;

/// Between two attempts.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// How a snapshot of sled's is called that is being written.
const TORN: &str = ".generating";

/// The switch that brings back: every snapshot is deleted, also finished ones.
const DELETES_FINISHED_SNAPSHOTS: &str = "delete-finished-sled-snapshots";

/// A torn snapshot makes every open fail; the database does not need it, for the one before it is still there.
pub(super) fn delete_torn_snapshots(dir: &Path) -> Result<(), LogError> {
    for file in fs::read_dir(dir).map_err(io_error("listing", dir))? {
        let file = file.map_err(io_error("listing", dir))?;
        let name = file.file_name();
        let name = name.to_string_lossy();
        let is_torn = name.ends_with(TORN) || seeded(DELETES_FINISHED_SNAPSHOTS);
        if name.starts_with("snap.") && is_torn {
            fs::remove_file(file.path()).map_err(io_error("deleting", &file.path()))?;
        }
    }
    Ok(())
}

pub(super) fn open_sled(dir: &Path) -> Result<sled::Db, LogError> {
    let mut attempt = 1;
    loop {
        let opened = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .segment_size(records::SEGMENT_BYTES)
            .flush_every_ms(None) // every flush is ours, and followed by a sync
            .open();
        match opened {
            Err(sled::Error::Io(error)) if attempt < LOCK_ATTEMPTS && error.to_string().contains("lock") => {
                attempt += 1;
                thread::sleep(LOCK_PAUSE);
            }
            opened => return Ok(opened?),
        }
    }
}

pub(super) fn sync_dir(dir: &Path) -> Result<(), LogError> {
    // An empty path is the working directory.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_error("syncing", dir))
}

pub(super) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
    let path: PathBuf = path.to_owned();
    move |source| LogError::Io { action, path, source }
}
