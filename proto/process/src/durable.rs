//! Replacing a file so that a crash leaves the old content or the new, never a part of either.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Secrets are for the owner alone.
pub const SECRET_MODE: u32 = 0o600;
/// What is handed to others. In a data directory everything is secret.
pub const PUBLIC_MODE: u32 = 0o644;

/// Writes a temporary file beside the one at `path`, syncs it, renames it and syncs the directory.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    if path.file_name().is_none() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it names no file"));
    }
    let dir = parent(path);
    let temporary = temporary(path);
    // A leftover of a crash may have any mode; a new file has ours from its first byte.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync(dir)
}

/// The file beside the one at `path` that [`replace`] writes first. A crash may leave it.
pub fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    path.with_file_name(format!(".{}.new", name.display()))
}

/// The directory that has an entry for this path. The parent of a bare name is empty, and means here.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a directory's entries durable.
pub fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
