//! Arguments of the client commands.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use hanse_management::Kind;
use hanse_topology::Name;

use crate::publish::UpstreamArg;

/// How long `--wait` waits when it does not say: a change reaches every live gateway within seconds, and thirty tell a
/// slow one from a stuck one.
const DEFAULT_WAIT: &str = "30s";

/// `--wait[=30s]`.
#[derive(Debug, Clone, Args)]
pub(crate) struct WaitFlag {
    /// Wait until every live gateway in scope serves the change; exit 7 naming those that do not
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = DEFAULT_WAIT, value_parser = humantime::parse_duration)]
    pub(crate) wait: Option<Duration>,
}

/// `--organization`.
#[derive(Debug, Clone, Args)]
pub(crate) struct OrganizationFlag {
    /// The organization, instead of the configuration's
    #[arg(long, value_name = "NAME")]
    pub(crate) organization: Option<Name>,
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

/// `hanse apply`.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// A manifest (YAML or JSON), a directory of them, or - for standard input; may be repeated
    #[arg(short, long, value_name = "FILE|DIR|-", required = true)]
    pub(crate) file: Vec<String>,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Delete the organization's resources that carry the selector's labels and are not among the manifests
    #[arg(long, requires = "selector")]
    pub(crate) prune: bool,
    /// Which resources --prune may delete: key=value,…
    #[arg(long, value_name = "LABELS", requires = "prune")]
    pub(crate) selector: Option<String>,
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

/// `hanse get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// The kind, singular or plural
    #[arg(value_parser = kind)]
    pub(crate) kind: Kind,
    /// One resource's name; without it all are listed
    pub(crate) name: Option<Name>,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// Answer from the state that a node has, with or without a quorum
    #[arg(long)]
    pub(crate) stale: bool,
    #[command(flatten)]
    pub(crate) organization: OrganizationFlag,
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
    pub(crate) output: FormFlag,
    #[command(flatten)]
    pub(crate) wait: WaitFlag,
    #[command(flatten)]
    pub(crate) organization: OrganizationFlag,
}

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
    /// Import the operations that can be imported, and list those that are left out
    #[arg(long)]
    pub(crate) skip_unusable: bool,
    /// The Api's version, instead of the document's
    #[arg(long, value_name = "VERSION")]
    pub(crate) api_version: Option<String>,
    /// Let these path parameters take several segments where they are the last of a path: /v1/{name}:predict with --greedy
    /// name is /v1/{name+}:predict
    #[arg(long, value_name = "PARAMETER,…", value_delimiter = ',')]
    pub(crate) greedy: Vec<String>,
    #[command(flatten)]
    pub(crate) output: FormFlag,
    #[command(flatten)]
    pub(crate) wait: WaitFlag,
    #[command(flatten)]
    pub(crate) organization: OrganizationFlag,
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
    pub(crate) output: FormFlag,
    #[command(flatten)]
    pub(crate) wait: WaitFlag,
    #[command(flatten)]
    pub(crate) organization: OrganizationFlag,
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
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) to: Option<u64>,
    /// All regions of the Binding that is meant; left out: all Bindings of the Api in the environment
    #[arg(long, value_name = "REGION,…", value_delimiter = ',')]
    pub(crate) regions: Vec<Name>,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: FormFlag,
    #[command(flatten)]
    pub(crate) wait: WaitFlag,
    #[command(flatten)]
    pub(crate) organization: OrganizationFlag,
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
    pub(crate) output: FormFlag,
    #[command(flatten)]
    pub(crate) wait: WaitFlag,
    #[command(flatten)]
    pub(crate) organization: OrganizationFlag,
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
    #[arg(long, value_name = "TIME", default_value = DEFAULT_WAIT, value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
}

/// `hanse token`.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token; prints it, alone, on standard output. It is shown this once.
    Create(TokenCreateArgs),
    /// List operator tokens and join tokens; none of their secrets are kept.
    List {
        /// The form of the output
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Delete an operator token or a join token.
    Delete {
        /// Its name
        name: Name,
    },
}

/// What a join token lets join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum JoinAs {
    /// A control-plane node.
    Server,
    /// A region's agent.
    Agent,
}

/// How long a token is good for. Expiry is kept in seconds; beyond a century lies a typing mistake.
fn ttl(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
    let ttl = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (SHORTEST..=LONGEST).contains(&ttl) {
        return Ok(ttl);
    }
    Err("a token is good for at least a second and at most a hundred years".to_owned())
}

/// `hanse token create`.
#[derive(Debug, Args)]
pub(crate) struct TokenCreateArgs {
    /// Its name; default: a new one
    pub(crate) name: Option<Name>,
    /// Make a join token, for a server or an agent, instead of an operator's token
    #[arg(long, value_enum, value_name = "ROLE")]
    pub(crate) join: Option<JoinAs>,
    /// The joining agent's region
    #[arg(long, required_if_eq("join", "agent"), requires = "join")]
    pub(crate) region: Option<Name>,
    /// The environments the agent may learn; default: all of its region's
    #[arg(long, value_delimiter = ',', value_name = "NAME,…", requires = "region")]
    pub(crate) environments: Vec<Name>,
    /// How often the join token may be used; default: once
    #[arg(long, requires = "join", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) uses: Option<u64>,
    /// Let the node that joins take over its name from one that joined with another key, which is lost
    #[arg(long, requires = "join")]
    pub(crate) replace: bool,
    /// Let a control node join under the name of one that runs and cannot be stopped, and take its place
    #[arg(long, requires = "join")]
    pub(crate) force: bool,
    /// How long it is good for; default: 24h for a join token, for ever for an operator's
    #[arg(long, value_name = "TIME", value_parser = ttl)]
    pub(crate) ttl: Option<Duration>,
}

/// `hanse member`.
#[derive(Debug, Args)]
pub(crate) struct MemberArgs {
    #[command(subcommand)]
    pub(crate) command: MemberCommand,
}

/// What to do with those who take part.
#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// List control nodes, agents and gateways, and who of them is revoked.
    List {
        /// The form of the output
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Refuse one by name and by key, from now on and everywhere.
    ///
    /// Its connections are cut within a second, and it can neither come back, nor renew its certificate, nor join again
    /// under this name, nor with its key under another. The key of a gateway comes from its agent's reports: where it is not
    /// known yet, it is added as soon as an agent reports it. A gateway that is cut off goes on serving what it last learnt: stop it where it runs.
    Revoke {
        /// Its identity, as `hanse member list` shows it: NAME.ROLE.REGION.hanse.internal
        identity: String,
        /// A public key that is refused with it, sha256:DIGITS, beside those that are known; may be given several times
        #[arg(long = "key", value_name = "DIGEST")]
        keys: Vec<String>,
    },
    /// Lift a revocation.
    Readmit {
        /// Its identity: NAME.ROLE.REGION.hanse.internal
        identity: String,
    },
}

/// `hanse upgrade`.
#[derive(Debug, Args)]
pub(crate) struct UpgradeArgs {
    #[command(subcommand)]
    pub(crate) command: UpgradeCommand,
}

/// What to do about an upgrade.
#[derive(Debug, Subcommand)]
pub(crate) enum UpgradeCommand {
    /// Show the version in force, and what each control node runs.
    Status {
        /// The form of the output
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Show what the next version changes in each scope, and which nodes are not ready for it: exit 5.
    Check {
        /// The form of the output
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Put the next version in force. No release before it runs from then on.
    Finalize,
}

/// `hanse root`.
#[derive(Debug, Args)]
pub(crate) struct RootArgs {
    #[command(subcommand)]
    pub(crate) command: RootCommand,
}

/// What to do with the roots of trust.
#[derive(Debug, Subcommand)]
pub(crate) enum RootCommand {
    /// List the roots that are believed, and who does not believe them yet or has certificates from them.
    List {
        /// The form of the output
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Make a root that takes the place of another. Talks to no node.
    ///
    /// Writes the new root's certificate and key, and rotation.pem, which is what the federation gets of it. Needs the key of
    /// the root in use: each of the two speaks for the other, so that no node has to believe the sender of the new one.
    New {
        /// The directory to make
        dir: PathBuf,
        /// The directory of the root in use: the pki/root that `hanse server init` made
        #[arg(long, value_name = "DIR")]
        replaces: PathBuf,
    },
    /// Have another root believed beside the one in use. Step 1 of 3.
    Trust {
        /// The rotation.pem that `hanse root new` wrote
        file: PathBuf,
    },
    /// Have all certificates come from a root, once every node believes it. Step 2 of 3.
    ///
    /// Control nodes get theirs as soon as the new root's directory stands in place of pki/root on one of them; agents and
    /// gateways follow by themselves. The way back is to use the old root again.
    Use {
        /// The root, as `hanse root list` shows it; its first characters will do
        root: String,
        /// Go on without those that do not believe it yet: they must join again
        #[arg(long)]
        force: bool,
    },
    /// Have a root believed no more, once no node has certificates from it. Step 3 of 3.
    Drop {
        /// The root, as `hanse root list` shows it; its first characters will do
        root: String,
        /// Go on without those that have certificates from it still: they must join again
        #[arg(long)]
        force: bool,
    },
    /// Print the certificates of the roots that are believed: what clients have as ca_file.
    Bundle {
        /// Put them in place of this client's own ca_file instead
        #[arg(long)]
        update: bool,
    },
}

impl ImportArgs {
    /// The organization asked for.
    pub(crate) fn organization(&self) -> &Option<Name> {
        match &self.command {
            ImportCommand::Openapi(args) => &args.organization.organization,
        }
    }
}
