//! Arguments of `hanse dev`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hanse_topology::Name;

use super::values::number;
use crate::dev::Pattern;

/// `hanse dev`.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Where it keeps everything; made if absent, resumed if present
    #[arg(long, global = true, value_name = "DIR", default_value = ".hanse-dev")]
    pub(crate) data_dir: PathBuf,
    /// How many regions; 2, or as many as a resumed directory has
    #[arg(long, value_parser = number::<u8>(1..=16))]
    pub(crate) regions: Option<u8>,
    /// How many control-plane nodes; 3, or as many as a resumed directory has
    #[arg(long, value_parser = number::<u8>(1..=7))]
    pub(crate) control_nodes: Option<u8>,
    /// An arrangement of deploy/patterns on this machine: 1, an active/active pair with a witness; 2, gateways that come and go; 4, internal
    /// and external gateways apart
    #[arg(long, value_enum, value_name = "N", conflicts_with_all = ["regions", "control_nodes"])]
    pub(crate) pattern: Option<Pattern>,
    /// Let gateways write a line of JSON per request to DIR/logs/NAME.access.log
    #[arg(long)]
    pub(crate) access_log: bool,
    /// Publish no example on the first start
    #[arg(long)]
    pub(crate) no_example: bool,
    #[command(subcommand)]
    pub(crate) action: Option<DevAction>,
}

/// What to do with a federation that runs in another terminal.
#[derive(Debug, Subcommand)]
pub(crate) enum DevAction {
    /// Kill a process (SIGKILL), or all of a host of a pattern; they stay down.
    Kill {
        /// A name or a host, as in `hanse dev ps`
        name: String,
    },
    /// Start a process that is down, or all of a host, at the same addresses; returns when they serve.
    Start {
        /// A name or a host, as in `hanse dev ps`
        name: String,
    },
    /// Add a process.
    Add(DevAdd),
    /// List the processes.
    Ps,
}

/// `hanse dev add`.
#[derive(Debug, Args)]
pub(crate) struct DevAdd {
    #[command(subcommand)]
    pub(crate) what: DevAddition,
}

/// What to add.
#[derive(Debug, Subcommand)]
pub(crate) enum DevAddition {
    /// A gateway, enrolled by its region's agent; prints its name when it serves.
    Gateway {
        /// Its region
        #[arg(long)]
        region: Name,
    },
}
