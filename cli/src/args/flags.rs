//! Flags that several commands have.

use std::time::Duration;

use clap::{Args, ValueEnum};
use hanse_topology::Name;

use super::values::time;

/// How long `--wait` waits when it does not say: a change reaches every live gateway within seconds, and thirty tell a
/// slow one from a stuck one.
pub(super) const DEFAULT_WAIT: &str = "30s";

/// `--wait[=30s]`.
#[derive(Debug, Clone, Args)]
pub(crate) struct WaitFlag {
    /// Wait until every live gateway in scope serves the change; exit 7 naming those that do not
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = DEFAULT_WAIT, value_parser = time)]
    pub(crate) wait: Option<Duration>,
}

/// `--organization`.
#[derive(Debug, Clone, Args)]
pub(crate) struct OrganizationFlag {
    /// The organization, instead of the configuration's
    #[arg(long, value_name = "NAME")]
    pub(crate) organization: Option<Name>,
}

/// `--force-grants`.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct ForceFlag {
    /// Accept HostGrants that take requests from Bindings of other Organizations, and Bindings that ask for the same
    /// requests as those of others. What is lost is told in warnings
    #[arg(long)]
    pub(crate) force_grants: bool,
}

/// `--propose`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ProposeFlag {
    /// Change nothing now: keep the change for the approval of a token of another owner, and say why. An Environment with
    /// `approval` asks for that
    #[arg(long, value_name = "REASON", conflicts_with_all = ["dry_run", "wait"])]
    pub(crate) propose: Option<String>,
}

/// The form of data on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// A table with more columns.
    Wide,
    /// As the API gives it.
    Json,
    /// The same in YAML.
    Yaml,
    /// `kind/name`, one a line.
    Name,
}

/// The form of data that programs read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// As the API gives it.
    Json,
    /// The same in YAML.
    Yaml,
}

/// `-o` of commands that change something.
#[derive(Debug, Clone, Args)]
pub(crate) struct FormFlag {
    /// Print the answer as data, instead of a line for each resource
    #[arg(short, long, value_enum, value_name = "FORM")]
    pub(crate) output: Option<Form>,
}

/// The flags of commands that change something.
#[derive(Debug, Clone, Args)]
pub(crate) struct ChangeFlags {
    #[command(flatten)]
    output: FormFlag,
    #[command(flatten)]
    wait: WaitFlag,
    #[command(flatten)]
    organization: OrganizationFlag,
}

impl ChangeFlags {
    /// None of them given.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self {
            output: FormFlag { output: None },
            wait: WaitFlag { wait: None },
            organization: OrganizationFlag { organization: None },
        }
    }

    /// The form that the answer is printed in as data, if any.
    pub(crate) fn form(&self) -> Option<Form> {
        self.output.output
    }

    /// How long to wait for the gateways, if at all.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.wait.wait
    }

    /// The organization asked for.
    pub(crate) fn organization(&self) -> &Option<Name> {
        &self.organization.organization
    }
}
