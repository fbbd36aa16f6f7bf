//! `hanse apply`.

use std::path::Path;

use hanse_api::answer::{Applied, ApplyRequest};

use crate::{
    args::ApplyArgs,
    client::{ApplyOptions, Client},
    commands::{approval::tell_proposed, changes, plan},
    convergence,
    exit::Failure,
    out::data,
    render,
    source::{self, Sourced, dump::DumpDir},
};

/// Applies manifests or a plan, all or none; or a dump, part after part.
pub(crate) async fn apply(client: &Client, args: &ApplyArgs) -> anyhow::Result<()> {
    if let Some(reason) = &args.propose.propose {
        return propose(client, args, reason).await;
    }
    let revision = match source::dump::of(&args.file)? {
        Some(dump) => restore(client, args, &dump).await?,
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
async fn send(client: &Client, args: &ApplyArgs, manifests: &[Sourced]) -> anyhow::Result<Applied> {
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

/// Applies the parts of a dump. The revision after the last.
async fn restore(client: &Client, args: &ApplyArgs, dump: &DumpDir) -> anyhow::Result<u64> {
    if args.prune || args.owner.owner.is_some() {
        let failure = Failure::usage("a dump is applied as it is, and deletes nothing");
        return Err(failure.remedy("leave --owner and --prune out").into());
    }
    if args.dry_run && dump.parts > 1 {
        let said = format!("the dump has {} parts, and each needs those before it", dump.parts);
        return Err(Failure::usage(said).remedy("leave --dry-run out: it cannot try a part alone").into());
    }
    let mut answers = Vec::new();
    for (number, part) in (1..).zip(dump.files()) {
        let applied = restore_part(client, args, &part).await;
        // All of its resources may have been taken out.
        let Some(answer) = applied.map_err(|error| stopped(error, &part, number, dump.parts))? else {
            continue;
        };
        if args.output.output.is_none() {
            changes::print(&answer, args.dry_run)?;
        }
        answers.push(answer);
    }
    if let Some(form) = args.output.output {
        data(render::formed(&answers, form))?;
    }
    let last = answers.last().map(|answer| answer.revision);
    last.ok_or_else(|| Failure::input("the dump has no resources").into())
}

/// `None`: the part has no resources.
async fn restore_part(client: &Client, args: &ApplyArgs, part: &Path) -> anyhow::Result<Option<Applied>> {
    let manifests = source::part(part, &client.organization)?;
    if manifests.is_empty() { Ok(None) } else { send(client, args, &manifests).await.map(Some) }
}

/// An error in the middle of a dump.
fn stopped(error: anyhow::Error, part: &Path, number: u64, all: u64) -> anyhow::Error {
    let before = if number == 1 { "no part is" } else { "the parts before it are" };
    let so_far = format!(
        "this is part {number} of {all}, {}; {before} applied. Once it is mended, run the same command again: what is there already \
         stays",
        part.display()
    );
    match error.downcast::<Failure>() {
        Ok(failure) => Failure { message: format!("{}\n  {so_far}", failure.message), ..failure }.into(),
        Err(error) => error.context(so_far),
    }
}
