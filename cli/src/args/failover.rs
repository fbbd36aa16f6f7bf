//! Arguments of `hanse failover`, `hanse failback` and `hanse region`.

use clap::{Args, Subcommand};
use hanse_topology::Name;

use super::{Output, flags::FormFlag};

/// `hanse failover`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct FailoverArgs {
    #[command(subcommand)]
    pub(crate) command: Option<FailoverCommand>,
    /// The FailoverPlan; one that is named like a command: hanse failover -- history
    #[arg(required = true)]
    pub(crate) plan: Option<Name>,
    /// The region; may be left out where the plan has one standby
    #[arg(long, value_name = "REGION")]
    pub(crate) to: Option<Name>,
    #[command(flatten)]
    pub(crate) shift: ShiftFlags,
}

/// How clients are led to another region.
#[derive(Debug, Args)]
pub(crate) struct ShiftFlags {
    /// Why: a line for the record
    #[arg(long, value_name = "TEXT", required = true)]
    pub(crate) reason: Option<String>,
    /// The percents of the clients that have moved after each step: 10,50,100. Default: those of the plan
    #[arg(long, value_name = "PERCENT,…", value_delimiter = ',')]
    pub(crate) steps: Vec<u8>,
    /// Lead them there although the region is not ready, and say why
    #[arg(long, value_name = "TEXT")]
    pub(crate) force: Option<String>,
    #[command(flatten)]
    pub(crate) decision: DecisionFlags,
}

/// What every decision of a plan takes.
#[derive(Debug, Args)]
pub(crate) struct DecisionFlags {
    /// Refuse it if the plan has come to another decision: the epoch as it is shown, 1/42
    #[arg(long, value_name = "EPOCH")]
    pub(crate) expects: Option<String>,
    /// Change nothing now: keep it for the approval of a token of another owner, for a plan with `approval`
    #[arg(long)]
    pub(crate) propose: bool,
    #[command(flatten)]
    pub(crate) output: FormFlag,
}

/// Beside a failover.
#[derive(Debug, Subcommand)]
pub(crate) enum FailoverCommand {
    /// Show which regions of a plan could take over now, rule by rule.
    Readiness {
        /// The FailoverPlan
        plan: Name,
        /// The form of the output
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Show what was decided about a plan: who, when, why.
    History {
        /// The FailoverPlan
        plan: Name,
        /// The form of the output
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Let nothing of a plan move, not with force either.
    Freeze(FreezeArgs),
    /// End a freeze. A shift goes on where it was.
    Unfreeze(FreezeArgs),
}

/// `hanse failover freeze` and `unfreeze`.
#[derive(Debug, Args)]
pub(crate) struct FreezeArgs {
    /// The FailoverPlan
    pub(crate) plan: Name,
    /// Why: a line for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) decision: DecisionFlags,
}

/// `hanse failback`.
#[derive(Debug, Args)]
pub(crate) struct FailbackArgs {
    /// The FailoverPlan
    pub(crate) plan: Name,
    #[command(flatten)]
    pub(crate) shift: ShiftFlags,
}

/// `hanse region`.
#[derive(Debug, Args)]
pub(crate) struct RegionArgs {
    #[command(subcommand)]
    pub(crate) command: RegionCommand,
}

/// What to do with a region.
#[derive(Debug, Subcommand)]
pub(crate) enum RegionCommand {
    /// Lead no new clients to a region.
    Drain {
        /// The Region
        region: Name,
        /// Why: a line for the record
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Drain it although Bindings are served in that region only, and say why
        #[arg(long, value_name = "TEXT")]
        force: Option<String>,
        /// Change nothing now: keep it for the approval of a token of another owner
        #[arg(long)]
        propose: bool,
        #[command(flatten)]
        output: FormFlag,
    },
    /// End the drain of a region.
    Undrain {
        /// The Region
        region: Name,
        /// Why: a line for the record
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Change nothing now: keep it for the approval of a token of another owner
        #[arg(long)]
        propose: bool,
        #[command(flatten)]
        output: FormFlag,
    },
}
