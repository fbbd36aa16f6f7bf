//! Arguments of the roles. A second role below the agents is a line in [`RoleCommand`], and its arm in `crate::roles`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use hanse_topology::Name;

use super::Output;

/// A role to run.
#[derive(Debug, Subcommand)]
pub(crate) enum RoleCommand {
    /// Run a control-plane node.
    Server(ServerArgs),
    /// Run a region's agent.
    Agent(AgentArgs),
    /// Run a gateway.
    Gateway(RunArgs),
    /// Run a DNS responder, or ask one.
    Dns(DnsArgs),
}

/// What every role is run with.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Read the configuration, say whether it is sound, and stop
    #[arg(long)]
    pub(crate) check_config: bool,
    /// Log as JSON
    #[arg(long)]
    pub(crate) log_json: bool,
}

/// `hanse server`.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(subcommand)]
    pub(crate) action: Option<ServerAction>,
}

/// What to do instead of running.
#[derive(Debug, Subcommand)]
pub(crate) enum ServerAction {
    /// Start a new federation on this node; prints the first operator's token, alone, on standard output.
    Init,
    /// Have this node's intermediate certificate issued anew by the root in its pki/root, while it is stopped.
    ///
    /// For a node that was away while the root was replaced: put the new root's directory in place of pki/root, run this, start the
    /// node, and take the directory away again.
    Reissue {
        /// Make a new private key too: for a node whose `store_key` is lost for good, so that its key does not open any more
        ///
        /// The node keeps its data and its place, and records the new key by itself. A process that waits for its `store_key` goes on
        /// within 10 s. A key that does not open is put aside in pki.
        #[arg(long)]
        new_key: bool,
    },
    /// Join this node to its federation anew, under its name and with a new id, because its log is damaged; start it
    /// afterwards.
    ///
    /// The log is put aside in the data directory, under a name with the time. The node gets all it needs from the other control
    /// nodes, so most of them must be up. The node itself may be running, as one whose log is damaged does: it then ends, to be
    /// started again.
    Rejoin {
        /// A file with a fresh join token: hanse token create --join server --replace
        #[arg(long, value_name = "FILE", required_unless_present = "token")]
        token_file: Option<PathBuf>,
        /// The join token itself: hj1.…
        #[arg(long, env = "HANSE_SERVER_JOIN_TOKEN", hide_env_values = true)]
        token: Option<String>,
        /// The enrolment address of another control-plane node, one that has the root; may be repeated
        #[arg(long, value_name = "HOST:PORT", required = true, value_delimiter = ',')]
        via: Vec<String>,
    },
    /// Join this node to a federation; start it afterwards.
    Join {
        /// The join token: hj1.…
        #[arg(long, env = "HANSE_SERVER_JOIN_TOKEN", hide_env_values = true)]
        token: String,
        /// The enrolment address of a control-plane node; may be repeated
        #[arg(long, value_name = "HOST:PORT", required = true, value_delimiter = ',')]
        via: Vec<String>,
    },
}

/// `hanse agent`.
#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(subcommand)]
    pub(crate) action: Option<AgentAction>,
}

/// What to do instead of running.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentAction {
    /// Make a join token for a node of this region; prints it, alone, on standard output. Needs no control plane.
    MintToken {
        /// What joins with it
        #[arg(long, value_enum, default_value_t = JoinsRegion::Gateway)]
        join: JoinsRegion,
        /// The environments the gateway may learn; default: all of the agent's
        #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
        environments: Vec<Name>,
    },
    /// Show the agents and gateways of this region, and their traffic, as the running agent knows them. Needs no control plane.
    Region {
        /// The form of the output.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
}

/// What agents let join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum JoinsRegion {
    /// A gateway.
    Gateway,
    /// A DNS responder.
    Dns,
}

/// `hanse dns`.
#[derive(Debug, Args)]
pub(crate) struct DnsArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(subcommand)]
    pub(crate) action: Option<DnsAction>,
}

/// What to do instead of running.
#[derive(Debug, Subcommand)]
pub(crate) enum DnsAction {
    /// Show how the running responder would answer a client now, rule by rule. Needs no agent and no control plane.
    Ask {
        /// The host: orders.gslb.example.com
        name: String,
        /// The client's address or network: 198.51.100.7, 10.1.0.0/16
        #[arg(long = "as", value_name = "IP")]
        client: String,
        /// Show addresses of this type only
        #[arg(long = "type", value_enum, value_name = "TYPE")]
        record_type: Option<AddressType>,
        /// The number that chance decides by, to repeat an answer; default: another one each time
        #[arg(long, value_name = "N")]
        draw: Option<u64>,
        /// The form of the output.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Check a database of places (MaxMind DB format) and put it where the responder reads it. The running responder takes it up within
    /// seconds
    ImportGeo {
        /// The database: GeoLite2-City.mmdb
        file: PathBuf,
    },
}

/// A type of records with addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AddressType {
    /// IPv4.
    #[value(name = "A")]
    A,
    /// IPv6.
    #[value(name = "AAAA")]
    Aaaa,
}

/// `hanse upstream`.
#[derive(Debug, Args)]
pub(crate) struct UpstreamArgs {
    /// Where to listen; port 0 takes any
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// A file to write the address to once it listens
    #[arg(long, value_name = "FILE")]
    pub(crate) address_file: Option<PathBuf>,
}
