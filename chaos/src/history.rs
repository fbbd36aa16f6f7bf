//! Histories of concurrent operations through every control node under faults, and the judge of what they were answered.
//!
//! - `operation`: one operation and its outcome, as the file of a history has them, a line of JSON each.
//! - `judge`: whether a history is one that a single copy of the state could have given. Pure.
//! - `client`, `clients`: operations against the operator API, recorded. Nothing is ever sent again.
//! - `faults`: kill, freeze, cut, set the clock. `equal`: whether all nodes hold the same in the end. `run`: all of it, in rounds. `porcupine`: the same file judged by another checker.
//!
//! The format of the file is in docs/chaos.md.

mod client;
mod clients;
mod equal;
mod faults;
mod judge;
mod operation;
mod porcupine;
mod random;
mod run;

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result};

pub use faults::Fault;
pub use judge::{Verdict, Violation, judge};
pub use operation::{Action, Operation, Outcome, Seen};
pub use porcupine::{Porcupine, go_is_missing};
pub use run::{HistoriesArgs, Options, Report, best_placement, histories, run};

/// Writes a history, one line per operation.
pub fn write(path: &Path, history: &[Operation]) -> Result<()> {
    let writing = || format!("writing {}", path.display());
    let mut file = BufWriter::new(File::create(path).with_context(writing)?);
    for operation in history {
        serde_json::to_writer(&mut file, operation).with_context(writing)?;
        file.write_all(b"\n").with_context(writing)?;
    }
    file.flush().with_context(writing)
}

/// Reads a history.
pub fn read(path: &Path) -> Result<Vec<Operation>> {
    let file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
    let line = |(number, line): (usize, std::io::Result<String>)| {
        let at = || format!("{}: line {}", path.display(), number + 1);
        serde_json::from_str(&line.with_context(at)?).with_context(at)
    };
    BufReader::new(file).lines().enumerate().map(line).collect()
}
