//! The `hanse` binary: every role of the federation, and its operators' client.
//!
//! - [`args`]: the command line. [`exit`]: exit codes. [`out`]: data to standard output, talk to standard error.
//! - [`mod@client`], [`commands`]: the operator API and the client commands. [`import`]: OpenAPI documents. [`publish`]: what import,
//!   promote and rollback change.
//! - [`roles`]: running a role from its configuration file. [`dev`]: a whole federation on this machine.
//!
//! Nothing here decides what a change means: `hanse-management` reads the manifests, and the control plane answers the rest.

mod args;
mod client;
mod client_config;
mod commands;
mod complete;
mod convergence;
mod dev;
mod exit;
mod import;
mod out;
mod plan;
mod publish;
mod render;
mod role_config;
mod roles;
mod served;
mod shell;
mod source;
mod toml_words;
mod upstream;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use hanse_topology::Name;

use crate::{
    args::{Cli, Command},
    client::Client,
    exit::{Exit, exit_of, explain},
    out::{data, say},
};

/// Gives memory back once it is not needed; docs/adr/0018 has the figures.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::of(std::env::args_os()).unwrap_or_else(|error| error.exit());
    hanse_identity::install_crypto_provider();
    match run(cli) {
        Ok(code) => code,
        Err(error) if out::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(explain(&error));
            exit_of(&error).into()
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { config, command } = cli;
    if matches!(command, Command::Dev(_) | Command::Role(_)) {
        // Before there is a second thread: what roles and their databases make is theirs alone.
        hanse_process::private::for_owner_only();
    }
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Dev(args) => runtime()?.block_on(dev::dev(&args)).map(done),
        Command::Role(command) => runtime()?.block_on(roles::run(config, &command)).map(done),
        Command::Upstream(args) => runtime()?.block_on(upstream::run(&args)).map(done),
        Command::Completion { shell } => {
            data(commands::script(shell))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Complete(args) => {
            let runtime = runtime()?;
            let completed = runtime.block_on(commands::complete(config, &args));
            // A resolver of names that does not answer is not waited for.
            runtime.shutdown_background();
            completed.map(done)
        }
        Command::Openapi => {
            data(hanse_api::openapi_json())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Version => {
            data(format!("hanse {}", args::VERSION))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Diff(args) => runtime()?.block_on(async {
            let compared = match client(config, args.organization.organization.clone()) {
                Ok(client) => commands::diff(&client, &args).await,
                Err(error) => Err(error),
            };
            Ok(diff_code(compared))
        }),
        Command::Apply(args) => with_client(config, &args.organization.organization, async |client| {
            commands::apply(client, &args).await
        }),
        Command::Plan(args) => with_client(config, &args.organization.organization, async |client| {
            commands::plan(client, &args).await
        }),
        Command::Get(args) => with_client(config, &args.organization.organization, async |client| {
            commands::get(client, &args).await
        }),
        Command::Describe(args) => with_client(config, &args.organization.organization, async |client| {
            commands::describe(client, &args).await
        }),
        Command::Delete(args) => with_client(config, args.change.organization(), async |client| {
            commands::delete(client, &args).await
        }),
        Command::Dump(args) => with_client(config, &None, async |client| commands::dump(client, &args).await),
        Command::Import(args) => {
            with_client(config, args.organization(), async |client| commands::import(client, &args).await)
        }
        Command::Publish(args) => {
            let organization = args.publication.change.organization();
            with_client(config, organization, async |client| commands::publish(client, &args).await)
        }
        Command::Promote(args) => with_client(config, args.change.organization(), async |client| {
            commands::promote(client, &args).await
        }),
        Command::Rollback(args) => with_client(config, args.change.organization(), async |client| {
            commands::rollback(client, &args).await
        }),
        Command::Subscribe(args) => with_client(config, args.change.organization(), async |client| {
            commands::subscribe(client, &args).await
        }),
        Command::Status(args) => {
            with_client(config, &None, async |client| commands::status(client, args.output).await)
        }
        Command::Wait(args) => with_client(config, &None, async |client| commands::wait(client, &args).await),
        Command::Member(args) => {
            with_client(config, &None, async |client| commands::member(client, &args).await)
        }
        Command::Root(args) => match commands::root::offline(&args)? {
            true => Ok(ExitCode::SUCCESS),
            false => with_client(config, &None, async |client| commands::root::root(client, &args).await),
        },
        Command::FederationKey(args) => {
            with_client(config, &None, async |client| commands::federation_key(client, &args).await)
        }
        Command::RecoveryKey(args) => {
            with_client(config, &None, async |client| commands::recovery_key(client, &args).await)
        }
        Command::Upgrade(args) => {
            with_client(config, &None, async |client| commands::upgrade::upgrade(client, &args).await)
        }
        Command::Failover(args) => {
            with_client(config, &None, async |client| commands::failover(client, &args).await)
        }
        Command::Failback(args) => {
            with_client(config, &None, async |client| commands::failback(client, &args).await)
        }
        Command::Region(args) => {
            with_client(config, &None, async |client| commands::region_command(client, &args).await)
        }
        Command::Approval(args) => {
            with_client(config, &None, async |client| commands::approval(client, &args).await)
        }
        Command::Audit(args) => match commands::audit::offline(&args)? {
            true => Ok(ExitCode::SUCCESS),
            false => with_client(config, &None, async |client| commands::audit::audit(client, &args).await),
        },
        Command::Whoami(args) => {
            with_client(config, &None, async |client| commands::whoami(client, args.output).await)
        }
        Command::Token(args) => {
            with_client(config, &None, async |client| commands::token::token(client, &args).await)
        }
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")
}

fn client(config: Option<PathBuf>, organization: Option<Name>) -> anyhow::Result<Client> {
    Client::of_process(config, organization)
}

fn with_client(
    config: Option<PathBuf>,
    organization: &Option<Name>,
    command: impl AsyncFnOnce(&Client) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(async {
        command(&client(config, organization.clone())?).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Of `diff`: 0 same, 1 different, more than 1 failed, as everywhere.
fn diff_code(compared: anyhow::Result<bool>) -> ExitCode {
    match compared {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => Exit::General.into(),
        Err(error) if out::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(explain(&error));
            match exit_of(&error) {
                Exit::General => Exit::Usage.into(),
                exit => exit.into(),
            }
        }
    }
}
