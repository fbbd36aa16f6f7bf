//! Arguments of `hanse audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

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
    /// Fails at the first entry that was changed, dropped, doubled or moved, and where files end before the log begins.
    Verify {
        /// Exported files, the oldest first
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
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
}
