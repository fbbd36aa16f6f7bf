//! Replacing a file so that a crash leaves the old content or the new, never a part of either.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// Secrets are for the owner alone.
pub const SECRET_MODE: u32 = 0o600;
/// What is handed to others. In a data directory everything is secret.
pub const PUBLIC_MODE: u32 = 0o644;

/// Writes a temporary file beside the one at `path`, syncs it, renames it and syncs the directory.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let name =
        path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
    // The parent of a bare name is empty, and means here.
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = dir.join(format!(".{}.new", name.display()));
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

/// Makes a directory's entries durable.
pub fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
