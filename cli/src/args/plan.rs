//! Arguments of `hanse plan`, and whose the resources are.

use std::path::PathBuf;

use clap::Args;
use hanse_topology::Labels;

use super::flags::{ForceFlag, OrganizationFlag};
use crate::plan::OWNER;

/// Whose the resources are.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OwnerFlags {
    /// Label the resources hanse-owner=NAME. Those of another owner, or of none, are refused
    #[arg(long, value_name = "NAME", value_parser = owner)]
    pub(crate) owner: Option<String>,
    /// Take over resources of another owner, or of none
    #[arg(long, requires = "owner")]
    pub(crate) adopt: bool,
}

/// `hanse plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// A manifest (YAML or JSON), a directory of them, or - for standard input; may be repeated
    #[arg(short, long, value_name = "FILE|DIR|-", required = true)]
    pub(crate) file: Vec<String>,
    #[command(flatten)]
    pub(crate) owner: OwnerFlags,
    /// Delete the owner's resources that are not among the manifests
    #[arg(long, requires = "owner")]
    pub(crate) prune: bool,
    #[command(flatten)]
    pub(crate) force: ForceFlag,
    /// Write the plan to this file, for apply --plan
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) organization: OrganizationFlag,
}

fn owner(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("an owner has a name".to_owned());
    }
    let labels: Labels = [(OWNER, text)].into_iter().collect();
    labels.check().map(|()| text.to_owned()).map_err(|error| error.to_string())
}
