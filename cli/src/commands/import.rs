//! `hanse import openapi`.

use std::io::Read as _;

use anyhow::Context as _;
use hanse_management::kinds::{ApiKeySpec, SecuritySpec};

use crate::{
    args::{ImportArgs, ImportCommand, OpenApiArgs},
    client::{ApplyOptions, Client, mebibytes},
    commands::{changes, reachable},
    convergence,
    exit::Failure,
    import::{self, Existing, Imported, MAX_DOCUMENT_BYTES, Publication},
    out::{Progress, data, say},
};

/// Imports a description of an API.
pub(crate) async fn import(client: &Client, args: &ImportArgs) -> anyhow::Result<()> {
    match &args.command {
        ImportCommand::Openapi(args) => openapi(client, args).await,
    }
}

async fn openapi(client: &Client, args: &OpenApiArgs) -> anyhow::Result<()> {
    let imported = read_document(&args.file)?;
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
    let answer = client.apply(&resources, &ApplyOptions::default()).await?;
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

fn read_document(file: &str) -> anyhow::Result<Imported> {
    let _progress = Progress::start(format!("reading {file}"));
    let mut bytes = Vec::new();
    let limit = MAX_DOCUMENT_BYTES;
    let too_large = |bytes: Option<u64>| {
        let is = bytes.map_or_else(|| "is larger".to_owned(), |bytes| format!("has {}", mebibytes(bytes)));
        Failure::input(format!("{file} {is}; at most {} of a document are read", mebibytes(limit))).remedy(
            "leave references in place instead of writing them out; examples and schemas are not used either",
        )
    };
    if file == "-" {
        std::io::stdin().lock().take(limit + 1).read_to_end(&mut bytes).context("reading standard input")?;
    } else {
        let unreadable = |error| Failure::usage(format!("cannot read {file}: {error}"));
        let opened = std::fs::File::open(file).map_err(unreadable)?;
        let size = opened.metadata().map_err(unreadable)?.len();
        if size > limit {
            return Err(too_large(Some(size)).into());
        }
        opened.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    if bytes.len() as u64 > limit {
        return Err(too_large(None).into());
    }
    let text = String::from_utf8(bytes).map_err(|_| Failure::input(format!("{file} is not UTF-8 text")))?;
    let imported = import::parse(&text).and_then(|document| import::operations(&document));
    imported.map_err(|error| {
        let failure = Failure::from(error);
        Failure { message: format!("{file}: {}", failure.message), ..failure }.into()
    })
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
    let Imported { title, version, operations, deprecated } = imported;
    let deprecated =
        if *deprecated > 0 { format!(", {deprecated} of them deprecated") } else { String::new() };
    format!("{title} {version}: {} operations{deprecated}", operations.len())
}
