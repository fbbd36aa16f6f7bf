//! What is this user's own: nothing is written through a link, and nothing of another user is used.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use hanse_process::private::{DIR_MODE, FILE_MODE, make_dir};
use nix::{fcntl::OFlag, unistd::geteuid};

use crate::exit::{Exit, Failure};

/// Makes a directory for this user alone. One that is there must be this user's, and no link.
pub(super) fn dir(path: &Path) -> anyhow::Result<()> {
    let making = || format!("making {}", path.display());
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_dir(parent).with_context(making)?;
    }
    match fs::DirBuilder::new().create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error).with_context(making),
        _ => {}
    }
    let metadata = fs::symlink_metadata(path).with_context(making)?;
    check_entry(path, &metadata)?;
    if !metadata.is_dir() {
        return Err(foreign(path, "is no directory").into());
    }
    // No link: only this user, or root, can put one here now.
    fs::set_permissions(path, Permissions::from_mode(DIR_MODE)).with_context(making)
}

/// Checks that what is there is this user's, and no link.
pub(super) fn check(path: &Path) -> anyhow::Result<()> {
    let metadata = fs::symlink_metadata(path).with_context(|| format!("looking at {}", path.display()))?;
    Ok(check_entry(path, &metadata)?)
}

/// Checks everything below a directory: a link, or what another user owns, is refused with its path.
pub(super) fn check_below(dir: &Path) -> anyhow::Result<()> {
    let looking = || format!("looking into {}", dir.display());
    for entry in fs::read_dir(dir).with_context(looking)? {
        let path = entry.with_context(looking)?.path();
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            // A process of a killed federation is still going, and takes its files away.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(looking),
        };
        check_entry(&path, &metadata)?;
        if metadata.is_dir() {
            check_below(&path)?;
        }
    }
    Ok(())
}

fn check_entry(path: &Path, metadata: &fs::Metadata) -> Result<(), Failure> {
    if metadata.file_type().is_symlink() {
        return Err(foreign(path, "is a symbolic link"));
    }
    if metadata.uid() != geteuid().as_raw() {
        return Err(foreign(path, "belongs to another user"));
    }
    Ok(())
}

fn foreign(path: &Path, what: &str) -> Failure {
    Failure::new(Exit::Conflict, format!("{} {what}", path.display()))
        .remedy("remove it, or give another --data-dir")
}

/// Opens a file of this user's for writing, made if absent. Nothing in it is cut off, and no link is followed.
pub(super) fn file(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.create(true).mode(FILE_MODE).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)
}

/// Where this user's federations keep what must not lie in one of their data directories, in the directory for temporary
/// files. Others can write there too: use it through [`dir`] only.
pub(super) fn temporary() -> PathBuf {
    std::env::temp_dir().join(format!("hanse-dev-{}", geteuid()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn refused(result: anyhow::Result<()>, path: &Path) {
        let error = result.unwrap_err();
        assert_eq!(crate::exit::exit_of(&error), Exit::Conflict);
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }

    #[test]
    fn links_are_refused_wherever_they_are() {
        let temporary = tempfile::tempdir().unwrap();
        let (own, foreign) = (temporary.path().join("own"), temporary.path().join("foreign"));
        dir(&own.join("a/b")).unwrap();
        assert_eq!(fs::metadata(own.join("a")).unwrap().mode() & 0o777, 0o700);
        check_below(&own).unwrap();
        fs::write(&foreign, "kept").unwrap();
        for planted in [own.join("a/b/link"), own.join("dangling")] {
            symlink(&foreign, &planted).unwrap();
            refused(check_below(&own), &planted);
            assert!(file(&planted, OpenOptions::new().write(true)).is_err());
            refused(dir(&planted), &planted);
            fs::remove_file(planted).unwrap();
        }
        assert_eq!(fs::read_to_string(&foreign).unwrap(), "kept");
        refused(dir(&foreign), &foreign);
    }

    #[test]
    fn what_another_user_owns_is_refused() {
        // The root directory is root's; tests run as root find another user's in none of the usual places.
        let metadata = fs::symlink_metadata("/").unwrap();
        let outcome = check_entry(Path::new("/"), &metadata);
        assert_eq!(outcome.is_err(), !geteuid().is_root(), "{outcome:?}");
        if geteuid().is_root() {
            let temporary = tempfile::tempdir().unwrap();
            let theirs = temporary.path().join("theirs");
            fs::write(&theirs, "kept").unwrap();
            std::os::unix::fs::chown(&theirs, Some(12_345), None).unwrap();
            refused(check_below(temporary.path()), &theirs);
        }
    }

    #[test]
    fn a_file_is_opened_as_it_is() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("lock");
        fs::write(&path, "kept").unwrap();
        file(&path, OpenOptions::new().write(true)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
    }
}
