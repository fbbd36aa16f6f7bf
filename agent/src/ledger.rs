//! Small JSON files, one per token or gateway: what the agent must remember about admission.

use std::{fs, io::Write, path::Path};

use serde::{Serialize, de::DeserializeOwned};

use crate::Error;

/// Writes `value` as `dir/name.json`, readable by the owner only, durably: a crash leaves the old file or the new one.
pub(crate) fn write<T: Serialize>(dir: &Path, name: &str, value: &T) -> Result<(), Error> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = dir.join(format!("{name}.json"));
    let fresh = dir.join(format!("{name}.new"));
    let text = serde_json::to_vec_pretty(value).expect("plain structs of strings and numbers serialize");
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(dir)?;
        let mut file =
            fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        fs::File::open(dir)?.sync_all()
    };
    write().map_err(Error::file("write", path.clone()))
}

/// Reads `dir/name.json`; `None` when there is none.
pub(crate) fn read<T: DeserializeOwned>(dir: &Path, name: &str) -> Result<Option<T>, Error> {
    let path = dir.join(format!("{name}.json"));
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file("read", path)(error)),
    };
    serde_json::from_slice(&text).map(Some).map_err(|source| Error::Damaged { path, source })
}

/// The names in `dir`; none when there is no such directory.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("read", dir)(error)),
    };
    let files = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(files.filter_map(|file| file.strip_suffix(".json").map(str::to_owned)).collect())
}

/// Moves `dir/name.json` to `dir/name.json.damaged`, for somebody to look at.
pub(crate) fn set_aside(dir: &Path, name: &str) -> Result<(), Error> {
    let path = dir.join(format!("{name}.json"));
    let aside = dir.join(format!("{name}.json.damaged"));
    fs::rename(&path, aside).map_err(Error::file("move aside", path))
}

/// Removes `dir/name.json`, if it is there.
pub(crate) fn remove(dir: &Path, name: &str) -> Result<(), Error> {
    let path = dir.join(format!("{name}.json"));
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", path)(error)),
        _ => Ok(()),
    }
}
