//! Wall clocks of nodes, set while they run. libfaketime (Debian package `faketime`) stands between a node and the system's
//! clock, and reads from a file by how much the node's is off. Monotonic time is left alone, as it is where a clock is set.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The library for programs with threads, below `/usr/lib/ARCHITECTURE`.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";
/// The file is read again after so many seconds: each look at the clock would read it otherwise.
const READ_AGAIN_S: &str = "1";

/// What this machine lacks for setting clocks, if anything, and what to do about it.
pub fn missing() -> Option<String> {
    library().is_none().then(|| "libfaketime is missing: apt-get install faketime".to_owned())
}

fn library() -> Option<PathBuf> {
    let architectures = fs::read_dir("/usr/lib").ok()?.flatten();
    architectures.map(|dir| dir.path().join(LIBRARY)).find(|path| path.exists())
}

/// The words before a program whose clock this file sets.
pub(crate) fn command(file: &Path) -> Result<Vec<String>> {
    let library = library().context("libfaketime is missing: apt-get install faketime")?;
    // Not in the environment of `ip` and `prlimit`, which come before.
    Ok(vec![
        "env".to_owned(),
        format!("LD_PRELOAD={}", library.display()),
        format!("FAKETIME_TIMESTAMP_FILE={}", file.display()),
        format!("FAKETIME_CACHE_DURATION={READ_AGAIN_S}"),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        "NO_FAKE_STAT=1".to_owned(),
    ])
}

/// Writes by how many seconds the clock is off. A reader sees the old number or the new one.
pub(crate) fn write(file: &Path, seconds: i64) -> io::Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, format!("{seconds:+}\n"))?;
    fs::rename(&new, file)
}

/// Removes what a killed process leaves of libfaketime's shared memory: another one of that id would stumble over it.
pub(crate) fn forget(process: u32) {
    for name in [format!("faketime_shm_{process}"), format!("sem.faketime_sem_{process}")] {
        // It is gone where the process ended by itself.
        let _ = fs::remove_file(Path::new("/dev/shm").join(name));
    }
}

/// By how much the clock that dated this line of a log is ahead of the machine's, in seconds.
pub(crate) fn ahead(line: &str) -> Result<f64> {
    let date = line.split_whitespace().next().unwrap_or_default();
    let date: SystemTime =
        OffsetDateTime::parse(date, &Rfc3339).with_context(|| format!("no time in {line:?}"))?.into();
    let now = SystemTime::now();
    let seconds = |span: Duration| span.as_secs_f64();
    Ok(date.duration_since(now).map_or_else(|error| -seconds(error.duration()), seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_log_tells_how_far_its_clock_is_off() {
        for off in [-240_i64, 0, 600] {
            let date = OffsetDateTime::now_utc() + time::Duration::seconds(off);
            let line = format!("{}  WARN hanse: x", date.format(&Rfc3339).unwrap());
            let found = ahead(&line).unwrap();
            assert!((found - off as f64).abs() < 1.0, "{found} for {off}");
        }
        assert!(ahead("cp-1 started").is_err() && ahead("").is_err());
    }

    #[test]
    fn numbers_have_a_sign() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("clock");
        for (seconds, text) in [(0, "+0\n"), (600, "+600\n"), (-240, "-240\n")] {
            write(&file, seconds).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
    }
}
