//! `hanse publish`, and what it shares with import.

use hanse_management::kinds::{ApiKeySpec, SecuritySpec};
use hanse_topology::Name;

use crate::{
    args::{PublicationFlags, PublishArgs},
    client::Client,
    commands::{
        publishing::{How, Question, carry_out_with_retries, tell},
        reachable,
    },
    convergence,
    out::{data, say},
    publish::{Import, Offered},
};

/// Publishes a service that has no description.
pub(crate) async fn publish(client: &Client, args: &PublishArgs) -> anyhow::Result<()> {
    let offered = Offered::everything(args.api_version.clone());
    publication(client, &args.name, &args.publication, offered).await
}

/// Writes the Api, has the environments that are named serve it, and says where.
pub(super) async fn publication(
    client: &Client,
    api: &Name,
    flags: &PublicationFlags,
    offered: Offered,
) -> anyhow::Result<()> {
    let import = Import {
        organization: client.organization.clone(),
        api: api.clone(),
        context: flags.context.clone(),
        offered,
        security: security(flags),
        upstreams: flags.upstream.clone(),
        environments: flags.publish_to.clone(),
        regions: flags.regions.clone(),
        also: flags.also.clone(),
        pin: flags.pin.clone(),
        over_rollback: flags.over_rollback,
    };
    let made = flags.publish_to.iter().map(|environment| import.made_in(environment));
    let question = Question {
        api,
        environments: flags.publish_to.iter().collect(),
        upstreams: made.collect::<Result<_, _>>()?,
        before: false,
        number: None,
    };
    let plan = |observed: &_| Ok(import.plan(observed)?);
    let how = How::of(flags.dry_run, &flags.propose);
    let done = carry_out_with_retries(client, &question, &flags.also, how, plan).await?;
    tell(&done, flags.change.form())?;
    if done.applied.dry_run {
        return Ok(());
    }
    if let Some(timeout) = flags.change.timeout() {
        convergence::wait(client, done.applied.revision, timeout).await?;
    }
    let before = done.observed.api.as_ref().map(|found| &found.spec);
    let places = reachable::places(client, &flags.context, before, &done.preview.bindings).await?;
    match flags.change.form() {
        Some(_) => say(places),
        None => data(places)?,
    }
    if import.asks_for_key(&done.observed) {
        say(format!("callers need an API key: hanse subscribe {api} --application APP --plan PLAN"));
    }
    Ok(())
}

fn security(flags: &PublicationFlags) -> Option<SecuritySpec> {
    if flags.open {
        return Some(SecuritySpec::default());
    }
    let asked = flags.api_key || flags.api_key_header.is_some() || flags.api_key_query.is_some();
    let (header, query) = (flags.api_key_header.clone(), flags.api_key_query.clone());
    asked.then(|| ApiKeySpec { header, query }.into())
}
