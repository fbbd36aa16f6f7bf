//! What the tests of this crate are made of.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI32, Ordering},
    },
};

use bytes::Bytes;
use hanse_proto::{
    store::ScopeHead,
    sync::{Lineage, Position},
};
use hanse_topology::ScopeId;
use redb::{Database, StorageBackend};

use crate::{
    content::{Records, ScopeWrite, StoredRecord, Transaction},
    file::builder,
    key::StoreKey,
    notes::Noted,
    store::StoreOptions,
    tables::Medium,
};

/// A store of `gateway-1` in `dir`, with its key beside it.
pub(crate) fn options(dir: &Path) -> StoreOptions {
    StoreOptions {
        dir: dir.join("store"),
        node: "gateway-1".to_owned(),
        key: StoreKey::File(dir.join("store-key")),
        makes_key: true,
    }
}

pub(crate) fn scope(environment: &str) -> ScopeId {
    format!("runtime/eu-west/{environment}").parse().unwrap()
}

pub(crate) fn head(generation: u64, revision: u64) -> ScopeHead {
    let lineage = Lineage { generation, id: vec![1; 16].into(), ..Default::default() };
    ScopeHead {
        position: Some(Position { lineage: Some(lineage), revision }),
        root: vec![2; 32].into(),
        floor: 1,
        gaps: Vec::new(),
        acknowledged: 0,
        signature: None,
    }
}

/// A last usable version, since revision 4.
pub(crate) fn usable(value: &str) -> Noted {
    Noted { revision: 4, value: Some(Bytes::copy_from_slice(value.as_bytes())) }
}

pub(crate) fn record(key: &str, revision: u64, value: Option<&str>) -> StoredRecord {
    StoredRecord {
        key: key.into(),
        revision,
        value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())),
    }
}

/// One scope at `revision`, with all its records.
pub(crate) fn whole(environment: &str, revision: u64, records: &[StoredRecord]) -> Transaction {
    write(environment, head(1, revision), Records::All(records.to_vec()))
}

/// One scope at `revision`, with those that changed.
pub(crate) fn changed(environment: &str, revision: u64, records: &[StoredRecord]) -> Transaction {
    write(environment, head(1, revision), Records::Changed(records.to_vec()))
}

pub(crate) fn write(environment: &str, head: ScopeHead, records: Records) -> Transaction {
    Transaction { writes: vec![ScopeWrite { scope: scope(environment), head, records }], drops: Vec::new() }
}

/// What a full disk says.
const ENOSPC: i32 = 28;

/// A disk of limited size, in memory, that remembers every step. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct FakeDisk {
    content: Arc<Mutex<Vec<u8>>>,
    steps: Arc<Mutex<Vec<Step>>>,
    /// The error that it gives to writers; 0: none.
    refusal: Arc<AtomicI32>,
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Length(u64),
    Write(u64, Vec<u8>),
    Sync,
}

impl FakeDisk {
    pub(crate) fn new() -> Self {
        Self::with(Vec::new())
    }

    pub(crate) fn with(content: Vec<u8>) -> Self {
        Self { content: Arc::new(Mutex::new(content)), steps: Arc::default(), refusal: Arc::default() }
    }

    /// Steps so far.
    pub(crate) fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap().clone()
    }

    pub(crate) fn content(&self) -> Vec<u8> {
        self.content.lock().unwrap().clone()
    }

    /// The disk is full from now on: nothing is written any more, and nothing grows.
    pub(crate) fn fill(&self) {
        self.refuse(ENOSPC);
    }

    /// Nothing is written from now on: the system gives this error.
    pub(crate) fn refuse(&self, errno: i32) {
        self.refusal.store(errno, Ordering::SeqCst);
    }

    pub(crate) fn make_room(&self) {
        self.refuse(0);
    }

    /// Other content takes the place of the disk's.
    pub(crate) fn replace(&self, content: Vec<u8>) {
        *self.content.lock().unwrap() = content;
    }

    fn check_room(&self) -> std::io::Result<()> {
        match self.refusal.load(Ordering::SeqCst) {
            0 => Ok(()),
            errno => Err(std::io::Error::from_raw_os_error(errno)),
        }
    }

    fn note(&self, step: Step) {
        step.apply(&mut self.content.lock().unwrap());
        self.steps.lock().unwrap().push(step);
    }
}

impl Step {
    pub(crate) fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Length(length) => content.resize(usize::try_from(*length).unwrap(), 0),
            Self::Write(offset, data) => {
                let start = usize::try_from(*offset).unwrap();
                content[start..start + data.len()].copy_from_slice(data);
            }
            Self::Sync => {}
        }
    }
}

impl StorageBackend for FakeDisk {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.content.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        let content = self.content.lock().unwrap();
        let start = usize::try_from(offset).unwrap();
        let from = content.get(start..start + out.len()).ok_or(std::io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(from);
        Ok(())
    }

    fn set_len(&self, length: u64) -> std::io::Result<()> {
        self.check_room()?;
        self.note(Step::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.check_room()?;
        self.note(Step::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.check_room()?;
        self.note(Step::Write(offset, data.to_vec()));
        Ok(())
    }
}

impl Medium for FakeDisk {
    fn open(&self, _path: &Path) -> Result<Database, redb::Error> {
        Ok(builder().create_with_backend(self.clone())?)
    }

    fn read(&self, _path: &Path) -> std::io::Result<Vec<u8>> {
        Ok(self.content())
    }
}
