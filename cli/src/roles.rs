//! Running a role: from its configuration file to its library.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use hanse_identity::JoinToken;
use hanse_process::{shutdown, telemetry};
use hanse_topology::{Name, Role};

use crate::{
    args::{
        AgentAction, AgentArgs, DnsAction, DnsArgs, JoinsRegion, RoleCommand, RunArgs, ServerAction,
        ServerArgs,
    },
    commands,
    exit::{Exit, Failure},
    out::{data, say},
    role_config,
};

/// Runs a role, or does instead what its arguments say.
pub(crate) async fn run(config: Option<PathBuf>, command: &RoleCommand) -> anyhow::Result<()> {
    match command {
        RoleCommand::Server(args) => server(config, args).await,
        RoleCommand::Agent(args) => agent(config, args).await,
        RoleCommand::Gateway(args) => gateway(config, args).await,
        RoleCommand::Dns(args) => dns(config, args).await,
    }
}

/// `hanse server`.
async fn server(config: Option<PathBuf>, args: &ServerArgs) -> anyhow::Result<()> {
    let path = needed(config, "server")?;
    let config: hanse_server::Config = role_config::load(&path, "HANSE_SERVER_")?;
    match &args.action {
        Some(ServerAction::Init) => {
            data(hanse_server::init(&config)?)?;
            let root = config.pki_dir().join("root.crt");
            say(format!("made {}; the operators' ca_file is {}", config.name, root.display()));
            say(format!(
                "move {0}/recovery to a safe now, and {0}/root once all control nodes have joined: they are in the clear",
                config.pki_dir().display()
            ));
            Ok(())
        }
        Some(ServerAction::Reissue { new_key: true }) => {
            let aside = hanse_server::reissue_with_new_key(&config)?;
            if let Some(aside) = aside {
                say(format!("the old key does not open; it is in {}", aside.display()));
            }
            say(format!(
                "{} has a new key; start it, unless it waits for its store_key, and take pki/root away again",
                config.name
            ));
            Ok(())
        }
        Some(ServerAction::Reissue { new_key: false }) => {
            hanse_server::reissue(&config)?;
            say(format!("{} has a new intermediate; start it, and take pki/root away again", config.name));
            Ok(())
        }
        Some(ServerAction::Join { token, via }) => {
            let token: JoinToken = token.parse().map_err(|error| chain(Exit::Usage, &error))?;
            hanse_server::join(&config, &token, via).await?;
            say(format!("{} may join; it is added to the control plane when it is started", config.name));
            Ok(())
        }
        Some(ServerAction::Rejoin { token_file, token, via }) => {
            let token = match (token_file, token) {
                (Some(file), _) => std::fs::read_to_string(file)
                    .with_context(|| format!("reading the join token from {}", file.display()))?,
                (None, token) => token.clone().unwrap_or_default(),
            };
            let token: JoinToken = token.trim().parse().map_err(|error| chain(Exit::Usage, &error))?;
            let aside = hanse_server::rejoin(&config, &token, via).await?;
            say(format!(
                "{} is joined anew; its old log is in {}; it is added to the control plane when it is started",
                config.name,
                aside.display()
            ));
            Ok(())
        }
        None => {
            let name = config.name.clone();
            serve("server", name, &path, &args.run, || hanse_server::run(config, shutdown::on_signals()))
                .await
        }
    }
}

/// `hanse agent`.
async fn agent(config: Option<PathBuf>, args: &AgentArgs) -> anyhow::Result<()> {
    let path = needed(config, "agent")?;
    let config: hanse_agent::Config = role_config::load(&path, "HANSE_AGENT_")?;
    match &args.action {
        Some(AgentAction::MintToken { join, environments }) => {
            let role = match join {
                JoinsRegion::Gateway => Role::Gateway,
                JoinsRegion::Dns => Role::Dns,
            };
            data(hanse_agent::mint_token(&config, role, environments)?)?;
            Ok(())
        }
        Some(AgentAction::Region { output }) => commands::region(&config, *output).await,
        None => {
            let name = config.name.clone();
            serve("agent", name, &path, &args.run, || hanse_agent::run(config, shutdown::on_signals())).await
        }
    }
}

/// `hanse gateway`.
async fn gateway(config: Option<PathBuf>, args: &RunArgs) -> anyhow::Result<()> {
    let path = needed(config, "gateway")?;
    let config: hanse_gateway::Config = role_config::load(&path, "HANSE_GATEWAY_")?;
    config.check().with_context(|| path.display().to_string())?;
    let name = config.name.clone();
    serve("gateway", name, &path, args, || hanse_gateway::run(config, shutdown::on_signals())).await
}

/// `hanse dns`.
async fn dns(config: Option<PathBuf>, args: &DnsArgs) -> anyhow::Result<()> {
    let path = needed(config, "dns")?;
    let config: hanse_dns::Config = role_config::load(&path, "HANSE_DNS_")?;
    config.check().with_context(|| path.display().to_string())?;
    let name = config.name.clone();
    match &args.action {
        Some(DnsAction::Ask { name, client, record_type, draw, output }) => {
            return commands::ask_responder(&config, name, client, *record_type, *draw, *output).await;
        }
        Some(DnsAction::ImportGeo { file }) => return commands::import_geo(&config, file),
        None => {}
    }
    serve("dns", name, &path, &args.run, || hanse_dns::run(config, shutdown::on_signals())).await
}

/// Runs a role whose configuration was read, or says that it is sound.
async fn serve<E: std::error::Error + Send + Sync + 'static>(
    role: &'static str,
    name: Name,
    path: &Path,
    args: &RunArgs,
    run: impl AsyncFnOnce() -> Result<(), E>,
) -> anyhow::Result<()> {
    if args.check_config {
        say(format!("{} is sound", path.display()));
        return Ok(());
    }
    telemetry::init(role, args.log_json);
    Ok(telemetry::of_node(role, name, run()).await?)
}

fn needed(config: Option<PathBuf>, role: &str) -> Result<PathBuf, Failure> {
    config.ok_or_else(|| {
        Failure::usage(format!("a {role} needs its configuration file"))
            .remedy(format!("hanse {role} --config {role}.toml"))
    })
}

/// An error and its causes in one failure.
fn chain(exit: Exit, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(exit, telemetry::causes(error).to_string())
}
