//! Arguments of `hanse approval`.

use clap::{Args, Subcommand};

use super::{
    Form, Output,
    flags::{FormFlag, WaitFlag},
};

/// `hanse approval`.
#[derive(Debug, Args)]
pub(crate) struct ApprovalArgs {
    #[command(subcommand)]
    pub(crate) command: ApprovalCommand,
}

/// What to do with proposals.
#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalCommand {
    /// List the proposals that wait for a second owner.
    List {
        /// The form of the output
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Show a proposal: what it does to each resource, compared with what is there now.
    Show {
        /// Its number
        number: u64,
        /// Print it as data
        #[arg(short, long, value_enum, value_name = "FORM")]
        output: Option<Form>,
    },
    /// Make the changes of a proposal that another owner made.
    ///
    /// The changes do what they did when they were proposed. Where anything came in between, the approval is refused.
    Approve {
        /// Its number
        number: u64,
        #[command(flatten)]
        output: FormFlag,
        #[command(flatten)]
        wait: WaitFlag,
    },
    /// Drop a proposal: withdraw an own one, or decide against one that the token could approve.
    Reject {
        /// Its number
        number: u64,
        /// Why: a line for the audit
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}
