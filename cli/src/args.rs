//! The command line.

mod approval;
mod audit;
mod client;
mod dev;
mod dump;
mod failover;
mod federation;
mod flags;
mod get;
mod keys;
mod plan;
mod publishing;
mod roles;
mod token;
mod values;

use std::{ffi::OsString, path::PathBuf};

use clap::{Parser, Subcommand};

pub(crate) use approval::{ApprovalArgs, ApprovalCommand};
pub(crate) use audit::{AuditArgs, AuditCommand};
pub(crate) use client::{ApplyArgs, DeleteArgs, DescribeArgs, DiffArgs, RevisionArg, WaitArgs};
pub(crate) use dev::{DevAction, DevAddition, DevArgs};
pub(crate) use dump::DumpArgs;
pub(crate) use failover::{
    DecisionFlags, FailbackArgs, FailoverArgs, FailoverCommand, FreezeArgs, RegionArgs, RegionCommand,
    ShiftFlags,
};
pub(crate) use federation::{MemberArgs, MemberCommand, RootArgs, RootCommand, UpgradeArgs, UpgradeCommand};
#[cfg(test)]
pub(crate) use flags::{ChangeFlags, OrganizationFlag};
pub(crate) use flags::{Form, Output, ProposeFlag};
pub(crate) use get::{Asked, GetArgs, distinct};
pub(crate) use keys::{FederationKeyArgs, FederationKeyCommand, RecoveryKeyArgs, RecoveryKeyCommand};
pub(crate) use plan::{OwnerFlags, PlanArgs};
pub(crate) use publishing::{
    ImportArgs, ImportCommand, OpenApiArgs, PromoteArgs, PublicationFlags, PublishArgs, RollbackArgs,
    SubscribeArgs,
};
pub(crate) use roles::{
    AddressType, AgentAction, AgentArgs, DnsAction, DnsArgs, JoinsRegion, RoleCommand, RunArgs, ServerAction,
    ServerArgs, UpstreamArgs,
};
pub(crate) use token::{As, JoinAs, TokenArgs, TokenCommand, TokenCreateArgs};

/// The version every face shows.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Federates API gateways across regions, clouds and on-premises sites.
#[derive(Debug, Parser)]
#[command(name = "hanse", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// The configuration file. Client commands: else $HANSE_CONFIG, else .hanse-dev/client.toml, else
    /// hanse/client.toml in the user's configuration directory. Roles need it.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads the command line. `--wait 5s` is what people write after they have read `--wait[=TIME]`: a duration behind
    /// `--wait` belongs to it.
    pub(crate) fn of(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut joined: Vec<OsString> = Vec::new();
        for word in words {
            let is_duration = || word.to_str().is_some_and(|word| humantime::parse_duration(word).is_ok());
            let is_completion = joined.get(1).is_some_and(|command| command == COMPLETE);
            match joined.last_mut() {
                Some(last) if last == "--wait" && is_duration() && !is_completion => {
                    last.push("=");
                    last.push(word);
                }
                _ => joined.push(word),
            }
        }
        Self::try_parse_from(joined)
    }
}

/// The command that completion scripts call: it gets the words as they are.
const COMPLETE: &str = "__complete";

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 usage, 3 not authenticated or not allowed, 4 not found, \
5 conflict, 6 no quorum or no answer, 7 wait timed out, 130 wait interrupted. Of diff: 0 same, 1 different, more: failed.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole federation of real processes on this machine, to try things out.
    Dev(DevArgs),
    /// Create or replace resources from manifests, all of them or none.
    Apply(ApplyArgs),
    /// Show what applying manifests would change.
    Diff(DiffArgs),
    /// Show what applying manifests would do, and write it down for apply --plan.
    Plan(PlanArgs),
    /// List resources, or show one.
    Get(GetArgs),
    /// Show one resource and what belongs to it, for people.
    Describe(DescribeArgs),
    /// Delete resources.
    ///
    /// One resource is deleted with one request. With -f each resource has a request of its own: the first failure ends the
    /// command, which names the resources that it deleted so far. With --cascade one request deletes all of them, or none.
    Delete(DeleteArgs),
    /// Write everything that another federation needs to serve the same into a directory: `hanse apply -f DIR` takes it there.
    ///
    /// With the digests of API keys, so that they are good there, too. Without tokens, members and roots.
    Dump(DumpArgs),
    /// Publish an API from a description of it.
    Import(ImportArgs),
    /// Publish a service that has no description: every method and every path below a base path.
    ///
    /// Writes the Api with the one operation `* /*`, and in each environment that is named its Binding and, with --upstream, its
    /// Upstream, in one change. Other environments serve what they served. A new Api asks its callers for an API key in the header
    /// X-API-Key unless an option below says otherwise.
    Publish(PublishArgs),
    /// Have one environment serve the revision that another serves.
    Promote(PromoteArgs),
    /// Have an environment serve a revision that it served before.
    Rollback(RollbackArgs),
    /// Subscribe an application to an API; prints a new API key, alone, on standard output.
    Subscribe(SubscribeArgs),
    /// Show the federation: control plane, regions, gateways.
    Status(GetStatusArgs),
    /// Wait until every gateway serves a revision.
    Wait(WaitArgs),
    /// Lead the clients of a FailoverPlan to another region, freeze it, or show its readiness and history.
    Failover(FailoverArgs),
    /// Lead the clients of a FailoverPlan back to its active region.
    Failback(FailbackArgs),
    /// Drain a region, or end that.
    Region(RegionArgs),
    /// Show who takes part, and refuse or readmit one by name.
    Member(MemberArgs),
    /// Show the roots of trust, and have one take another's place.
    Root(RootArgs),
    /// Show the versions of the key that Secrets are sealed with, and have it rotated.
    FederationKey(FederationKeyArgs),
    /// Make the key that opens the federation key when no control node is left.
    RecoveryKey(RecoveryKeyArgs),
    /// Show what the control nodes run, and put the version of a new release in force.
    Upgrade(UpgradeArgs),
    /// Operator tokens and join tokens.
    Token(TokenArgs),
    /// Changes that wait for a second owner: show, approve or reject them.
    Approval(ApprovalArgs),
    /// Who changed what: show, verify or export the audit log.
    Audit(AuditArgs),
    /// Show what the present token is, and what it allows.
    Whoami(GetStatusArgs),
    #[command(flatten)]
    Role(RoleCommand),
    /// Print a completion script for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print what may stand at the cursor of a command line.
    #[command(name = COMPLETE, hide = true)]
    Complete(CompleteArgs),
    /// Print the operator API's OpenAPI document.
    Openapi,
    /// Print the version.
    Version,
    /// Run a sample upstream that answers with what it was sent.
    #[command(hide = true)]
    Upstream(UpstreamArgs),
}

/// `hanse __complete`, which completion scripts call.
#[derive(Debug, clap::Args)]
pub(crate) struct CompleteArgs {
    /// The number of the word at the cursor; the program is word 0
    pub(crate) index: usize,
    /// The words
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<String>,
}

/// `hanse status` and `hanse whoami`.
#[derive(Debug, clap::Args)]
pub(crate) struct GetStatusArgs {
    /// The form of the output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

#[cfg(test)]
mod tests;
