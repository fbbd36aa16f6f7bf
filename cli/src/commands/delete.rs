//! `hanse delete`.

use hanse_management::{ProblemName, ResourceKey};

use crate::{
    args::DeleteArgs,
    client::{Client, problem_of},
    convergence,
    exit::Failure,
    out::{data, say},
    source,
};

/// Deletes one resource, or those that manifests name: what depends on others first.
pub(crate) async fn delete(client: &Client, args: &DeleteArgs) -> anyhow::Result<()> {
    let mut last = None;
    if let (Some(kind), Some(name)) = (args.kind, &args.name) {
        let key = client.key(kind, name.clone());
        last = Some(client.delete(&key, args.cascade).await?);
        data(format!("{key} deleted"))?;
    } else {
        let manifests = source::read(&args.file, &client.organization)?;
        let mut deleted = Vec::new();
        for key in in_order(manifests.into_iter().map(|sourced| sourced.manifest.key).collect()) {
            match client.delete(&key, args.cascade).await {
                Ok(revision) => {
                    last = Some(revision);
                    data(format!("{key} deleted"))?;
                    deleted.push(key);
                }
                // With cascade a manifest's resource may have gone with one before it.
                Err(error) if problem_of(&error) == Some(ProblemName::NotFound) => {
                    say(format!("{key} is not there"))
                }
                Err(error) => return Err(stopped(error, &deleted)),
            }
        }
    }
    match (last, args.wait.wait) {
        (Some(revision), Some(timeout)) => convergence::wait(client, revision, timeout).await,
        (None, _) => Err(Failure::new(crate::exit::Exit::NotFound, "nothing of it is there").into()),
        _ => Ok(()),
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
