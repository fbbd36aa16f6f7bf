//! Arguments of the commands about the federation key.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Output;

/// `hanse federation-key`.
#[derive(Debug, Args)]
pub(crate) struct FederationKeyArgs {
    #[command(subcommand)]
    pub(crate) command: FederationKeyCommand,
}

/// What to do with the federation key.
#[derive(Debug, Subcommand)]
pub(crate) enum FederationKeyCommand {
    /// List the versions, how many values of Secrets each has sealed, and the control nodes that lack one. Shows no key.
    List {
        /// The form of the output
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Ask for another version: Secrets are sealed with it once every control node has it.
    ///
    /// What was sealed before still opens, and is sealed anew with the new version. Proposals with data of Secrets are dropped. Revoking a
    /// control node, or replacing the recovery key, rotates by itself. A pending version is skipped: it may have been copied, too.
    Rotate,
}

/// `hanse recovery-key`.
#[derive(Debug, Args)]
pub(crate) struct RecoveryKeyArgs {
    #[command(subcommand)]
    pub(crate) command: RecoveryKeyCommand,
}

/// What to do with the recovery key.
#[derive(Debug, Subcommand)]
pub(crate) enum RecoveryKeyCommand {
    /// Make the recovery pairs in a directory, and have every version of the federation key wrapped to them.
    ///
    /// Writes sign.pem and wrap.pem, private keys in the clear: keep the directory in a safe, and away from control nodes. Where a
    /// directory has both already, they are taken: the command may be repeated.
    New {
        /// The directory of the pairs
        dir: PathBuf,
        /// Take the place of the present recovery key, whose pairs are lost or were copied
        #[arg(long)]
        replace: bool,
    },
}
