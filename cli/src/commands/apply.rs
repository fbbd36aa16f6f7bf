//! `hanse apply`.

use crate::{
    args::ApplyArgs,
    client::{ApplyOptions, Client},
    commands::changes,
    convergence,
    out::data,
    render, source,
};

/// Applies manifests, all or none.
pub(crate) async fn apply(client: &Client, args: &ApplyArgs) -> anyhow::Result<()> {
    let manifests = source::read(&args.file, &client.organization)?;
    let resources: Vec<_> = manifests.iter().map(source::Sourced::to_json).collect();
    let options =
        ApplyOptions { dry_run: args.dry_run, prune: args.selector.as_deref().filter(|_| args.prune) };
    let answer = client.apply(&resources, &options).await;
    let answer = answer.map_err(|error| source::located(error, &manifests))?;
    match args.output.output {
        Some(form) => {
            data(render::formed(&answer, form))?;
            changes::warn(&answer);
        }
        None => changes::print(&answer, args.dry_run)?,
    }
    match args.wait.wait {
        Some(timeout) if !args.dry_run => convergence::wait(client, answer.revision, timeout).await,
        _ => Ok(()),
    }
}
