//! `hanse promote` and `hanse rollback`.

use crate::{
    args::{PromoteArgs, RollbackArgs},
    client::Client,
    commands::publishing::{Done, How, Question, carry_out, tell},
    convergence,
    publish::{Promotion, Rollback},
};

/// Has one Environment serve what another serves.
pub(crate) async fn promote(client: &Client, args: &PromoteArgs) -> anyhow::Result<()> {
    let promotion = Promotion {
        organization: client.organization.clone(),
        api: args.api.clone(),
        from: args.from.clone(),
        to: args.to.clone(),
        regions: args.regions.clone(),
        with_upstream: args.with_upstream,
        over_rollback: args.over_rollback,
    };
    let question = Question {
        api: &args.api,
        environments: vec![&args.from, &args.to],
        upstreams: Vec::new(),
        before: false,
        number: None,
    };
    let plan = |observed: &_| Ok(promotion.plan(observed)?);
    let how = How::of(args.dry_run, &args.propose);
    let done = carry_out(client, &question, &[], how, plan).await?;
    finish(client, &done, args.change.form(), args.change.timeout()).await
}

/// Has an Environment serve what it served before.
pub(crate) async fn rollback(client: &Client, args: &RollbackArgs) -> anyhow::Result<()> {
    let rollback = Rollback {
        organization: client.organization.clone(),
        api: args.api.clone(),
        environment: args.environment.clone(),
        to: args.to,
        regions: args.regions.clone(),
    };
    let question = Question {
        api: &args.api,
        environments: vec![&args.environment],
        upstreams: Vec::new(),
        before: true,
        number: args.to,
    };
    let plan = |observed: &_| Ok(rollback.plan(observed)?);
    let how = How::of(args.dry_run, &args.propose);
    let done = carry_out(client, &question, &[], how, plan).await?;
    finish(client, &done, args.change.form(), args.change.timeout()).await
}

async fn finish(
    client: &Client,
    done: &Done,
    form: Option<crate::args::Form>,
    wait: Option<std::time::Duration>,
) -> anyhow::Result<()> {
    tell(done, form)?;
    match wait {
        Some(timeout) if !done.applied.dry_run => {
            convergence::wait(client, done.applied.revision, timeout).await
        }
        _ => Ok(()),
    }
}
