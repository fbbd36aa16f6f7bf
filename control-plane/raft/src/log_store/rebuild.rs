//! Getting space back. sled never shrinks its file; when most of it is empty, the log is copied into a new one before it
//! is opened.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    LogError,
    disk::Disk,
    files::{io_error, sync_dir},
};
use crate::type_config::NodeId;

/// A smaller file is left alone: it is not worth the time.
pub(super) const MIN_BYTES: u64 = 512 << 20;

/// A file is copied when less than one part in so many of it is in use.
const IN_USE: u64 = 8;

/// Opens the database in `dir` if `check` approves of what was recovered, rebuilt first if it is larger than `min_bytes` and
/// mostly empty.
///
/// A copy under way is called `DIR.rebuilding` and is worth nothing. `DIR.rebuilt` is complete and on the medium. It takes the
/// place of `DIR`, also of one that is whole or partly deleted.
pub(super) fn open(
    dir: &Path,
    owner: NodeId,
    min_bytes: u64,
    check: impl Fn(&Disk) -> Result<(), LogError>,
) -> Result<Disk, LogError> {
    let (rebuilding, rebuilt) = (sibling(dir, ".rebuilding"), sibling(dir, ".rebuilt"));
    remove(&rebuilding)?;
    take_place(&rebuilt, dir)?;
    let disk = Disk::open(dir, owner, &check)?;
    let (file_bytes, live_bytes) = disk.sizes()?;
    if file_bytes < min_bytes || live_bytes > file_bytes / IN_USE {
        return Ok(disk);
    }
    tracing::info!(file_bytes, live_bytes, "rebuilding the log's file");
    let mut copy = Disk::open(&rebuilding, owner, |_| Ok(()))?;
    disk.copy_to(&mut copy)?;
    drop((disk, copy));
    fs::rename(&rebuilding, &rebuilt).map_err(io_error("renaming", &rebuilding))?;
    sync_parent(dir)?;
    take_place(&rebuilt, dir)?;
    Disk::open(dir, owner, check)
}

fn take_place(rebuilt: &Path, dir: &Path) -> Result<(), LogError> {
    if !rebuilt.exists() {
        return Ok(());
    }
    remove(dir)?;
    fs::rename(rebuilt, dir).map_err(io_error("renaming", rebuilt))?;
    sync_parent(dir)
}

fn remove(dir: &Path) -> Result<(), LogError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("deleting", dir)(error)),
        _ => Ok(()),
    }
}

fn sibling(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    dir.with_file_name(name)
}

fn sync_parent(dir: &Path) -> Result<(), LogError> {
    dir.parent().map_or(Ok(()), sync_dir)
}
