//! Small JSON files of a data directory, one per thing that a process must remember: whom it admitted, whom it was told to
//! refuse, the key it is joining with.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use tracing::error;

use crate::{
    durable::{self, SECRET_MODE},
    private, telemetry,
};

/// Why such a file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file or its directory cannot be read or written.
    #[error("cannot {action} {path}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// It does not say what it should.
    #[error("{path} is damaged; delete it, and what it was for is made anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

fn cannot(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

/// Writes `value` as `dir/name.json`, readable by the owner only, durably: a crash leaves the old file or the new one. Makes
/// the directory if there is none.
pub fn write<T: Serialize>(dir: &Path, name: &str, value: &T) -> Result<(), Error> {
    let path = path(dir, name);
    let text = serde_json::to_vec_pretty(value).expect("plain structs of strings and numbers serialize");
    private::make_dir(dir)
        .and_then(|()| durable::replace(&path, &text, SECRET_MODE))
        .map_err(cannot("write", &path))
}

/// Reads `dir/name.json`; `None` when there is none.
pub fn read<T: DeserializeOwned>(dir: &Path, name: &str) -> Result<Option<T>, Error> {
    let path = path(dir, name);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot("read", &path)(error)),
    };
    serde_json::from_slice(&text).map(Some).map_err(|source| Error::Damaged { path, source })
}

/// The names in `dir`; none when there is no such directory.
pub fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(cannot("read", dir)(error)),
    };
    let entries = entries.collect::<Result<Vec<_>, _>>().map_err(cannot("read", dir))?;
    let files = entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(files.filter_map(|file| file.strip_suffix(".json").map(str::to_owned)).collect())
}

/// Reads `dir/name.json`. One that cannot be read counts as none, which is an error in the log with what follows for the node; one
/// that is damaged is moved aside.
pub fn read_or_set_aside<T: DeserializeOwned>(dir: &Path, name: &str, so: &str) -> Option<T> {
    let error = match read(dir, name) {
        Ok(value) => return value,
        Err(error) => error,
    };
    error!(error = %telemetry::causes(&error), "{so}");
    if matches!(error, Error::Damaged { .. })
        && let Err(error) = set_aside(dir, name)
    {
        error!(error = %telemetry::causes(&error), "cannot move the damaged file aside");
    }
    None
}

/// Moves `dir/name.json` to `dir/name.json.damaged`, for an operator to look at.
fn set_aside(dir: &Path, name: &str) -> Result<(), Error> {
    let path = path(dir, name);
    let aside = dir.join(format!("{name}.json.damaged"));
    fs::rename(&path, aside).map_err(cannot("move aside", &path))
}

/// Removes `dir/name.json`, if it is there.
pub fn remove(dir: &Path, name: &str) -> Result<(), Error> {
    let path = path(dir, name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot("remove", &path)(error)),
        _ => Ok(()),
    }
}

fn path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.json"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_written_is_read_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("made");
        assert_eq!(read::<String>(&dir, "a").unwrap(), None);
        assert!(names(&dir).unwrap().is_empty());
        write(&dir, "a", &"one").unwrap();
        write(&dir, "a", &"two").unwrap();
        assert_eq!(read::<String>(&dir, "a").unwrap().as_deref(), Some("two"));
        assert_eq!(names(&dir).unwrap(), ["a"]);
        assert!(matches!(read::<u64>(&dir, "a"), Err(Error::Damaged { .. })));
        assert_eq!(read_or_set_aside::<String>(&dir, "a", "it is not asked for").as_deref(), Some("two"));
        assert_eq!(read_or_set_aside::<u64>(&dir, "a", "it is made anew"), None);
        assert!(names(&dir).unwrap().is_empty() && dir.join("a.json.damaged").exists());
        remove(&dir, "a").unwrap();
    }

    #[test]
    fn a_leftover_of_a_crash_lends_its_mode_to_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let leftover = dir.path().join(".a.json.new");
        fs::write(&leftover, "half").unwrap();
        fs::set_permissions(&leftover, fs::Permissions::from_mode(0o644)).unwrap();
        write(dir.path(), "a", &"secret").unwrap();
        let mode = fs::metadata(dir.path().join("a.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
