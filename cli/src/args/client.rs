//! Arguments of the commands that read and write resources.

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Args};
use hanse_management::Kind;
use hanse_topology::Name;

use super::{
    flags::{ChangeFlags, DEFAULT_WAIT, ForceFlag, FormFlag, OrganizationFlag, ProposeFlag, WaitFlag},
    plan::OwnerFlags,
    values::time,
};

/// `hanse apply`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("prunable").args(["selector", "owner"])))]
pub(crate) struct ApplyArgs {
    /// A manifest (YAML or JSON), a directory of them, or - for standard input; may be repeated
    #[arg(short, long, value_name = "FILE|DIR|-", required_unless_present = "plan")]
    pub(crate) file: Vec<String>,
    /// Carry out the plan that `hanse plan` wrote, unless what it rests on has changed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "prune", "owner", "force_grants"])]
    pub(crate) plan: Option<PathBuf>,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) owner: OwnerFlags,
    /// Delete the owner's resources, or the organization's that carry the selector's labels, that are not among the manifests
    #[arg(long, requires = "prunable")]
    pub(crate) prune: bool,
    /// Which resources --prune may delete: key=value,…
    #[arg(long, value_name = "LABELS", requires = "prune")]
    pub(crate) selector: Option<String>,
    #[command(flatten)]
    pub(crate) force: ForceFlag,
    #[command(flatten)]
    pub(crate) propose: ProposeFlag,
    #[command(flatten)]
    pub(crate) output: FormFlag,
    #[command(flatten)]
    pub(crate) wait: WaitFlag,
    #[command(flatten)]
    pub(crate) organization: OrganizationFlag,
}

/// `hanse diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// A manifest (YAML or JSON), a directory of them, or - for standard input; may be repeated
    #[arg(short, long, value_name = "FILE|DIR|-", required = true)]
    pub(crate) file: Vec<String>,
    #[command(flatten)]
    pub(crate) organization: OrganizationFlag,
}

fn kind(word: &str) -> Result<Kind, String> {
    Kind::from_word(word).map_err(|error| error.to_string())
}

/// `hanse describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// The kind, singular or plural
    #[arg(value_parser = kind)]
    pub(crate) kind: Kind,
    /// The resource's name
    pub(crate) name: Name,
    #[command(flatten)]
    pub(crate) organization: OrganizationFlag,
}

/// `hanse delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The kind, singular or plural
    #[arg(value_parser = kind, requires = "name", required_unless_present = "file")]
    pub(crate) kind: Option<Kind>,
    /// The resource's name
    pub(crate) name: Option<Name>,
    /// Delete the resources of these manifests, dependents first: with one request each, or with --cascade in one request for
    /// all of them. May be repeated
    #[arg(short, long, value_name = "FILE|DIR|-", conflicts_with = "kind")]
    pub(crate) file: Vec<String>,
    /// Delete what refers to it too, instead of refusing: lists all of it, and asks
    #[arg(long)]
    pub(crate) cascade: bool,
    /// Do not ask; needed with --cascade where no terminal can be asked
    #[arg(long, requires = "cascade")]
    pub(crate) yes: bool,
    /// Delete the Upstreams and API keys, too, that import and subscribe made for an Api, and that nothing else uses
    #[arg(long, requires = "cascade")]
    pub(crate) with_made: bool,
    /// Say what would be deleted, and delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) force: ForceFlag,
    #[command(flatten)]
    pub(crate) propose: ProposeFlag,
    #[command(flatten)]
    pub(crate) change: ChangeFlags,
}

/// A revision: its number or `latest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RevisionArg {
    /// That one.
    Number(u64),
    /// Whichever is the latest now.
    Latest,
}

impl std::str::FromStr for RevisionArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "latest" => Ok(Self::Latest),
            _ => text
                .parse()
                .map(Self::Number)
                .map_err(|_| format!("{text:?} is neither a number nor \"latest\"")),
        }
    }
}

/// `hanse wait`.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// The revision to wait for, or latest
    #[arg(long, value_name = "N")]
    pub(crate) revision: RevisionArg,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = DEFAULT_WAIT, value_parser = time)]
    pub(crate) timeout: Duration,
}
