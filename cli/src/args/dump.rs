//! Arguments of `hanse dump`.

use std::path::PathBuf;

use clap::Args;

/// `hanse dump`.
#[derive(Debug, Args)]
pub(crate) struct DumpArgs {
    /// The directory to write, which must be empty or not there; default: hanse-dump-REVISION
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// With operators' tokens, as digests: those who have one can use it in the other federation, too
    #[arg(long)]
    pub(crate) tokens: bool,
    /// Dump the state that a node has, with or without a quorum
    #[arg(long)]
    pub(crate) stale: bool,
}
