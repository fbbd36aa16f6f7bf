//! The directory of snapshots: one current file, replaced by rename, and temporary files.

use std::{
    fs::{self, File},
    io::{self, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hanse_state::UnknownVersion;
use parking_lot::Mutex;

use super::{Applied, snapshot_file};
use crate::type_config::{Snapshot, SnapshotMeta};

/// The current snapshot's file.
const CURRENT: &str = "state.snapshot";
/// How files that are not yet, or no longer, of use end.
const TEMPORARY: &str = ".tmp";

/// Why a snapshot could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file system refused.
    #[error("reading or writing a snapshot failed")]
    Io(#[from] io::Error),
    /// The file is not what was written.
    #[error("the snapshot is damaged: {0}")]
    Damaged(String),
    /// The records in it make no state.
    #[error("the snapshot holds no state")]
    State(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It is of a version that this build does not know.
    #[error(transparent)]
    Version(#[from] UnknownVersion),
    /// The process is shutting down.
    #[error("the snapshot was interrupted")]
    Interrupted(#[source] tokio::task::JoinError),
}

/// A snapshot as openraft hands it around: an open file, unaffected by newer snapshots.
#[derive(Debug, Default)]
pub(crate) struct SnapshotData {
    file: Option<Arc<File>>,
    length: u64,
    /// Of a received snapshot: its content, and its place in our directory.
    received: Option<(Box<Applied>, TemporaryFile)>,
}

impl SnapshotData {
    /// Bytes of the file.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The file, for reading at offsets.
    pub(crate) fn file(&self) -> Option<Arc<File>> {
        self.file.clone()
    }
}

/// The directory. It and the current file are kept open, so that a process without descriptors can still read and replace
/// them.
#[derive(Debug)]
pub(crate) struct Snapshots {
    dir: PathBuf,
    open_dir: File,
    current: Mutex<Option<(SnapshotMeta, Arc<File>)>>,
    temporary_files: AtomicU64,
    arrivals: AtomicU64,
}

impl Snapshots {
    /// Opens the directory, made if absent, and reads the current snapshot. Deletes what a crash left half written.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Option<Applied>), SnapshotError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        for file in fs::read_dir(dir)? {
            let file = file?;
            if file.file_name().to_string_lossy().ends_with(TEMPORARY) {
                fs::remove_file(file.path())?;
            }
        }
        let (current, applied) = match File::open(dir.join(CURRENT)) {
            Ok(file) => {
                let (meta, applied) = snapshot_file::read(&file)?;
                (Some((meta, Arc::new(file))), Some(applied))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, None),
            Err(error) => return Err(error.into()),
        };
        let snapshots = Self {
            dir: dir.to_owned(),
            open_dir: File::open(dir)?,
            current: Mutex::new(current),
            temporary_files: AtomicU64::new(0),
            arrivals: AtomicU64::new(0),
        };
        snapshots.sync_dir()?;
        Ok((snapshots, applied))
    }

    /// Puts a current snapshot that cannot be read out of the way, keeping it for people to look at.
    pub(crate) fn set_aside(dir: &Path) -> io::Result<PathBuf> {
        let aside = dir.join(format!("{CURRENT}.damaged"));
        fs::rename(dir.join(CURRENT), &aside)?;
        Ok(aside)
    }

    /// The current snapshot.
    pub(crate) fn current(&self) -> Result<Option<Snapshot>, SnapshotError> {
        let Some((meta, file)) = self.current.lock().clone() else { return Ok(None) };
        let length = file.metadata()?.len();
        let data = SnapshotData { file: Some(file), length, received: None };
        Ok(Some(Snapshot { meta, snapshot: Box::new(data) }))
    }

    /// Writes a snapshot of `applied` and makes it current, unless a newer one became current meanwhile; returns the
    /// current one.
    pub(crate) fn build(&self, applied: &Applied) -> Result<Snapshot, SnapshotError> {
        let meta = applied.meta();
        let mut temporary = self.temporary_file()?;
        snapshot_file::write(&temporary.file, &meta, applied.state.to_records())?;
        self.publish(&mut temporary, meta)?;
        let current = self.current()?;
        current.ok_or_else(|| SnapshotError::Damaged("it vanished as soon as it was written".to_owned()))
    }

    /// Notes that a part of a snapshot arrived.
    pub(crate) fn note_arrival(&self) {
        self.arrivals.fetch_add(1, Ordering::Relaxed);
    }

    /// How many parts arrived since the directory was opened.
    pub(crate) fn arrivals(&self) -> u64 {
        self.arrivals.load(Ordering::Relaxed)
    }

    /// A place to receive a snapshot in.
    pub(crate) fn begin_receiving(&self) -> Result<Incoming, SnapshotError> {
        Ok(Incoming { temporary: self.temporary_file()? })
    }

    /// Makes a snapshot current, unless a newer one is, and returns its content. After a failure it can be tried again.
    pub(crate) fn install(&self, data: &mut SnapshotData) -> Result<Applied, SnapshotError> {
        if data.received.is_none() {
            let file = data.file.as_deref();
            let mut file = file.ok_or_else(|| SnapshotError::Damaged("nothing was received".to_owned()))?;
            let temporary = self.temporary_file()?;
            file.seek(SeekFrom::Start(0))?;
            io::copy(&mut file, &mut &*temporary.file)?;
            temporary.file.sync_all()?;
            data.received = Some((Box::new(snapshot_file::read(&temporary.file)?.1), temporary));
        }
        let Some((applied, temporary)) = &mut data.received else {
            return Err(SnapshotError::Damaged("nothing was received".to_owned()));
        };
        self.publish(temporary, applied.meta())?;
        Ok((**applied).clone())
    }

    fn publish(&self, temporary: &mut TemporaryFile, meta: SnapshotMeta) -> Result<(), SnapshotError> {
        let mut current = self.current.lock();
        if current.as_ref().is_some_and(|(current, _)| current.last_log_id > meta.last_log_id) {
            tracing::info!(%meta, "a newer snapshot is there already");
            return Ok(());
        }
        temporary.persist(&self.dir.join(CURRENT))?;
        self.sync_dir()?;
        *current = Some((meta, temporary.file.clone()));
        Ok(())
    }

    fn temporary_file(&self) -> Result<TemporaryFile, SnapshotError> {
        let number = self.temporary_files.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("{number}{TEMPORARY}"));
        let file =
            File::options().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        Ok(TemporaryFile { file: Arc::new(file), path: Some(path) })
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.open_dir.sync_all()
    }
}

/// A snapshot on its way in.
#[derive(Debug)]
pub(crate) struct Incoming {
    temporary: TemporaryFile,
}

impl Incoming {
    /// Adds the next bytes. Blocks.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        Ok((&*self.temporary.file).write_all(bytes)?)
    }

    /// Checks that all of it arrived and can be read. Durable, but not current, when it returns.
    pub(crate) fn finish(self, length: u64) -> Result<Snapshot, SnapshotError> {
        let Self { temporary } = self;
        temporary.file.sync_all()?;
        let received = temporary.file.metadata()?.len();
        if received != length {
            return Err(SnapshotError::Damaged(format!("{received} of {length} bytes arrived")));
        }
        let (meta, applied) = snapshot_file::read(&temporary.file)?;
        let data = SnapshotData { file: None, length, received: Some((Box::new(applied), temporary)) };
        Ok(Snapshot { meta, snapshot: Box::new(data) })
    }
}

/// A file that is deleted when dropped, unless it was made to stay.
#[derive(Debug)]
struct TemporaryFile {
    file: Arc<File>,
    path: Option<PathBuf>,
}

impl TemporaryFile {
    /// Does nothing where it has been done.
    fn persist(&mut self, to: &Path) -> io::Result<()> {
        if let Some(path) = &self.path {
            fs::rename(path, to)?;
            self.path = None;
        }
        Ok(())
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // If it stays, the next open deletes it.
            let _ = fs::remove_file(path);
        }
    }
}
