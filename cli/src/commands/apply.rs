//! `hanse apply`.

use hanse_api::answer::{Applied, ApplyRequest};

use crate::{
    args::ApplyArgs,
    client::{ApplyOptions, Client},
    commands::{approval::tell_proposed, changes, plan, restore},
    convergence,
    exit::Failure,
    out::data,
    render,
    source::{self, Sourced},
};

/// Applies manifests or a plan, all or none; or a dump, part after part.
pub(crate) async fn apply(client: &Client, args: &ApplyArgs) -> anyhow::Result<()> {
    if let Some(reason) = &args.propose.propose {
        return propose(client, args, reason).await;
    }
    let revision = match source::dump::of(&args.file)? {
        Some(dump) => restore::restore(client, args, &dump).await?,
        None => {
            let answer = match &args.plan {
                Some(file) => plan::carry_out(client, file, args.dry_run).await?,
                None => send(client, args, &source::read(&args.file, &client.organization)?).await?,
            };
            match args.output.output {
                Some(form) => {
                    data(render::formed(&answer, form))?;
                    changes::warn(&answer.warnings, answer.warnings_left_out);
                }
                None => changes::print(&answer, args.dry_run)?,
            }
            answer.revision
        }
    };
    match args.wait.wait {
        Some(timeout) if !args.dry_run => convergence::wait(client, revision, timeout).await,
        _ => Ok(()),
    }
}

/// Keeps manifests or a plan for the approval of a second owner.
async fn propose(client: &Client, args: &ApplyArgs, reason: &str) -> anyhow::Result<()> {
    if args.selector.is_some() {
        let failure =
            Failure::usage("what is pruned by a selector is not proposed: it depends on what is there");
        return Err(failure
            .remedy("prune by an owner: hanse apply -f FILE --owner NAME --prune --propose REASON")
            .into());
    }
    if source::dump::of(&args.file)?.is_some() {
        let failure = Failure::usage("a dump is not proposed: its parts need each other");
        return Err(failure.remedy("leave --propose out, or name one part with -f").into());
    }
    let proposal = match &args.plan {
        Some(file) => plan::propose(client, file, reason).await?,
        None => {
            let manifests = source::read(&args.file, &client.organization)?;
            let request = request(client, args, &manifests).await?;
            let proposed = client.propose(&request, &options(args), reason).await;
            proposed.map_err(|error| source::located(error, &manifests))?
        }
    };
    tell_proposed(&proposal, args.output.output)?;
    Ok(())
}

/// One request with these manifests.
pub(super) async fn send(
    client: &Client,
    args: &ApplyArgs,
    manifests: &[Sourced],
) -> anyhow::Result<Applied> {
    let request = request(client, args, manifests).await?;
    let answer = client.request(&request, &options(args)).await;
    answer.map_err(|error| source::located(error, manifests))
}

fn options(args: &ApplyArgs) -> ApplyOptions<'_> {
    ApplyOptions {
        dry_run: args.dry_run,
        prune: args.selector.as_deref().filter(|_| args.prune),
        force_grants: args.force.force_grants,
    }
}

async fn request(client: &Client, args: &ApplyArgs, manifests: &[Sourced]) -> anyhow::Result<ApplyRequest> {
    Ok(match args.owner.owner {
        Some(_) => plan::of_manifests(client, manifests, &args.owner, args.prune).await?,
        None => ApplyRequest::of(manifests.iter().map(Sourced::to_json).collect()),
    })
}
