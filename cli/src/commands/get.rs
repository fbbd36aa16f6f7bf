//! `hanse get`.

use crate::{
    args::GetArgs,
    client::Client,
    out::{data, say},
    render,
};

/// Said of an answer with `--stale` that may be older than an earlier one.
const RESTARTED: &str =
    "note: the node was restarted and has not caught up; it may have shown later changes before";

/// Lists a kind, or shows one resource.
pub(crate) async fn get(client: &Client, args: &GetArgs) -> anyhow::Result<()> {
    let text = match &args.name {
        Some(name) => {
            let resource = client.get(&client.key(args.kind, name.clone()), args.stale).await?;
            render::resource(args.kind, &resource, args.output)
        }
        None => render::listed(args.kind, &client.list(args.kind, args.stale).await?, args.output),
    };
    if client.read_restarted() {
        say(RESTARTED);
    }
    if !text.is_empty() {
        data(text)?;
    }
    Ok(())
}
