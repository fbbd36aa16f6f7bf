//! The database: what lies in which table, and one transaction at a time.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use hanse_proto::{
    store::{ScopeHead, SealedRecord},
    sync::Lineage,
};
use hanse_topology::ScopeId;
use prost::Message as _;
use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction,
};

use crate::{
    content::{Loaded, Records, ScopeWrite, StoredRecord, StoredScope, Transaction},
    key::{self, Key},
    notes::{KeyNote, Note, NoteId, Noted},
    seal::{Place, Sealer},
};

/// The layout of the tables. A file of another is not understood, and is moved aside. So another layout is written only when the three
/// releases before read it already: agents and gateways may step back to them.
const FORMAT: &[u8] = b"1";
/// `format` and `data_key`.
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// Scope → head.
const HEADS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("heads");
/// Scope and key → the key's last change.
const RECORDS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("records");
/// Name → fact.
const FACTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("facts");

impl KeyNote {
    /// What its table goes by.
    fn name(self) -> &'static str {
        match self {
            Self::Usable => "usable",
            Self::Proven => "proven",
            Self::Poisoned => "poisoned",
        }
    }

    /// Scope and key → note.
    fn table(self) -> TableDefinition<'static, (&'static str, &'static str), &'static [u8]> {
        TableDefinition::new(self.name())
    }

    fn place<'a>(self, scope: &'a str, key: &'a str) -> Place<'a> {
        Place { table: self.name(), scope, key, lineage: None }
    }
}

/// What the system says of a sector that it cannot read, or not write any more (the same on all systems).
const EIO: i32 = 5;
/// How often removals that no subscriber needs any more are looked for, per scope: it reads the whole scope.
const SWEEP: Duration = Duration::from_secs(3600);

/// Why the database cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// What is there is no store of this node, or not any more.
    Damaged(String),
    /// The disk, or the key, may be better later.
    Unavailable(String),
    /// The disk refused. What cannot be read then is as good as gone; what can be read may be written later.
    Refused(String),
    /// Another process has it.
    InUse,
    /// The key that opens it is gone. It may be put back.
    KeyLost(String),
}

impl Failure {
    /// What it says, or else `why`.
    pub(crate) fn why_or(self, why: String) -> String {
        match self {
            Self::Damaged(said) | Self::Unavailable(said) | Self::Refused(said) | Self::KeyLost(said) => said,
            Self::InUse => why,
        }
    }
}

impl From<redb::Error> for Failure {
    fn from(error: redb::Error) -> Self {
        use std::io::ErrorKind;
        let said = error.to_string();
        match error {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Self::InUse,
            redb::Error::PreviousIo
            | redb::Error::DatabaseClosed
            | redb::Error::Backend(_)
            | redb::Error::Unsupported => Self::Unavailable(said),
            redb::Error::Io(error) if error.raw_os_error() == Some(EIO) => Self::Refused(said),
            redb::Error::Io(error) => match error.kind() {
                ErrorKind::PermissionDenied => Self::Refused(said),
                ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::IsADirectory => {
                    Self::Damaged(said)
                }
                _ => Self::Unavailable(said),
            },
            _ => Self::Damaged(said),
        }
    }
}

/// Opens a redb file, or in tests something like one.
pub(crate) trait Medium: Send + 'static {
    fn open(&self, path: &std::path::Path) -> Result<Database, redb::Error>;

    /// All of it, as it lies there.
    fn read(&self, path: &std::path::Path) -> std::io::Result<Vec<u8>>;
}

/// What was in the database.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) loaded: Loaded,
    pub(crate) notes: BTreeMap<NoteId, Noted>,
    /// How many notes could not be read.
    pub(crate) lost_notes: usize,
}

impl Found {
    /// Whether some of what was there could not be read.
    pub(crate) fn has_losses(&self) -> bool {
        self.lost_notes > 0 || !self.loaded.lost.is_empty()
    }
}

/// The open database.
pub(crate) struct Tables {
    database: Database,
    sealer: Sealer,
    /// Whether it was made just now.
    pub(crate) is_fresh: bool,
    /// What could not be read and goes with the next transaction.
    garbage: Garbage,
    swept: BTreeMap<ScopeId, Instant>,
}

#[derive(Default)]
struct Garbage {
    scopes: Vec<String>,
    facts: Vec<String>,
    of_keys: Vec<(KeyNote, String, String)>,
}

impl Tables {
    /// Opens the database, made if there is none, and its own key with `outer`.
    pub(crate) fn open(
        medium: &dyn Medium,
        path: &std::path::Path,
        outer: &Key,
        node: &str,
    ) -> Result<Self, Failure> {
        Self::over(medium.open(path)?, outer, node)
    }

    /// As above, of an open database.
    pub(crate) fn over(database: Database, outer: &Key, node: &str) -> Result<Self, Failure> {
        let outer = Sealer::of_store(outer, node);
        let (inner, is_fresh) = match data_key(&database, &outer)? {
            Some(key) => (key, false),
            None => (new_data_key(&database, &outer)?, true),
        };
        let sealer = Sealer::of_store(&inner, node);
        Ok(Self { database, sealer, is_fresh, garbage: Garbage::default(), swept: BTreeMap::new() })
    }

    /// Reads everything.
    pub(crate) fn load(&mut self) -> Result<Found, Failure> {
        let transaction = self.database.begin_read().map_err(redb::Error::from)?;
        let mut found = Found::default();
        let mut garbage = Garbage::default();
        self.load_scopes(&transaction, &mut found, &mut garbage)?;
        self.load_notes(&transaction, &mut found, &mut garbage)?;
        found.lost_notes = garbage.facts.len() + garbage.of_keys.len();
        found.loaded.lost.clone_from(&garbage.scopes);
        self.garbage = garbage;
        Ok(found)
    }

    fn load_scopes(
        &self,
        transaction: &ReadTransaction,
        found: &mut Found,
        garbage: &mut Garbage,
    ) -> Result<(), redb::Error> {
        let records = transaction.open_table(RECORDS)?;
        for entry in transaction.open_table(HEADS)?.iter()? {
            let (name, sealed) = entry?;
            let name = name.value();
            let Some((scope, head)) = self.head(name, sealed.value()) else {
                garbage.scopes.push(name.to_owned());
                continue;
            };
            let lineage = lineage_of(&head).cloned();
            let mut of_scope = Some(Vec::new());
            for entry in records.range((name, "")..(after(name).as_str(), ""))? {
                let (key, sealed) = entry?;
                let record = self.record(name, key.value().1, lineage.as_ref(), sealed.value());
                // One record that cannot be read spoils the scope, but every page of it is looked at.
                of_scope = of_scope.zip(record).map(|(mut records, record)| {
                    records.push(record);
                    records
                });
            }
            match of_scope {
                Some(records) => found.loaded.scopes.push(StoredScope { scope, head, records }),
                None => garbage.scopes.push(name.to_owned()),
            }
        }
        Ok(())
    }

    fn head(&self, name: &str, bytes: &[u8]) -> Option<(ScopeId, ScopeHead)> {
        let head =
            self.open_record(Place { table: "heads", scope: name, ..Place::default() }, bytes)?.value?;
        Some((name.parse().ok()?, ScopeHead::decode(head).ok()?))
    }

    fn record(
        &self,
        scope: &str,
        key: &str,
        lineage: Option<&Lineage>,
        bytes: &[u8],
    ) -> Option<StoredRecord> {
        let place = Place { table: "records", scope, key, lineage };
        let Noted { revision, value } = self.open_record(place, bytes)?;
        Some(StoredRecord { key: Arc::from(key), revision, value })
    }

    fn load_notes(
        &self,
        transaction: &ReadTransaction,
        found: &mut Found,
        garbage: &mut Garbage,
    ) -> Result<(), redb::Error> {
        for entry in transaction.open_table(FACTS)?.iter()? {
            let (name, sealed) = entry?;
            let name = name.value();
            match self.open_record(fact(name), sealed.value()) {
                Some(noted @ Noted { value: Some(_), .. }) => {
                    found.notes.insert(NoteId::Fact(name.into()), noted);
                }
                Some(Noted { value: None, .. }) | None => garbage.facts.push(name.to_owned()),
            }
        }
        for what in KeyNote::ALL {
            self.load_key_notes(what, transaction, found, garbage)?;
        }
        Ok(())
    }

    fn load_key_notes(
        &self,
        what: KeyNote,
        transaction: &ReadTransaction,
        found: &mut Found,
        garbage: &mut Garbage,
    ) -> Result<(), redb::Error> {
        let table = match transaction.open_table(what.table()) {
            // Of an earlier release, which noted no such thing.
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(()),
            table => table?,
        };
        for entry in table.iter()? {
            let (place, sealed) = entry?;
            let (scope, key) = place.value();
            if garbage.scopes.iter().any(|lost| lost == scope) {
                continue; // it goes with its scope
            }
            match (self.open_record(what.place(scope, key), sealed.value()), scope.parse()) {
                (Some(noted), Ok(of)) => {
                    found.notes.insert(NoteId::Key(what, of, key.into()), noted);
                }
                _ => garbage.of_keys.push((what, scope.to_owned(), key.to_owned())),
            }
        }
        Ok(())
    }

    fn open_record(&self, place: Place<'_>, bytes: &[u8]) -> Option<Noted> {
        let record = SealedRecord::decode(bytes).ok()?;
        Some(Noted { revision: record.revision, value: self.sealer.open(place, &record).ok()? })
    }

    /// Keeps all of it, or nothing. `from_scratch`: and nothing else.
    pub(crate) fn apply(
        &mut self,
        content: &Transaction,
        notes: &[Note],
        from_scratch: bool,
    ) -> Result<(), Failure> {
        let transaction = self.database.begin_write().map_err(redb::Error::from)?;
        self.write(&transaction, content, notes, from_scratch)?;
        transaction.commit().map_err(redb::Error::from)?;
        self.garbage = Garbage::default();
        Ok(())
    }

    fn write(
        &mut self,
        transaction: &WriteTransaction,
        content: &Transaction,
        notes: &[Note],
        from_scratch: bool,
    ) -> Result<(), redb::Error> {
        if from_scratch {
            transaction.delete_table(HEADS)?;
            transaction.delete_table(RECORDS)?;
            transaction.delete_table(FACTS)?;
            for what in KeyNote::ALL {
                transaction.delete_table(what.table())?;
            }
            make_tables(transaction)?;
        }
        let dropped = content.drops.iter().map(ScopeId::to_string);
        for scope in dropped.chain(self.garbage.scopes.iter().cloned()) {
            transaction.open_table(HEADS)?.remove(scope.as_str())?;
            clear(transaction, RECORDS, &scope)?;
            for what in KeyNote::ALL {
                clear(transaction, what.table(), &scope)?;
            }
        }
        for write in &content.writes {
            self.write_scope(transaction, write)?;
        }
        // What speaks of a scope that goes would outlive it.
        let goes = |scope: &ScopeId| {
            content.drops.contains(scope) && !content.writes.iter().any(|write| write.scope == *scope)
        };
        let stays = |(id, _): &&Note| !matches!(id, NoteId::Key(_, scope, _) if goes(scope));
        self.write_notes(transaction, notes.iter().filter(stays))
    }

    fn write_scope(&mut self, transaction: &WriteTransaction, write: &ScopeWrite) -> Result<(), redb::Error> {
        let name = write.scope.to_string();
        let records = match &write.records {
            Records::Changed(records) => records,
            Records::All(records) => {
                clear(transaction, RECORDS, &name)?;
                self.swept.insert(write.scope.clone(), Instant::now());
                records
            }
        };
        let lineage = lineage_of(&write.head);
        let mut table = transaction.open_table(RECORDS)?;
        for StoredRecord { key, revision, value } in records {
            let place = Place { table: "records", scope: &name, key, lineage };
            let sealed = self.sealer.seal(place, *revision, value.as_deref());
            table.insert((name.as_str(), &**key), sealed.encode_to_vec().as_slice())?;
        }
        if write.head.floor > 0 && self.swept.get(&write.scope).is_none_or(|at| at.elapsed() > SWEEP) {
            self.swept.insert(write.scope.clone(), Instant::now());
            let needed = |sealed: &[u8]| {
                SealedRecord::decode(sealed)
                    .map_or(true, |record| !record.removed || record.revision > write.head.floor)
            };
            let end = after(&name);
            table.retain_in((name.as_str(), "")..(end.as_str(), ""), |_, sealed| needed(sealed))?;
        }
        let revision = write.head.position.as_ref().map_or(0, |position| position.revision);
        let place = Place { table: "heads", scope: &name, ..Place::default() };
        let sealed = self.sealer.seal(place, revision, Some(&write.head.encode_to_vec()));
        transaction.open_table(HEADS)?.insert(name.as_str(), sealed.encode_to_vec().as_slice())?;
        Ok(())
    }

    fn write_notes<'n>(
        &self,
        transaction: &WriteTransaction,
        notes: impl Iterator<Item = &'n Note>,
    ) -> Result<(), redb::Error> {
        let mut facts = transaction.open_table(FACTS)?;
        for name in &self.garbage.facts {
            facts.remove(name.as_str())?;
        }
        for (what, scope, key) in &self.garbage.of_keys {
            transaction.open_table(what.table())?.remove((scope.as_str(), key.as_str()))?;
        }
        let seal = |place: Place<'_>, noted: &Noted| {
            self.sealer.seal(place, noted.revision, noted.value.as_deref()).encode_to_vec()
        };
        for (id, value) in notes {
            match (id, value) {
                (NoteId::Fact(name), Some(value)) => {
                    facts.insert(&**name, seal(fact(name), value).as_slice())?;
                }
                (NoteId::Fact(name), None) => drop(facts.remove(&**name)?),
                (NoteId::Key(what, scope, key), value) => {
                    let scope = scope.to_string();
                    let mut table = transaction.open_table(what.table())?;
                    match value {
                        Some(value) => {
                            let sealed = seal(what.place(&scope, key), value);
                            table.insert((scope.as_str(), &**key), sealed.as_slice())?;
                        }
                        None => drop(table.remove((scope.as_str(), &**key))?),
                    }
                }
            }
        }
        Ok(())
    }
}

/// Reading expects every table to be there.
fn make_tables(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(HEADS)?;
    transaction.open_table(RECORDS)?;
    transaction.open_table(FACTS)?;
    for what in KeyNote::ALL {
        transaction.open_table(what.table())?;
    }
    Ok(())
}

/// Removes what a table has of a scope.
fn clear(
    transaction: &WriteTransaction,
    table: TableDefinition<'_, (&str, &str), &[u8]>,
    scope: &str,
) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(table)?;
    table.retain_in((scope, "")..(after(scope).as_str(), ""), |_, _| false)?;
    Ok(())
}

/// The string after `text` and after no other.
fn after(text: &str) -> String {
    format!("{text}\0")
}

fn fact(name: &str) -> Place<'_> {
    Place { table: "facts", key: name, ..Place::default() }
}

fn lineage_of(head: &ScopeHead) -> Option<&Lineage> {
    head.position.as_ref()?.lineage.as_ref()
}

const DATA_KEY: Place<'static> = Place { table: "meta", scope: "", key: "data_key", lineage: None };

/// The store's own key; `None` in a database that was made just now.
fn data_key(database: &Database, outer: &Sealer) -> Result<Option<Key>, Failure> {
    let value = |name: &str| read_meta(database, name);
    let Some(format) = value("format")? else { return Ok(None) };
    let sealed = value("data_key")?.unwrap_or_default();
    if format != FORMAT {
        let format = String::from_utf8_lossy(&format).into_owned();
        return Err(Failure::Damaged(format!("its format is {format:?}, which this version does not know")));
    }
    let opened = SealedRecord::decode(&*sealed).ok().and_then(|record| outer.open(DATA_KEY, &record).ok()?);
    let key = opened.and_then(|key| Key::try_from(&*key).ok());
    let why = "the key that store_key names does not open it, or it is another node's";
    key.map(Some).ok_or_else(|| Failure::Damaged(why.to_owned()))
}

/// A value beside the tables; `None` in a database that was made just now.
fn read_meta(database: &Database, name: &str) -> Result<Option<Vec<u8>>, redb::Error> {
    let meta = match database.begin_read()?.open_table(META) {
        Ok(meta) => meta,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(Some(meta.get(name)?.map(|value| value.value().to_vec()).unwrap_or_default()))
}

/// Makes all tables and a key for them.
fn new_data_key(database: &Database, outer: &Sealer) -> Result<Key, Failure> {
    let key = key::random();
    let write = || -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        let sealed = outer.seal(DATA_KEY, 0, Some(&key)).encode_to_vec();
        {
            let mut meta = transaction.open_table(META)?;
            meta.insert("format", FORMAT)?;
            meta.insert("data_key", sealed.as_slice())?;
        }
        make_tables(&transaction)?;
        Ok(transaction.commit()?)
    };
    write()?;
    Ok(key)
}
