//! Arguments of the commands that publish.

use clap::{Args, Subcommand};
use hanse_topology::Name;

use super::{
    flags::{ChangeFlags, ProposeFlag},
    values::number,
};
use crate::publish::UpstreamArg;

/// `hanse import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    #[command(subcommand)]
    pub(crate) command: ImportCommand,
}

/// What to import.
#[derive(Debug, Subcommand)]
pub(crate) enum ImportCommand {
    /// An OpenAPI 3.0 to 3.2 or Swagger 2.0 document, JSON or YAML.
    ///
    /// Writes the Api, and in each environment that is named its Binding and, with --upstream, its Upstream, in one change. Other
    /// environments serve what they served. The document's servers and security are shown and not used: --context is the whole
    /// base path, and a new Api asks its callers for an API key in the header X-API-Key unless an option below says otherwise.
    Openapi(OpenApiArgs),
}

/// `hanse import openapi`.
#[derive(Debug, Args)]
pub(crate) struct OpenApiArgs {
    /// The document, or - for standard input
    pub(crate) file: String,
    /// The Api's name
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) name: Name,
    #[command(flatten)]
    pub(crate) publication: PublicationFlags,
    /// Import the operations that can be imported, and list those that are left out
    #[arg(long)]
    pub(crate) skip_unusable: bool,
    /// The Api's version, instead of the document's
    #[arg(long, value_name = "VERSION")]
    pub(crate) api_version: Option<String>,
    /// Let these path parameters take several segments where they are the last of a path: /v1/{name}:predict with --greedy
    /// name is /v1/{name+}:predict. A whole path, as in --greedy /v1/{name}:predict, is widened with those that match the same requests
    #[arg(long, value_name = "PARAMETER|/PATH,…", value_delimiter = ',')]
    pub(crate) greedy: Vec<String>,
}

/// `hanse publish`.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// The Api's name
    pub(crate) name: Name,
    #[command(flatten)]
    pub(crate) publication: PublicationFlags,
    /// The Api's version; left out: the version that it has, or 1 for a new Api
    #[arg(long, value_name = "VERSION")]
    pub(crate) api_version: Option<String>,
}

/// The flags of commands that write an Api and have environments serve it.
#[derive(Debug, Args)]
pub(crate) struct PublicationFlags {
    /// The whole base path it is published under: /orders/v1
    #[arg(long, value_name = "/PATH")]
    pub(crate) context: String,
    /// Where requests go; with REGION= in front, those of that region's gateways only; may be repeated. Left out: where they go
    /// now
    #[arg(long, value_name = "[REGION=]URL")]
    pub(crate) upstream: Vec<UpstreamArg>,
    /// The environments to publish it to
    #[arg(long, value_name = "ENVIRONMENT", required = true, value_delimiter = ',')]
    pub(crate) publish_to: Vec<Name>,
    /// Only these of the environments' regions; left out: those that serve it now, or all of a new environment. Where an
    /// environment has several Bindings, they say which one is meant
    #[arg(long, value_name = "REGION,…", value_delimiter = ',')]
    pub(crate) regions: Vec<Name>,
    /// Environments that follow the latest revision and may move to the new one, too. Of one that is published to: its other
    /// Bindings
    #[arg(long, value_name = "ENVIRONMENT,…", value_delimiter = ',')]
    pub(crate) also: Vec<Name>,
    /// Environments that follow the latest revision and are to stay at the one they serve. Of one that is published to: its
    /// other Bindings
    #[arg(long, value_name = "ENVIRONMENT,…", value_delimiter = ',')]
    pub(crate) pin: Vec<Name>,
    /// Replace the revision of an environment that was rolled back
    #[arg(long)]
    pub(crate) over_rollback: bool,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) propose: ProposeFlag,
    /// Ask callers for an API key, in the header X-API-Key (the default for a new Api)
    #[arg(long, conflicts_with = "open")]
    pub(crate) api_key: bool,
    /// Ask for the API key in this header
    #[arg(long, value_name = "NAME", conflicts_with = "open")]
    pub(crate) api_key_header: Option<String>,
    /// Ask for the API key in this query parameter
    #[arg(long, value_name = "NAME", conflicts_with = "open")]
    pub(crate) api_key_query: Option<String>,
    /// Let every client call, without a key
    #[arg(long)]
    pub(crate) open: bool,
    #[command(flatten)]
    pub(crate) change: ChangeFlags,
}

/// `hanse promote`.
#[derive(Debug, Args)]
pub(crate) struct PromoteArgs {
    /// The Api
    pub(crate) api: Name,
    /// The environment that serves the revision
    #[arg(long, value_name = "ENVIRONMENT")]
    pub(crate) from: Name,
    /// The environment that is to serve it
    #[arg(long, value_name = "ENVIRONMENT")]
    pub(crate) to: Name,
    /// All regions of the Binding that is to serve it; left out: all Bindings of the Api in that environment. Of the Bindings of
    /// --from, they pick one where those serve several revisions
    #[arg(long, value_name = "REGION,…", value_delimiter = ',')]
    pub(crate) regions: Vec<Name>,
    /// Take the Upstream that the revision embeds, even if it differs from the one in use
    #[arg(long)]
    pub(crate) with_upstream: bool,
    /// Replace the revision of an environment that was rolled back
    #[arg(long)]
    pub(crate) over_rollback: bool,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) propose: ProposeFlag,
    #[command(flatten)]
    pub(crate) change: ChangeFlags,
}

/// `hanse rollback`.
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The Api
    pub(crate) api: Name,
    /// The environment
    #[arg(long = "in", value_name = "ENVIRONMENT")]
    pub(crate) environment: Name,
    /// The number of the revision to serve; left out: the one served before
    #[arg(long, value_name = "N", value_parser = number::<u64>(1..=u64::MAX))]
    pub(crate) to: Option<u64>,
    /// All regions of the Binding that is meant; left out: all Bindings of the Api in the environment
    #[arg(long, value_name = "REGION,…", value_delimiter = ',')]
    pub(crate) regions: Vec<Name>,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) propose: ProposeFlag,
    #[command(flatten)]
    pub(crate) change: ChangeFlags,
}

/// `hanse subscribe`.
#[derive(Debug, Args)]
pub(crate) struct SubscribeArgs {
    /// The Api
    pub(crate) api: Name,
    /// The Application; made if missing
    #[arg(long, value_name = "NAME")]
    pub(crate) application: Name,
    /// The Plan
    #[arg(long, value_name = "NAME")]
    pub(crate) plan: Name,
    #[command(flatten)]
    pub(crate) change: ChangeFlags,
}

impl ImportArgs {
    /// The organization asked for.
    pub(crate) fn organization(&self) -> &Option<Name> {
        match &self.command {
            ImportCommand::Openapi(args) => args.publication.change.organization(),
        }
    }
}
