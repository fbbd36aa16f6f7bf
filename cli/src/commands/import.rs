//! `hanse import openapi`.

use hanse_management::kinds::{ApiKeySpec, SecuritySpec};

use crate::{
    args::{ImportArgs, ImportCommand, OpenApiArgs},
    client::Client,
    commands::{
        publishing::{Question, carry_out_with_retries, tell},
        reachable,
    },
    convergence,
    import::{self, Imported, Wanted, printable},
    out::{data, say},
    publish::{Import, Offered},
};

/// Imports a description of an API.
pub(crate) async fn import(client: &Client, args: &ImportArgs) -> anyhow::Result<()> {
    match &args.command {
        ImportCommand::Openapi(args) => openapi(client, args).await,
    }
}

async fn openapi(client: &Client, args: &OpenApiArgs) -> anyhow::Result<()> {
    let wanted = Wanted {
        skip_unusable: args.skip_unusable,
        api_version: args.api_version.clone(),
        greedy: args.greedy.clone(),
        context: Some(args.context.clone()),
    };
    let imported = import::read(&args.file, &wanted)?;
    let import = Import {
        organization: client.organization.clone(),
        api: args.name.clone(),
        context: args.context.clone(),
        offered: Offered { version: imported.version.clone(), operations: imported.operations.clone() },
        security: security(args),
        upstreams: args.upstream.clone(),
        environments: args.publish_to.clone(),
        regions: args.regions.clone(),
        also: args.also.clone(),
        pin: args.pin.clone(),
        over_rollback: args.over_rollback,
    };
    let made = args.publish_to.iter().map(|environment| import.made_in(environment));
    let question = Question {
        api: &args.name,
        environments: args.publish_to.iter().collect(),
        upstreams: made.collect::<Result<_, _>>()?,
        before: false,
        number: None,
    };
    let plan = |observed: &_| Ok(import.plan(observed)?);
    let done = carry_out_with_retries(client, &question, &args.also, args.dry_run, plan).await;
    let done = done.map_err(|error| imported.located(error))?;
    say(summary(&imported));
    tell(&done, args.change.form())?;
    if args.dry_run {
        return Ok(());
    }
    if let Some(timeout) = args.change.timeout() {
        convergence::wait(client, done.applied.revision, timeout).await?;
    }
    let places = reachable::places(client, &args.context, &done.preview.bindings).await?;
    match args.change.form() {
        Some(_) => say(places),
        None => data(places)?,
    }
    if import.asks_for_key(&done.observed) {
        say(format!("callers need an API key: hanse subscribe {} --application APP --plan PLAN", args.name));
    }
    Ok(())
}

fn security(args: &OpenApiArgs) -> Option<SecuritySpec> {
    if args.open {
        return Some(SecuritySpec::default());
    }
    let asked = args.api_key || args.api_key_header.is_some() || args.api_key_query.is_some();
    let (header, query) = (args.api_key_header.clone(), args.api_key_query.clone());
    asked.then(|| ApiKeySpec { header, query }.into())
}

fn summary(imported: &Imported) -> String {
    let Imported { title, version, operations, deprecated, .. } = imported;
    let deprecated =
        if *deprecated > 0 { format!(", {deprecated} of them deprecated") } else { String::new() };
    format!("{} {}: {} operations{deprecated}", printable(title), printable(version), operations.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_commands_no_terminal() {
        let imported = Imported {
            title: "\u{1b}[2JPets\u{202e}".to_owned(),
            version: "1\u{feff}".to_owned(),
            ..Imported::default()
        };
        assert_eq!(summary(&imported), "\\u{1b}[2JPets\\u{202e} 1\\u{feff}: 0 operations");
    }
}
