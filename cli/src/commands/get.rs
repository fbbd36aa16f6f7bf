//! `hanse get`.

use crate::{args::GetArgs, client::Client, out::data, render};

/// Lists a kind, or shows one resource.
pub(crate) async fn get(client: &Client, args: &GetArgs) -> anyhow::Result<()> {
    let text = match &args.name {
        Some(name) => {
            let resource = client.get(&client.key(args.kind, name.clone()), args.stale).await?;
            render::resource(args.kind, &resource, args.output)
        }
        None => render::listed(args.kind, &client.list(args.kind, args.stale).await?, args.output),
    };
    if !text.is_empty() {
        data(text)?;
    }
    Ok(())
}
