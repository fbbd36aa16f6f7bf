//! The store's file. A file that is of no use is moved aside, and an empty one takes its place.

use std::{
    any::Any,
    fs, io,
    ops::Range,
    os::unix::fs::DirBuilderExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use redb::{Builder, Database, StorageBackend};
use tracing::error;

use crate::{
    key::{Key, KeyError, StoreKey},
    metrics::StoreMetrics,
    tables::{Failure, Found, Medium, Tables},
};

const FILE: &str = "store.redb";
/// Says how often in a row opening the store did not come to an end.
const ATTEMPTS: &str = "opening";
/// After so many attempts that did not even fail, the file is taken for what ended the process. Fewer would throw away good
/// files of processes that were killed while they started.
const MAX_ATTEMPTS: u32 = 3;
const DAMAGED: &str = "damaged-";
/// Stores whose key is gone. It may be put back.
const KEYLESS: &str = "keyless-";
/// Stores that read well and were not there in time. Never removed.
const UNSEEN: &str = "unseen-";
/// Damaged files, and keyless ones, that are kept for an operator who wants to know what happened. A container that keeps its data and
/// not its key loses that at every start.
const KEPT: usize = 3;
/// What redb may keep in memory. Everything is in the replicas anyhow; this serves the writing.
const CACHE_BYTES: usize = 16 << 20;

/// A redb file on disk.
pub(crate) struct Disk;

impl Medium for Disk {
    fn open(&self, path: &Path) -> Result<Database, redb::Error> {
        Ok(builder().create(path)?)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }
}

/// A copy of a file, to be read where the file itself cannot be opened: that writes a little.
#[derive(Debug)]
struct Copy(Mutex<Vec<u8>>);

impl Copy {
    fn content(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn range(offset: u64, length: usize) -> io::Result<Range<usize>> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        Ok(start..start.checked_add(length).ok_or(io::ErrorKind::UnexpectedEof)?)
    }
}

impl StorageBackend for Copy {
    fn len(&self) -> io::Result<u64> {
        u64::try_from(self.content().len()).map_err(io::Error::other)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let range = Self::range(offset, out.len())?;
        out.copy_from_slice(self.content().get(range).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.content().resize(usize::try_from(length).map_err(io::Error::other)?, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let range = Self::range(offset, data.len())?;
        self.content().get_mut(range).ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(data);
        Ok(())
    }
}

/// Every page is checked before anything is believed: the whole content is about to be read anyhow.
pub(crate) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// Where a node's store lies, and what opens it.
pub(crate) struct StoreFile {
    pub(crate) dir: PathBuf,
    pub(crate) node: String,
    pub(crate) key: StoreKey,
    /// Whether a key file that is gone is made anew.
    pub(crate) makes_key: bool,
    pub(crate) medium: Box<dyn Medium>,
    pub(crate) metrics: StoreMetrics,
}

/// An open store with what was in it.
pub(crate) struct Opened {
    pub(crate) tables: Tables,
    pub(crate) found: Found,
    /// Whether it is empty because it is new.
    pub(crate) is_fresh: bool,
}

impl StoreFile {
    /// Opens the store; an empty one if what is there cannot be used.
    pub(crate) fn open(&self) -> Result<Opened, Failure> {
        let key = self.load_key()?;
        let mut dir = fs::DirBuilder::new();
        let made = dir.recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|error| self.unavailable("make", &error))?;
        let mut attempts = self.attempts();
        if attempts >= MAX_ATTEMPTS {
            self.move_aside(&format!("opening it ended this process {attempts} times"))?;
            attempts = 0;
        }
        self.note_attempts(attempts + 1);
        let opened = match self.try_open(&key) {
            Err(Failure::Refused(why)) if self.reads_well() => Err(Failure::Unavailable(why)),
            Err(Failure::Damaged(why) | Failure::Refused(why)) => self.move_aside(&why).and_then(|()| {
                self.try_open(&key).map_err(|failure| match failure {
                    // A new file that is damaged at once: the disk's fault.
                    Failure::Damaged(why) | Failure::Refused(why) => Failure::Unavailable(why),
                    other => other,
                })
            }),
            other => other,
        };
        self.note_attempts(if opened.is_ok() { 0 } else { attempts });
        opened
    }

    fn try_open(&self, key: &Key) -> Result<Opened, Failure> {
        let (tables, found) = guarded(|| {
            let mut tables = Tables::open(&*self.medium, &self.path(), key, &self.node)?;
            let found = tables.load()?;
            Ok((tables, found))
        })?;
        self.tell_losses(&found);
        let is_fresh = tables.is_fresh;
        Ok(Opened { tables, found, is_fresh })
    }

    fn load_key(&self) -> Result<Key, Failure> {
        let is_sealed = self.path().try_exists().unwrap_or(true);
        let key = if self.makes_key && !is_sealed { self.key.load_or_make() } else { self.key.load() };
        key.map_err(|error| match error {
            KeyError::Lost(_) if self.makes_key => Failure::KeyLost(causes(&error)),
            KeyError::Lost(_) | KeyError::File { .. } | KeyError::Variable(_) | KeyError::NoKey(_) => {
                Failure::Unavailable(causes(&error))
            }
        })
    }

    /// What is in the file, where it cannot be opened because that would write: a full disk, a file system that became
    /// read-only. Nothing is moved aside for it.
    pub(crate) fn read(&self) -> Result<Found, Failure> {
        let found = self.read_copy()?;
        self.tell_losses(&found);
        Ok(found)
    }

    /// Whether there is something in the file that can be read.
    pub(crate) fn reads_well(&self) -> bool {
        self.read_copy().is_ok()
    }

    fn read_copy(&self) -> Result<Found, Failure> {
        let key = self.load_key()?;
        let content = self.medium.read(&self.path()).map_err(|error| self.unavailable("read", &error))?;
        if content.is_empty() {
            return Err(Failure::Unavailable("there is nothing in it".to_owned()));
        }
        guarded(|| {
            let copy = Copy(Mutex::new(content));
            let database = builder()
                .create_with_backend(copy)
                .map_err(|error| Failure::from(redb::Error::from(error)))?;
            Tables::over(database, &key, &self.node)?.load()
        })
    }

    fn tell_losses(&self, found: &Found) {
        for scope in &found.loaded.lost {
            error!(scope, "a stored scope cannot be read; it is fetched again");
            self.metrics.lost("scope");
        }
        if found.lost_notes > 0 {
            error!(notes = found.lost_notes, "parts of the store cannot be read");
            self.metrics.lost("note");
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    fn attempts(&self) -> u32 {
        let text = fs::read_to_string(self.dir.join(ATTEMPTS)).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    /// Best effort: it only guards against a file that takes the process down.
    fn note_attempts(&self, attempts: u32) {
        let path = self.dir.join(ATTEMPTS);
        let _ = if attempts == 0 { fs::remove_file(path) } else { fs::write(path, attempts.to_string()) };
    }

    /// Makes room for an empty store, and says so to whom it may concern.
    pub(crate) fn move_aside(&self, why: &str) -> Result<(), Failure> {
        self.metrics.lost("file");
        let aside = self.aside(DAMAGED);
        error!(
            why, path = %self.path().display(), aside = %aside.display(),
            "the store cannot be used; starting with an empty one, what was in it is fetched again"
        );
        self.rename_to(&aside)?;
        self.remove_oldest(DAMAGED);
        Ok(())
    }

    /// Keeps a store whose key is gone, for an operator to put back.
    pub(crate) fn move_keyless_aside(&self, why: &str) -> Result<(), Failure> {
        self.metrics.lost("file");
        let aside = self.aside(KEYLESS);
        error!(
            why, path = %self.path().display(), aside = %aside.display(),
            "the key to the store is gone; starting with a new key and an empty store, what was in it is fetched again. To go \
             back to it, stop this node, put the key back and that file in its place and start again"
        );
        self.rename_to(&aside)?;
        self.remove_oldest(KEYLESS);
        Ok(())
    }

    /// Keeps a good store that could be opened only when the node had begun without it: for an operator to put back.
    pub(crate) fn move_unseen_aside(&self) -> Result<(), Failure> {
        let aside = self.aside(UNSEEN);
        error!(
            path = %self.path().display(), aside = %aside.display(),
            "the disk or store_key came too late to start with the store; it is kept aside, and an empty one is filled. To go \
             back to it, stop this node, move that file back and start again"
        );
        self.rename_to(&aside)
    }

    /// A name that is free, and sorts after those of before.
    fn aside(&self, prefix: &str) -> PathBuf {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let stem = format!("{prefix}{seconds:012}-");
        let taken = self.set_aside(&stem).into_iter().next_back();
        let last = taken.and_then(|name| name.strip_prefix(&stem)?.get(..4)?.parse::<u32>().ok());
        self.dir.join(format!("{stem}{:04}.redb", last.map_or(0, |last| last + 1)))
    }

    /// The names of files kept aside, in order.
    fn set_aside(&self, prefix: &str) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> = names.filter(|name| name.starts_with(prefix)).collect();
        names.sort();
        names
    }

    fn rename_to(&self, aside: &Path) -> Result<(), Failure> {
        match fs::rename(self.path(), aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.unavailable("move aside", &error))
            }
            _ => Ok(()),
        }
    }

    fn remove_oldest(&self, prefix: &str) {
        for name in self.set_aside(prefix).iter().rev().skip(KEPT) {
            let _ = fs::remove_file(self.dir.join(name));
        }
    }

    fn unavailable(&self, action: &str, error: &io::Error) -> Failure {
        Failure::Unavailable(format!("cannot {action} {}: {error}", self.dir.display()))
    }
}

/// Takes a panic for damage: redb's checks are thorough, and a file is not trusted more than them.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Failure::Damaged(said(&*panic))))
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panic: {}", text.unwrap_or("without a word"))
}

/// An error with its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
