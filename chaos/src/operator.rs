//! The operator's client, run as a command.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};

/// What a command of the operator's client printed and how it ended.
#[derive(Debug)]
pub struct Cli {
    /// Its exit code.
    pub code: i32,
    /// Data.
    pub stdout: String,
    /// Talk.
    pub stderr: String,
}

/// A binary, and the configuration its client commands use.
#[derive(Debug, Clone)]
pub struct Operator {
    binary: PathBuf,
    config: PathBuf,
}

impl Operator {
    /// Client commands of `binary` with this `client.toml`.
    pub fn new(binary: &Path, config: &Path) -> Self {
        Self { binary: binary.to_owned(), config: config.to_owned() }
    }

    /// The binary under test.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The configuration operators' clients use.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Runs a command with this on its standard input, and these further environment variables.
    pub fn run(&self, arguments: &[&str], input: &str, environment: &[(&str, &str)]) -> Result<Cli> {
        let mut child = Command::new(&self.binary)
            .env("HANSE_CONFIG", &self.config)
            .env("NO_COLOR", "1")
            .envs(environment.iter().copied())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", self.binary.display()))?;
        let mut stdin = child.stdin.take().context("standard input is piped")?;
        let input = input.to_owned();
        let writer = std::thread::spawn(move || {
            // A client that refuses early closes its input; that is its right.
            let _ = stdin.write_all(input.as_bytes());
        });
        let Output { status, stdout, stderr } = child.wait_with_output()?;
        writer.join().expect("the writer does not panic");
        Ok(Cli {
            code: status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        })
    }

    /// Runs a command and expects success; returns its standard output.
    pub fn ok(&self, arguments: &[&str]) -> Result<String> {
        let ran = self.run(arguments, "", &[])?;
        ensure!(ran.code == 0, "hanse {arguments:?} ended with {}:\n{}{}", ran.code, ran.stdout, ran.stderr);
        Ok(ran.stdout)
    }

    /// Applies manifests from a string and waits until every gateway in scope serves them.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        let ran = self.run(&["apply", "-f", "-", "--wait=30s"], manifests, &[])?;
        ensure!(ran.code == 0, "apply ended with {}:\n{}{}", ran.code, ran.stdout, ran.stderr);
        Ok(())
    }
}
