//! Arguments of `hanse token`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use hanse_topology::Name;

use super::{
    Output,
    values::{number, time},
};

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

/// What an operator's token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum As {
    /// Everything.
    Admin,
    /// Write the resources of one organization, and read what they rest on.
    Publisher,
    /// Read everything, or with --organization what one organization may see.
    Viewer,
}

/// How long a token is good for. Expiry is kept in seconds; beyond a century lies a typing mistake.
fn ttl(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
    let ttl = time(text)?;
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
    /// What an operator's token may do; default: admin
    #[arg(long, value_enum, conflicts_with = "join")]
    pub(crate) role: Option<As>,
    /// The only organization that it reaches
    #[arg(long, value_name = "NAME", requires = "role", required_if_eq("role", "publisher"))]
    pub(crate) organization: Option<Name>,
    /// The person or the service that it belongs to; default: its own name
    #[arg(long, value_name = "TEXT", conflicts_with = "join")]
    pub(crate) owner: Option<String>,
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
    #[arg(long, requires = "join", value_parser = number::<u64>(1..=u64::MAX))]
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
