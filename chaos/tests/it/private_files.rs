//! Data directories are for their owner alone, and `hanse dev` touches nothing that is not its own.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

use anyhow::{Result, ensure};
use hanse_chaos::Federation;
use nix::sys::stat::{Mode, umask};

/// Runs with a umask that hides nothing. Process tests run one at a time.
fn with_open_umask<T>(what: impl FnOnce() -> T) -> T {
    let before = umask(Mode::empty());
    let done = what();
    umask(before);
    done
}

/// Every path below, with its permissions and whether it is a directory. Sockets are said to be files.
fn modes(dir: &Path, into: &mut Vec<(String, u32, bool)>) -> Result<()> {
    let metadata = fs::symlink_metadata(dir)?;
    let mode = metadata.permissions().mode() & 0o7777;
    into.push((dir.display().to_string(), mode, metadata.is_dir()));
    if metadata.is_dir() {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            // Databases replace files while we look.
            if let Err(error) = modes(&path, into)
                && path.exists()
            {
                return Err(error);
            }
        }
    }
    Ok(())
}

fn check_private(dir: &Path) -> Result<Vec<String>> {
    let mut seen = Vec::new();
    modes(dir, &mut seen)?;
    let open: Vec<_> = seen.iter().filter(|(_, mode, _)| mode & 0o7077 != 0).collect();
    ensure!(open.is_empty(), "others may look into {open:?}");
    Ok(seen.into_iter().map(|(path, ..)| path).collect())
}

fn loosen(dir: &Path) -> Result<()> {
    let metadata = fs::symlink_metadata(dir)?;
    if metadata.is_dir() {
        for entry in fs::read_dir(dir)? {
            loosen(&entry?.path())?;
        }
        fs::set_permissions(dir, Permissions::from_mode(0o2777))?;
    } else if metadata.is_file() {
        fs::set_permissions(dir, Permissions::from_mode(0o666))?;
    }
    Ok(())
}

#[test]
fn every_file_of_every_role_is_its_owners_alone() -> Result<()> {
    let federation =
        with_open_umask(|| Federation::start(&["--control-nodes", "1", "--regions", "1", "--access-log"]))?;
    federation.apply("kind: Plan\nname: written\nspec: {}\n")?;
    let seen = check_private(&federation.data_dir())?;
    for role in ["cp-1", "agent-eu-west", "gateway-eu-west"] {
        let here = |what: &str| seen.iter().any(|path| path.contains(&format!("{role}/data/{what}")));
        ensure!(here("pki") && here("store/store.redb"), "nothing to look at of {role} in {seen:?}");
    }
    ensure!(seen.iter().any(|path| path.contains("raft") && path.ends_with("/db")), "no log in {seen:?}");

    // A backup that was put back, or an earlier version.
    let data = federation.data_dir();
    let mut federation = federation;
    federation.stop()?;
    for node in fs::read_dir(data.join("nodes"))? {
        loosen(&node?.path().join("data")).or_else(|error| match error.downcast_ref::<std::io::Error>() {
            Some(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
    }
    with_open_umask(|| federation.resume())?;
    check_private(&data)?;
    Ok(())
}

/// Runs `hanse dev` in a directory where something is planted; it must refuse, name it, and leave the target alone.
fn refused(plant: impl FnOnce(&Path, &Path) -> Result<std::path::PathBuf>) -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let (data, foreign) = (temporary.path().join("data"), temporary.path().join("foreign"));
    fs::write(&foreign, "kept")?;
    fs::set_permissions(&foreign, Permissions::from_mode(0o644))?;
    let planted = plant(&data, &foreign)?;
    let output = Command::new(hanse_chaos::binary()?)
        .args(["dev", "--control-nodes", "1", "--regions", "1", "--data-dir"])
        .arg(&data)
        .env("TMPDIR", temporary.path())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "it started");
    ensure!(said.contains(&planted.display().to_string()), "{} is not named: {said}", planted.display());
    ensure!(fs::read_to_string(&foreign)? == "kept", "it was cut off");
    ensure!(fs::metadata(&foreign)?.permissions().mode() & 0o777 == 0o644, "its mode was changed");
    Ok(())
}

#[test]
fn dev_refuses_links_and_what_is_not_its_own() -> Result<()> {
    refused(|data, foreign| {
        symlink(foreign.parent().unwrap_or(foreign), data)?;
        Ok(data.to_owned())
    })?;
    /// A directory of a federation, so far.
    fn own(data: &Path) -> Result<()> {
        fs::create_dir(data)?;
        Ok(fs::write(data.join("hanse-dev.lock"), "")?)
    }
    for name in ["dev.json.new", "plan.json", "logs", "control.sock"] {
        refused(|data, foreign| {
            own(data)?;
            symlink(foreign, data.join(name))?;
            Ok(data.join(name))
        })?;
    }
    refused(|data, foreign| {
        fs::create_dir(data)?;
        symlink(foreign, data.join("hanse-dev.lock"))?;
        Ok(data.join("hanse-dev.lock"))
    })?;
    refused(|data, foreign| {
        own(data)?;
        fs::create_dir(data.join("logs"))?;
        symlink(foreign, data.join("logs/cp-1.log"))?;
        Ok(data.join("logs/cp-1.log"))
    })?;
    if nix::unistd::geteuid().is_root() {
        refused(|data, _| {
            own(data)?;
            std::os::unix::fs::chown(data.join("hanse-dev.lock"), Some(12_345), None)?;
            Ok(data.join("hanse-dev.lock"))
        })?;
    }
    Ok(())
}

#[test]
fn dev_follows_no_link_in_the_temporary_directory() -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let foreign = temporary.path().join("foreign");
    fs::create_dir(&foreign)?;
    // Every port that it could lock, as the version before named them, and as this one does.
    for (dir, suffix) in [("hanse-dev-ports-", ""), ("hanse-dev-", "")] {
        symlink(&foreign, temporary.path().join(format!("{dir}{}{suffix}", nix::unistd::geteuid())))?;
    }
    for port in [7443, 7444, 7445, 7446, 7449, 7460, 7470, 8080, 8443, 9000] {
        fs::write(foreign.join(port.to_string()), "kept")?;
    }
    let federation =
        Federation::start_with_temporary(temporary.path(), &["--control-nodes", "1", "--regions", "1"])?;
    drop(federation);
    for file in fs::read_dir(&foreign)? {
        let path = file?.path();
        ensure!(fs::read_to_string(&path)? == "kept", "{} was cut off or made", path.display());
    }
    Ok(())
}
