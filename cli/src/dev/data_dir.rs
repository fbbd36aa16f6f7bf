//! What lies where in the data directory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest as _, Sha256};

use super::{control, own};
use crate::exit::{Exit, Failure};

/// The longest path of a Unix socket that every system takes (108 bytes on Linux, 104 on macOS, with the final zero).
const MAX_SOCKET_PATH: usize = 100;

/// The file that a running federation locks. It is made first of all: a directory that has things in it without this one is
/// not a federation's.
const LOCK: &str = "hanse-dev.lock";

/// The data directory of one federation; an absolute path.
#[derive(Debug, Clone)]
pub(super) struct DataDir(PathBuf);

impl DataDir {
    /// The directory, made if it is not there. It holds keys: no other user may look inside, and nothing in it is another
    /// user's or leads out of it.
    pub(super) fn make(path: &Path) -> anyhow::Result<Self> {
        let making = || format!("making the data directory {}", path.display());
        check_free(path)?;
        own::dir(path)?;
        let dir = Self(path.canonicalize().with_context(making)?);
        own::check_below(dir.path())?;
        dir.lock_file()?;
        for below in [dir.logs(), dir.nodes()] {
            own::dir(&below)?;
        }
        Ok(dir)
    }

    /// The directory of a federation that should run.
    pub(super) fn existing(path: &Path) -> anyhow::Result<Self> {
        let nobody_runs = |_| control::nobody_runs(&Self(path.to_owned()));
        let dir = Self(path.canonicalize().map_err(nobody_runs)?);
        own::check(dir.path())?;
        Ok(dir)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The right to run a federation here, until dropped.
    pub(super) fn lock(&self) -> anyhow::Result<Flock<fs::File>> {
        Flock::lock(self.lock_file()?, FlockArg::LockExclusiveNonblock).map_err(|_| {
            Failure::new(Exit::Conflict, format!("a federation runs in {} already", self.0.display()))
                .remedy("stop it, or give another --data-dir")
                .into()
        })
    }

    fn lock_file(&self) -> anyhow::Result<fs::File> {
        let path = self.0.join(LOCK);
        own::file(&path, fs::OpenOptions::new().write(true))
            .with_context(|| format!("making {}", path.display()))
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.log"))
    }

    /// Where a gateway writes a line per request, if it is to.
    pub(super) fn access_log(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.access.log"))
    }

    pub(super) fn nodes(&self) -> PathBuf {
        self.0.join("nodes")
    }

    pub(super) fn node(&self, name: &str) -> PathBuf {
        self.nodes().join(name)
    }

    /// A node's configuration file.
    pub(super) fn config(&self, name: &str) -> PathBuf {
        self.node(name).join("config.toml")
    }

    /// A node's own data directory.
    pub(super) fn data(&self, name: &str) -> PathBuf {
        self.node(name).join("data")
    }

    pub(super) fn join_token(&self, name: &str) -> PathBuf {
        self.node(name).join("join-token")
    }

    pub(super) fn plan(&self) -> PathBuf {
        self.0.join("plan.json")
    }

    pub(super) fn client(&self) -> PathBuf {
        self.0.join("client.toml")
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.0.join("ca.crt")
    }

    pub(super) fn operator_token(&self) -> PathBuf {
        self.0.join("operator.token")
    }

    /// The control socket: in the directory, or where its path would be too long, among this user's temporary files.
    pub(super) fn socket(&self) -> PathBuf {
        let here = self.0.join("control.sock");
        if here.as_os_str().len() <= MAX_SOCKET_PATH {
            return here;
        }
        let digest = hex::encode(Sha256::digest(self.0.as_os_str().as_encoded_bytes()));
        own::temporary().join(format!("{}.sock", &digest[..16]))
    }
}

/// Refuses a directory with things in it that are no federation's: a first start would make it private and clear it.
fn check_free(path: &Path) -> anyhow::Result<()> {
    if fs::symlink_metadata(path.join(LOCK)).is_ok() {
        return Ok(());
    }
    let is_empty = match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(error).with_context(|| format!("looking into {}", path.display())),
    };
    if is_empty {
        return Ok(());
    }
    let message = format!("{} is not empty, and what is in it is no federation of hanse dev", path.display());
    Err(Failure::new(Exit::Conflict, message).remedy("give another --data-dir, or an empty one").into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_foreign_directory_stays_as_it_is() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path();
        fs::create_dir(path.join("nodes")).unwrap();
        fs::write(path.join("nodes/x"), "kept").unwrap();
        fs::write(path.join("client.toml"), "kept").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        let error = DataDir::make(path).unwrap_err();
        assert_eq!(crate::exit::exit_of(&error), Exit::Conflict);
        assert!(error.to_string().contains("is not empty"), "{error}");
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o755);
        let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["client.toml", "nodes"]);
        for kept in ["nodes/x", "client.toml"] {
            assert_eq!(fs::read_to_string(path.join(kept)).unwrap(), "kept");
        }
    }

    #[test]
    fn an_operators_own_file_does_not_make_a_directory_foreign() {
        let temporary = tempfile::tempdir().unwrap();
        DataDir::make(temporary.path()).unwrap();
        fs::write(temporary.path().join("notes.txt"), "kept").unwrap();
        DataDir::make(temporary.path()).unwrap();
    }

    #[test]
    fn one_federation_a_directory() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::make(&temporary.path().join("a/b")).unwrap();
        let lock = dir.lock().unwrap();
        let refused = dir.lock().unwrap_err();
        assert_eq!(crate::exit::exit_of(&refused), Exit::Conflict);
        drop(lock);
        assert!(dir.lock().is_ok());
        assert!(DataDir::existing(&temporary.path().join("none")).is_err());
    }

    #[test]
    fn sockets_have_short_paths() {
        let deep = DataDir(PathBuf::from(format!("/{}", "x".repeat(200))));
        assert!(deep.socket().as_os_str().len() <= MAX_SOCKET_PATH);
        assert_eq!(DataDir("/d".into()).socket(), Path::new("/d/control.sock"));
    }
}
