//! Instructions per request, counted under valgrind.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::bench::MissingPeer;

/// Requests before those that are counted: connections are made, and maps have grown.
const WARM_UP: usize = 200;
/// Counts, of which the lowest holds: what a gateway does beside its requests, such as a handshake with its agent, only adds to one.
const COUNTS: usize = 5;

/// Whether valgrind is here.
pub(super) fn find() -> Result<(), MissingPeer> {
    match Command::new("valgrind").arg("--version").output() {
        Ok(_) => Ok(()),
        Err(_) => Err(MissingPeer { tool: "valgrind", package: "valgrind" }),
    }
}

/// A program that runs a binary under valgrind and counts nothing yet, in the same process.
pub(super) fn wrapped(binary: &Path, dir: &Path) -> Result<PathBuf> {
    let (binary, out) = (fs::canonicalize(binary)?, dir.join("callgrind.out"));
    let program = dir.join("counted");
    let text = format!(
        "#!/bin/sh\nexec valgrind --quiet --tool=callgrind --instr-atstart=no --callgrind-out-file='{}' '{}' \"$@\"\n",
        out.display(),
        binary.display()
    );
    fs::write(&program, text)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700))?;
    Ok(program)
}

/// Instructions of one call, by so many calls, one after the other. `process` is one of [`wrapped`].
pub(super) async fn count<F: Future<Output = Result<()>>>(
    process: u32,
    dir: &Path,
    requests: usize,
    call: impl Fn() -> F,
) -> Result<u64> {
    for _ in 0..WARM_UP {
        call().await?;
    }
    tell(process, &["instrumentation", "on"])?;
    let each = requests.div_ceil(COUNTS);
    let mut lowest = u64::MAX;
    for number in 1..=COUNTS {
        tell(process, &["zero"])?;
        for _ in 0..each {
            call().await?;
        }
        tell(process, &["dump"])?;
        let path = dir.join(format!("callgrind.out.{number}"));
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        lowest = lowest.min(total(&text).context("no total in what valgrind wrote")? / each as u64);
    }
    Ok(lowest)
}

fn tell(process: u32, words: &[&str]) -> Result<()> {
    let output = Command::new("vgdb").arg(format!("--pid={process}")).args(words).output();
    let output = output.context("starting vgdb, which comes with valgrind")?;
    let told = || String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "vgdb {}: {}", words.join(" "), told());
    Ok(())
}

/// The sum that a callgrind file ends with.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().rev().find_map(|line| line.strip_prefix("totals:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_a_callgrind_file() {
        assert_eq!(total("events: Ir\nsummary: 7\n\nfn=(1)\n1 5\n\ntotals: 1234\n"), Some(1_234));
        assert_eq!(total("events: Ir\n"), None);
    }
}
