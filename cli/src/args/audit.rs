//! Arguments of `hanse audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hanse_api::answer::AuditLink;

use super::{flags::Form, values::number};

/// `hanse audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub(crate) command: AuditCommand,
}

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show the last changes: who, when, from where, and what.
    Tail {
        /// How many entries
        #[arg(short = 'n', long, default_value_t = 20, value_parser = number::<u64>(1..=100_000), value_name = "N")]
        lines: u64,
        /// Go on with entries as they are made
        #[arg(short, long)]
        follow: bool,
        /// Print each entry whole, in JSON or YAML
        #[arg(short, long, value_enum)]
        output: Option<Form>,
    },
    /// Check the chain of hashes: of the federation's log, or of exported files up to the federation's log.
    ///
    /// Fails at the first entry that was changed, dropped, doubled or moved, where files do not begin with entry 1 (or behind --after),
    /// where they have no entry, and where they end before the log begins.
    Verify {
        /// Exported files, the oldest first. They begin with entry 1, unless --after says otherwise
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The entry before the first one of the files, as the export before them told it
        #[arg(long, requires = "files", value_parser = after, value_name = "NUMBER:HASH")]
        after: Option<AuditLink>,
        /// Ask no control node: an entry that is missing at the end is not found
        #[arg(long, requires = "files")]
        offline: bool,
    },
    /// Write the entries that are kept into a file, a line of JSON for each.
    Export {
        /// The file, which must not be there
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// Drop the entries from the federation once they are in the file
        #[arg(long)]
        drop: bool,
    },
    /// Check exported files as `verify` does, then drop from the federation what they have: when `export --drop` failed at the drop.
    Drop {
        /// Exported files, the oldest first. They begin with entry 1, unless --after says otherwise
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The entry before the first one of the files, as the export before them told it
        #[arg(long, value_parser = after, value_name = "NUMBER:HASH")]
        after: Option<AuditLink>,
    },
}

/// `900:91ab…`.
fn after(text: &str) -> Result<AuditLink, String> {
    let read = text.split_once(':').and_then(|(number, hash)| {
        let is_hash =
            hash.len() == 64 && hash.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        is_hash.then_some(AuditLink { number: number.parse().ok()?, hash: hash.to_owned() })
    });
    read.ok_or_else(|| "write NUMBER:HASH as hanse audit export told it, the hash with 64 digits".to_owned())
}
