//! `hanse import openapi`.

use crate::{
    args::{ImportArgs, ImportCommand, OpenApiArgs},
    client::Client,
    commands::publish::publication,
    import::{self, Imported, Wanted, printable},
    out::say,
    publish::Offered,
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
        context: Some(args.publication.context.clone()),
    };
    let imported = import::read(&args.file, &wanted)?;
    say(summary(&imported));
    let offered = Offered {
        version: Some(imported.version.clone()),
        operations: imported.operations.clone(),
        replaces: true,
    };
    let published = publication(client, &args.name, &args.publication, offered).await;
    published.map_err(|error| imported.located(error))
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
