//! `hanse status` and `hanse wait`.

use crate::{
    args::{Output, RevisionArg, WaitArgs},
    client::Client,
    convergence,
    exit::Failure,
    out::data,
    render,
};

/// Shows the federation.
pub(crate) async fn status(client: &Client, output: Output) -> anyhow::Result<()> {
    let status = client.status().await?;
    let text = match output {
        Output::Table | Output::Wide => render::federation(&status),
        Output::Json => render::pretty(&status),
        Output::Yaml => render::yaml(&status),
        Output::Name => return Err(Failure::usage("status has no names; use table, json or yaml").into()),
    };
    data(text)?;
    Ok(())
}

/// Waits for a revision.
pub(crate) async fn wait(client: &Client, args: &WaitArgs) -> anyhow::Result<()> {
    let revision = match args.revision {
        RevisionArg::Number(revision) => revision,
        RevisionArg::Latest => client.latest_revision().await?,
    };
    convergence::wait(client, revision, args.timeout).await
}
