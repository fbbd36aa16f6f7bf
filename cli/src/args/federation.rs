//! Arguments of the commands about nodes: members, roots of trust, upgrades.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Output;

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
