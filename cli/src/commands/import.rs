//! `hanse import openapi`.

use hanse_management::kinds::{ApiKeySpec, SecuritySpec};

use crate::{
    args::{ImportArgs, ImportCommand, OpenApiArgs},
    client::{ApplyOptions, Client},
    commands::{changes, reachable},
    convergence,
    exit::Failure,
    import::{self, Existing, Imported, Publication, Wanted, printable},
    out::{data, say},
};

/// Imports a description of an API.
pub(crate) async fn import(client: &Client, args: &ImportArgs) -> anyhow::Result<()> {
    match &args.command {
        ImportCommand::Openapi(args) => openapi(client, args).await,
    }
}

async fn openapi(client: &Client, args: &OpenApiArgs) -> anyhow::Result<()> {
    let wanted = Wanted { skip_unusable: args.skip_unusable, api_version: args.api_version.clone() };
    let imported = import::read(&args.file, &wanted)?;
    let publication = Publication {
        organization: client.organization.clone(),
        name: args.name.clone(),
        context: args.context.clone(),
        upstreams: args.upstream.clone(),
        environments: args.publish_to.clone(),
        regions: args.regions.clone(),
        security: security(args),
    };
    let too_long = |error| {
        Failure::usage(format!("--as and --publish-to make a Binding whose name is too long: {error}"))
    };
    let mut existing = Existing::default();
    for (kind, name) in publication.keys().map_err(too_long)? {
        existing.0.extend(client.find(&client.key(kind, name)).await?);
    }
    let resources = publication.resources(&imported, &existing).map_err(too_long)?;
    let answer =
        client.apply(&resources, &ApplyOptions::default()).await.map_err(|error| imported.located(error))?;
    changes::print(&answer, false)?;
    say(summary(&imported));
    if let Some(timeout) = args.wait.wait {
        convergence::wait(client, answer.revision, timeout).await?;
    }
    data(reachable::places(client, &publication).await?)?;
    if asks_for_key(&resources) {
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

fn asks_for_key(resources: &[serde_json::Value]) -> bool {
    resources.iter().any(|resource| resource.pointer("/spec/security/apiKey").is_some())
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
