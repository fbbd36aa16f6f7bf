//! A node's data directory: who it is and what it still has to do on its first start.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use hanse_identity::{Authority, KeyDir, KeyPair, RecoveryPairs, TrustAnchor};
use hanse_process::{WallClock, durable, private};
use hanse_raft::{LOG_DIR, WITNESS_FILE};
use hanse_state::RecoveryKey;
use rand::Rng;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use time::OffsetDateTime;

use crate::{Config, Error, control, roots::RootKey, secrets::KeyFiles};

/// Directory of the root's certificate and key, below the PKI directory. Operators move it away once all control nodes
/// have joined.
const ROOT_DIR: &str = "root";
/// Directory of the recovery pairs, below the PKI directory. `init` writes them, and operators move them away with the root.
const RECOVERY_DIR: &str = "recovery";
/// Directory of the versions of the federation key, below the PKI directory.
const KEYS_DIR: &str = "keys";
/// The root's certificate, for clients.
const ROOT_CERTIFICATE: &str = "root.crt";

/// Who this node is in the Raft group. A node that lost its disk joins as another one, with another id: under its old id
/// it could vote twice in one term.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct NodeFile {
    pub(crate) id: u64,
}

/// What the first start of a new control plane writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BootstrapFile {
    /// The lineage's random id, 32 hexadecimal digits.
    pub(crate) lineage: String,
    /// `sha256:…` of the first operator's token.
    pub(crate) operator_digest: String,
    /// The public keys of the recovery pairs.
    pub(crate) recovery: RecoveryFile,
}

/// The public keys of the recovery pairs, DER (SubjectPublicKeyInfo) as hexadecimal digits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RecoveryFile {
    pub(crate) sign: String,
    pub(crate) wrap: String,
}

impl RecoveryFile {
    pub(crate) fn of(pairs: &RecoveryPairs) -> Self {
        let hex = |pair: &KeyPair| hex::encode(pair.public_key_der());
        Self { sign: hex(&pairs.sign), wrap: hex(&pairs.wrap) }
    }

    /// The recovery key; `None`: it is damaged.
    pub(crate) fn read(&self) -> Option<RecoveryKey> {
        Some(RecoveryKey { sign: hex::decode(&self.sign).ok()?, wrap: hex::decode(&self.wrap).ok()? })
    }
}

/// Where a joining node finds the group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct JoinFile {
    /// Raft addresses of the members known when it joined.
    pub(crate) members: Vec<String>,
}

impl NodeFile {
    /// A new random id. 53 bits, so that every JSON reader keeps it whole.
    pub(crate) fn random() -> Self {
        Self { id: rand::rng().random_range(1..1 << 53) }
    }
}

/// The keys of a new node.
pub(crate) struct Keys {
    /// Its control intermediate.
    pub(crate) control: Authority,
    /// The root, where this node made it.
    pub(crate) root: Option<Authority>,
    /// What all members trust.
    pub(crate) anchor: TrustAnchor,
}

impl Keys {
    /// Writes them below the node's PKI directory, the control intermediate into `dir`.
    pub(crate) fn save(&self, config: &Config, dir: &KeyDir) -> Result<(), Error> {
        if let Some(root) = &self.root {
            root.save(config.pki_dir().join(ROOT_DIR))?;
        }
        let path = roots_file(config);
        durable::replace(&path, self.anchor.to_pem().as_bytes(), durable::SECRET_MODE)
            .map_err(Error::file("write", path))?;
        // Last: its presence says that the node is made.
        Ok(self.control.save(dir)?)
    }
}

/// Where an operator puts the root's key for as long as it is needed.
pub(crate) fn root_key(config: &Config, clock: &WallClock) -> RootKey {
    RootKey { dir: config.pki_dir().join(ROOT_DIR), clock: clock.clone() }
}

/// Where an operator puts the recovery pairs for as long as they are needed.
pub(crate) fn recovery_dir(config: &Config) -> PathBuf {
    config.pki_dir().join(RECOVERY_DIR)
}

/// Where the versions of the federation key are kept, sealed as the private key in `control` is.
pub(crate) fn key_files(config: &Config, control: &KeyDir) -> KeyFiles {
    KeyFiles::new(control.beside(config.pki_dir().join(KEYS_DIR)))
}

/// Where clients find the roots' certificates.
pub(crate) fn roots_file(config: &Config) -> PathBuf {
    config.pki_dir().join(ROOT_CERTIFICATE)
}

/// Makes the data directory, or refuses one that is in use.
pub(crate) fn make(config: &Config) -> Result<(), Error> {
    if is_made(config) {
        return Err(Error::AlreadyMade(config.data_dir.clone()));
    }
    let dir = config.pki_dir();
    private::make_dir(&dir).map_err(Error::file("make", dir))?;
    // Where the operator made it, or an earlier try.
    private::keep_private(&config.data_dir);
    Ok(())
}

/// Whether the data directory has a node, or what is left of one. A node keeps its id for life, and its log knows that: what is
/// left of one is of no use to another.
fn is_made(config: &Config) -> bool {
    control::is_made(config) || [LOG_DIR, WITNESS_FILE].iter().any(|name| config.data_dir.join(name).exists())
}

/// Refuses a data directory without a node. Its keys need not be readable.
pub(crate) fn check_made(config: &Config) -> Result<(), Error> {
    if is_made(config) { Ok(()) } else { Err(Error::NotMade(config.data_dir.clone())) }
}

/// Where the node's id is kept.
pub(crate) fn node_file(config: &Config) -> std::path::PathBuf {
    config.data_dir.join("node.json")
}

/// Who this node is.
pub(crate) fn node(config: &Config) -> Result<NodeFile, Error> {
    read_json(&node_file(config))?.ok_or_else(|| Error::NotMade(config.data_dir.clone()))
}

/// Whether this node has founded a control plane or been added to one: nothing is left of what `init` or `join` left to do.
pub(crate) fn is_member(config: &Config) -> bool {
    !config.bootstrap_file().exists() && !config.join_file().exists()
}

/// Keeps the node's keys for one process, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "it is closed when it is dropped")] fs::File);

/// Locks the node's keys. A node has the lock from the opening of its private key until it votes and serves no more, and a
/// command while it replaces keys. A node that waits, for its `store_key` or because its log is damaged, does not have it.
pub(crate) fn lock(config: &Config) -> Result<Lock, Error> {
    // The directory itself: no file has to be made for it, on a disk that may be full.
    let dir = config.pki_dir();
    let file = match fs::File::open(&dir) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::NotMade(config.data_dir.clone()));
        }
        Err(error) => return Err(Error::file("open", dir)(error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(fs::TryLockError::WouldBlock) => Err(Error::Running(config.data_dir.clone())),
        Err(fs::TryLockError::Error(error)) => Err(Error::file("lock", dir)(error)),
    }
}

/// The same place under a name of its own, `PATH.aside-TIME`.
fn aside_of(path: &Path) -> PathBuf {
    let now = OffsetDateTime::now_utc();
    let (date, time) = (now.date(), now.time());
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(
        ".aside-{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
    ));
    aside.into()
}

/// Keeps the files of a directory, which are replaced and never written to, under a name of its own, `DIR.aside-TIME`, and returns
/// that. The directory stays as it is.
pub(crate) fn copy_aside(dir: &Path) -> Result<PathBuf, Error> {
    let aside = aside_of(dir);
    let copied = (|| {
        private::make_dir(&aside)?;
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            fs::hard_link(entry.path(), aside.join(entry.file_name()))?;
        }
        durable::sync(&aside)
    })();
    copied.map_err(Error::file("keep a copy of the old key in", &aside))?;
    Ok(aside)
}

/// Puts the log, the snapshots and the witness under a name of their own, `raft.aside-TIME`, and returns that.
pub(crate) fn set_log_aside(config: &Config) -> Result<PathBuf, Error> {
    let aside = aside_of(&config.data_dir.join(LOG_DIR));
    let absent_is_fine = |moved: io::Result<()>| match moved {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    let moved = (|| {
        fs::create_dir(&aside)?;
        // The log first: a witness without a log is noticed at the next start, a log without a witness is not.
        absent_is_fine(fs::rename(config.data_dir.join(LOG_DIR), aside.join(LOG_DIR)))?;
        fs::File::open(&config.data_dir)?.sync_all()?;
        absent_is_fine(fs::rename(config.data_dir.join(WITNESS_FILE), aside.join(WITNESS_FILE)))?;
        fs::File::open(&aside)?.sync_all()?;
        fs::File::open(&config.data_dir)?.sync_all()
    })();
    moved.map_err(Error::file("set the log aside in", &aside))?;
    Ok(aside)
}

/// Writes `value` durably: a crash leaves the old file or the new one.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(value).expect("plain structs of strings and numbers serialize");
    durable::replace(path, &text, durable::SECRET_MODE).map_err(Error::file("write", path))
}

/// Reads a file of the data directory; `None` when there is none.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file("read", path)(error)),
    };
    serde_json::from_slice(&text).map(Some).map_err(|source| Error::Damaged { path: path.into(), source })
}

/// Removes a file that has served its purpose.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    let removed = fs::remove_file(path)
        .and_then(|()| fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all());
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests;
