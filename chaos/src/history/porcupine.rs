//! The same history, judged by Porcupine: a checker of others, in Go, that searches for an order instead of knowing one.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

/// Where its program is: beside this crate's sources.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/porcupine");

/// What to do where Go is missing; `None` where it is there.
pub fn go_is_missing() -> Option<String> {
    let there = Command::new("go").arg("version").output().is_ok_and(|output| output.status.success());
    (!there).then(|| "`go` is missing: install Go 1.21 or later (https://go.dev/dl)".to_owned())
}

/// The built program.
#[derive(Debug)]
pub struct Porcupine {
    program: PathBuf,
    _dir: TempDir,
}

impl Porcupine {
    /// Builds it. The first time the module is downloaded.
    pub fn build() -> Result<Self> {
        if let Some(missing) = go_is_missing() {
            bail!("{missing}");
        }
        let dir = tempfile::Builder::new().prefix("hanse-porcupine-").tempdir()?;
        let program = dir.path().join("porcupine");
        let output = Command::new("go")
            .args(["build", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(SOURCES)
            .output()
            .context("starting go build")?;
        ensure!(
            output.status.success(),
            "building {SOURCES}: {}\nwithout a network, run `go mod download` there beforehand",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(Self { program, _dir: dir })
    }

    /// What it says of a history; an error unless that is `linearizable`.
    pub fn judge(&self, history: &Path) -> Result<String> {
        let output = Command::new(&self.program).arg(history).output().context("starting porcupine")?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{said} {}", complaint.trim());
        Ok(said)
    }
}
