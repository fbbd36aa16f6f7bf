//! `hanse delete`.

mod cascade;
mod made;
mod preview;

use hanse_api::answer::Deleted;
use hanse_management::{ProblemName, ResourceKey};

use crate::{
    args::{DeleteArgs, Form},
    client::{ApplyOptions, Client, problem_of},
    commands::{
        approval::tell_proposed,
        changes,
        delete::{
            cascade::{Ended, Listed},
            preview::Outcome,
        },
    },
    convergence,
    exit::{Exit, Failure},
    out::{data, say},
    render, source,
};

/// Deletes one resource, or those that manifests name: what depends on others first.
pub(crate) async fn delete(client: &Client, args: &DeleteArgs) -> anyhow::Result<()> {
    let keys = match (args.kind, &args.name) {
        (Some(kind), Some(name)) => vec![client.key(kind, name.clone())],
        _ => {
            let manifests = source::read(&args.file, &client.organization)?;
            in_order(manifests.into_iter().map(|sourced| sourced.manifest.key).collect())
        }
    };
    if let Some(reason) = args.propose.propose.as_deref().filter(|_| !args.cascade) {
        return propose(client, args, &keys, reason).await;
    }
    let revision = if args.cascade {
        match cascade::run(client, args, &keys).await? {
            Ended::Nothing => None,
            Ended::Proposed => return Ok(()),
            Ended::Deleted(revision) => Some(revision),
        }
    } else if args.dry_run {
        attempt(client, args, &keys).await?
    } else {
        one_by_one(client, args, &keys).await?
    };
    match (revision, args.change.timeout()) {
        (Some(revision), Some(timeout)) if !args.dry_run => {
            convergence::wait(client, revision, timeout).await
        }
        (None, _) => Err(Failure::new(Exit::NotFound, "nothing of it is there").into()),
        _ => Ok(()),
    }
}

/// Keeps the delete of all of them at once for the approval of a second owner.
async fn propose(
    client: &Client,
    args: &DeleteArgs,
    keys: &[ResourceKey],
    reason: &str,
) -> anyhow::Result<()> {
    let listed = list(client, keys).await?;
    if listed.is_empty() {
        return Err(Failure::new(Exit::NotFound, "nothing of it is there").into());
    }
    let options = ApplyOptions { force_grants: args.force.force_grants, ..ApplyOptions::default() };
    say_if_any(preview::losses(client, &listed).await?.text());
    let proposal = client.propose(&cascade::request(&listed), &options, reason).await?;
    tell_proposed(&proposal, args.change.form())?;
    Ok(())
}

/// Those of `keys` that are there.
async fn list(client: &Client, keys: &[ResourceKey]) -> anyhow::Result<Listed> {
    let mut listed = Listed::new();
    for key in keys {
        match client.find(key).await? {
            Some(found) => {
                listed.insert(key.clone(), found.revision);
            }
            None => say(format!("{key} is not there")),
        }
    }
    Ok(listed)
}

/// Tries to delete all of them at once.
async fn attempt(client: &Client, args: &DeleteArgs, keys: &[ResourceKey]) -> anyhow::Result<Option<u64>> {
    let listed = list(client, keys).await?;
    if listed.is_empty() {
        return Ok(None);
    }
    let options = ApplyOptions { dry_run: true, prune: None, force_grants: args.force.force_grants };
    let preview = preview::losses(client, &listed).await?;
    let applied = client.request(&cascade::request(&listed), &options).await?;
    say_if_any(preview.text());
    let outcome = Outcome { applied, preview };
    tell(&outcome, args.change.form())?;
    Ok(Some(outcome.applied.revision))
}

/// Deletes them with one request each. The revision after the last.
async fn one_by_one(client: &Client, args: &DeleteArgs, keys: &[ResourceKey]) -> anyhow::Result<Option<u64>> {
    let single = args.kind.is_some();
    let mut gone = Listed::new();
    let mut last = None;
    let (mut deleted, mut answers, mut failed) = (Vec::new(), Vec::new(), None);
    for key in keys {
        match client.delete(key, args.force.force_grants).await {
            Ok(answer) => {
                last = Some(answer.revision);
                if args.change.form().is_none() {
                    data(format!("{key} deleted"))?;
                }
                changes::warn(&answer.warnings, answer.warnings_left_out);
                gone.insert(key.clone(), answer.revision);
                deleted.push(key.clone());
                answers.push(answer);
            }
            Err(error) if !single && problem_of(&error) == Some(ProblemName::NotFound) => {
                say(format!("{key} is not there"));
            }
            Err(error) => {
                failed = Some(if single { error } else { stopped(error, &deleted) });
                break;
            }
        }
    }
    if let Some(text) = args.change.form().and_then(|form| document(&answers, single, form)) {
        data(text)?;
    }
    if let Some(error) = failed {
        return Err(error);
    }
    // The resources are deleted, also if the offer fails.
    if let Ok(made) = made::for_apis(client, &gone, made::Apis::Gone, args.force.force_grants).await {
        made::offer(&made);
    }
    Ok(last)
}

/// The answers as one document: a list of them for manifests, also when it is empty.
fn document(answers: &[Deleted], single: bool, form: Form) -> Option<String> {
    if single {
        return answers.first().map(|answer| render::formed(answer, form));
    }
    Some(render::formed(&answers, form))
}

/// Prints what was deleted, or would be.
fn tell(outcome: &Outcome, form: Option<Form>) -> anyhow::Result<()> {
    match form {
        Some(form) => data(render::formed(outcome, form))?,
        None => changes::print(&outcome.applied, outcome.applied.dry_run)?,
    }
    Ok(())
}

fn say_if_any(text: String) {
    if !text.is_empty() {
        say(text);
    }
}

/// An error in the middle, and what was deleted before it: each is a request of its own.
fn stopped(error: anyhow::Error, deleted: &[ResourceKey]) -> anyhow::Error {
    /// The others are on standard output.
    const NAMED: usize = 10;
    let so_far = match deleted {
        [] => "nothing was deleted".to_owned(),
        deleted => {
            let named = deleted.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let others = deleted.len().saturating_sub(NAMED);
            let others = if others > 0 { format!(" and {others} more") } else { String::new() };
            format!("deleted so far: {named}{others}")
        }
    };
    match error.downcast::<Failure>() {
        Ok(failure) => Failure { message: format!("{}\n  {so_far}", failure.message), ..failure }.into(),
        Err(error) => error.context(so_far),
    }
}

/// Kinds are ordered by dependency: what is referred to comes first, so it is deleted last.
fn in_order(mut keys: Vec<ResourceKey>) -> Vec<ResourceKey> {
    keys.sort();
    keys.dedup();
    keys.reverse();
    keys
}

#[cfg(test)]
mod tests {
    use hanse_management::Kind;
    use hanse_topology::Name;

    use super::*;

    #[test]
    fn a_failure_in_the_middle_says_what_is_gone() {
        let name = Name::new("x").unwrap();
        let failure =
            || Failure::new(crate::exit::Exit::Conflict, "it is in use").remedy("delete that first");
        let error = stopped(failure().into(), &[ResourceKey::global(Kind::Region, name.clone())]);
        assert_eq!(error.to_string(), "it is in use\n  deleted so far: Region x\n  hint: delete that first");
        assert_eq!(crate::exit::exit_of(&error), crate::exit::Exit::Conflict);
        assert!(stopped(failure().into(), &[]).to_string().contains("nothing was deleted"));
        let many = vec![ResourceKey::global(Kind::Region, name); 12];
        assert!(stopped(failure().into(), &many).to_string().contains("Region x and 2 more"));
    }

    #[test]
    fn the_answers_are_one_document() {
        let answer = |revision| Deleted {
            revision,
            changes: Vec::new(),
            warnings: Vec::new(),
            warnings_left_out: 0,
            dry_run: false,
            needs_approval: Vec::new(),
            needs_approval_plans: Vec::new(),
        };
        let read = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
        let several = read(document(&[answer(3), answer(4)], false, Form::Json).unwrap());
        assert_eq!((several[0]["revision"].as_u64(), several[1]["revision"].as_u64()), (Some(3), Some(4)));
        assert_eq!(document(&[], false, Form::Json).unwrap(), "[]", "nothing was deleted before the failure");
        assert_eq!(read(document(&[answer(3)], true, Form::Json).unwrap())["revision"], 3);
        assert_eq!(document(&[], true, Form::Json), None);
    }

    #[test]
    fn what_depends_on_others_goes_first() {
        let name = Name::new("x").unwrap();
        let owned = |kind| ResourceKey::owned(kind, name.clone(), name.clone());
        let keys = vec![
            ResourceKey::global(Kind::Organization, name.clone()),
            owned(Kind::Binding),
            owned(Kind::Api),
            owned(Kind::Upstream),
            owned(Kind::Api),
        ];
        let kinds: Vec<_> = in_order(keys).into_iter().map(|key| key.kind).collect();
        assert_eq!(kinds, [Kind::Binding, Kind::Api, Kind::Upstream, Kind::Organization]);
    }
}
