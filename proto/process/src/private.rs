//! Data directories, and everything in them, for their owner alone: directories 0700, files 0600, with any umask.
//!
//! A process's umask ([`for_owner_only`]) covers the files that databases make, explicit modes cover a library that is used
//! without it, and [`keep_private`] covers what an earlier version, a restored backup or an orchestrator left otherwise.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use nix::{
    fcntl::OFlag,
    sys::stat::{Mode, umask},
};
use tracing::warn;

use crate::durable;

/// A directory is for its owner.
pub const DIR_MODE: u32 = 0o700;
/// A file is for its owner.
pub const FILE_MODE: u32 = 0o600;

/// The permissions that others can have, and the three special bits.
const OTHERS: u32 = 0o7077;

/// From now on every file of this process is its owner's alone. Before any thread starts: the umask is the process's.
pub fn for_owner_only() {
    umask(Mode::from_bits_truncate(0o077));
}

/// Makes a directory, with those above it that are missing, for its owner alone and durably. One that is there stays as it is.
pub fn make_dir(dir: &Path) -> io::Result<()> {
    // The last ancestor of a relative path is empty, and means here.
    let is_missing = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
    let made = dir.ancestors().take_while(is_missing).count();
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)?;
    dir.ancestors().take(made).try_for_each(|dir| durable::sync(durable::parent(dir)))
}

/// Makes a data directory that is there, and everything in it, private. What another user owns cannot be changed: a mount
/// point that an operator or an orchestrator owns (Kubernetes with `fsGroup`) is used as it is, with a warning.
pub fn keep_private(dir: &Path) {
    let mut left = Left::default();
    if let Err(error) = tighten(dir, &mut left) {
        warn!(data_dir = %dir.display(), %error, "cannot see whether the data directory is private");
    }
    if let Some((path, mode, error)) = left.first {
        warn!(
            data_dir = %dir.display(),
            path,
            mode = format!("{mode:o}"),
            others = left.count - 1,
            %error,
            "others may read a part of the data directory, and its permissions cannot be changed: chown it to this user, \
             or see that only this user's group has it"
        );
    }
}

/// What could not be made private.
#[derive(Debug, Default)]
struct Left {
    count: usize,
    first: Option<(String, u32, io::Error)>,
}

/// Never follows a link: what a link points to is not ours to change.
fn tighten(path: &Path, left: &mut Left) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        // A database replaced it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let wanted = match (metadata.is_dir(), metadata.is_file()) {
        (true, _) => DIR_MODE,
        (_, true) => FILE_MODE,
        // A link, a socket, a device: it has nothing of ours in it.
        (false, false) => return Ok(()),
    };
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS != 0
        && let Err(error) = set_mode(path, wanted)
    {
        left.count += 1;
        left.first.get_or_insert_with(|| (path.display().to_string(), mode, error));
    }
    if !metadata.is_dir() {
        return Ok(());
    }
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        // `lost+found` of a mount point: root's.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        tighten(&entry?.path(), left)?;
    }
    Ok(())
}

/// Through a handle that is no link's, so that nothing changes between the look and the act.
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    file.set_permissions(Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn what_is_there_is_made_private_at_any_depth() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("a/data");
        make_dir(&dir).unwrap();
        let deep = dir.join("raft/db");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("conf"), "x").unwrap();
        for (path, open) in [(&dir, 0o2770), (&dir.join("raft"), 0o777), (&deep.join("conf"), 0o666)] {
            fs::set_permissions(path, Permissions::from_mode(open)).unwrap();
        }
        keep_private(&dir);
        for (path, wanted) in
            [(&dir, 0o700), (&dir.join("raft"), 0o700), (&deep, 0o700), (&deep.join("conf"), 0o600)]
        {
            assert_eq!(mode(path), wanted, "{}", path.display());
        }
    }

    #[test]
    fn a_directory_is_made_with_those_above_it_or_stays() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("a/b/c");
        for _ in 0..2 {
            make_dir(&dir).unwrap();
            assert_eq!((mode(&dir), mode(&temporary.path().join("a"))), (0o700, 0o700));
        }
        assert_eq!(durable::parent(Path::new("bare")), Path::new("."));
        assert_eq!(durable::parent(&dir), temporary.path().join("a/b"));
    }

    #[test]
    fn no_link_is_followed() {
        let temporary = tempfile::tempdir().unwrap();
        let (dir, foreign) = (temporary.path().join("data"), temporary.path().join("foreign"));
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("file"), "x").unwrap();
        fs::set_permissions(foreign.join("file"), Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(&foreign, Permissions::from_mode(0o755)).unwrap();
        make_dir(&dir).unwrap();
        symlink(&foreign, dir.join("dir")).unwrap();
        symlink(foreign.join("file"), dir.join("file")).unwrap();
        keep_private(&dir);
        assert_eq!((mode(&foreign), mode(&foreign.join("file"))), (0o755, 0o644));
        assert!(
            set_mode(&dir.join("file"), FILE_MODE).is_err(),
            "not even where it took the place of a file"
        );
    }

    #[test]
    fn a_private_file_is_left_alone() {
        let temporary = tempfile::tempdir().unwrap();
        let file = temporary.path().join("read-only");
        fs::write(&file, "x").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o400)).unwrap();
        keep_private(temporary.path());
        assert_eq!(mode(&file), 0o400);
    }
}
