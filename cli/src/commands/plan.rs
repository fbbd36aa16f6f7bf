//! `hanse plan`, and how `hanse apply` carries one out.

use std::{collections::BTreeMap, fs, io::Write as _, path::Path};

use anyhow::Context as _;
use hanse_api::answer::{Action, Applied, ApplyRequest, Proposal, Resource};
use hanse_management::{Kind, ProblemName, ResourceKey};
use hanse_topology::Name;

use crate::{
    args::{OwnerFlags, PlanArgs},
    client::{ApplyOptions, Client, problem_of},
    commands::changes,
    exit::{Exit, Failure},
    out::say,
    plan::{self, Live, OWNER, Plan, Wish},
    source::{self, Sourced},
};

/// Shows what applying manifests would do, and writes it to a file.
pub(crate) async fn plan(client: &Client, args: &PlanArgs) -> anyhow::Result<()> {
    let manifests = source::read(&args.file, &client.organization)?;
    if args.output.is_some() {
        check_no_text(&manifests)?;
    }
    let lineage = client.status().await?.lineage;
    let mut request = of_manifests(client, &manifests, &args.owner, args.prune).await?;
    let force_grants = args.force.force_grants;
    let options = ApplyOptions { dry_run: true, prune: None, force_grants };
    let tried = client.request(&request, &options).await;
    let tried = tried.map_err(|error| source::located(error, &manifests))?;
    for change in tried.changes.iter().filter(|change| change.action == Action::Moved) {
        let key = key_of(&change.kind, change.organization.as_deref(), &change.name)?;
        let moves = client.get(&key, false).await?;
        let expected = plan::expected(&key, &moves);
        request
            .expects
            .extend(expected.filter(|moves| !request.expects.iter().any(|one| one.is_same(moves))));
    }
    changes::print(&tried, true)?;
    if let Some(file) = &args.output {
        let plan =
            Plan { lineage, base: tried.revision, effects: plan::effects(&tried), force_grants, request };
        let text = serde_json::to_string_pretty(&plan).context("writing the plan")?;
        write(file, &(text + "\n")).with_context(|| format!("writing {}", file.display()))?;
        say(format!("hanse apply --plan {} does it, unless what it rests on changes", file.display()));
    }
    Ok(())
}

/// Private data would lie in the file for as long as the plan does.
fn check_no_text(manifests: &[Sourced]) -> Result<(), Failure> {
    let in_the_clear = manifests.iter().find(|one| one.manifest.spec.has_private_text());
    let Some(Sourced { source, manifest }) = in_the_clear else { return Ok(()) };
    let said = format!("{source}: {} has its data in the clear, and a plan would keep it", manifest.key);
    Err(Failure::input(said).remedy(
        "apply the Secret first, with hanse apply -f; then write {sealed: true} for its data, and plan",
    ))
}

/// Writes a file that only its owner can read: digests of keys are in it. A file that was there is replaced as a whole; a device or a
/// pipe is written to.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    if fs::metadata(file).is_ok_and(|there| !there.is_file()) {
        return fs::write(file, text);
    }
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let mut written = tempfile::Builder::new()
        .prefix(".hanse-plan")
        .tempfile_in(file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
    written.write_all(text.as_bytes())?;
    written.as_file().sync_all()?;
    written.persist(&file)?;
    Ok(())
}

/// The request that makes manifests true, resting on what is there now.
pub(super) async fn of_manifests(
    client: &Client,
    manifests: &[Sourced],
    flags: &OwnerFlags,
    prune: bool,
) -> anyhow::Result<ApplyRequest> {
    let mut live = Live::default();
    for Sourced { manifest, .. } in manifests {
        if let Some(found) = client.find(&manifest.key).await? {
            live.found.insert(manifest.key.clone(), found);
        }
    }
    if let Some(owner) = flags.owner.as_ref().filter(|_| prune) {
        live.owned = owned_by(client, owner).await?;
    }
    let wish = Wish { owner: flags.owner.as_deref(), adopt: flags.adopt };
    Ok(plan::request(manifests, wish, &live)?)
}

/// Everything of an owner that the token may write, with the revision that it is at: in all organizations, or in the one of the token.
async fn owned_by(client: &Client, owner: &str) -> anyhow::Result<BTreeMap<ResourceKey, u64>> {
    let label = format!("{OWNER}={owner}");
    let only = client.whoami().await?.organization;
    let organizations = match &only {
        Some(own) => vec![own.clone()],
        None => {
            client.list(Kind::Organization, false).await?.items.into_iter().map(|found| found.name).collect()
        }
    };
    let organizations: Vec<Name> = organizations
        .into_iter()
        .map(Name::new)
        .collect::<Result<_, _>>()
        .context("reading the organizations")?;
    let mut owned = BTreeMap::new();
    for kind in kinds_to_prune(only.is_some()) {
        let owners: Vec<Option<&Name>> = match kind.is_global() {
            true => vec![None],
            false => organizations.iter().map(Some).collect(),
        };
        for organization in owners {
            let found = client.labelled_in(kind, organization, &label).await?;
            for Resource { kind, organization, name, revision, .. } in found {
                owned.insert(key_of(&kind, organization.as_deref(), &name)?, revision);
            }
        }
    }
    Ok(owned)
}

/// The kinds that may be pruned. A token of one organization writes no global kind.
fn kinds_to_prune(is_of_one: bool) -> impl Iterator<Item = Kind> {
    Kind::ALL.into_iter().filter(move |kind| kind.is_writable() && !(is_of_one && kind.is_global()))
}

fn key_of(kind: &str, organization: Option<&str>, name: &str) -> anyhow::Result<ResourceKey> {
    let kind: Kind = kind.parse().context("reading a kind; are client and server of one version?")?;
    let name = Name::new(name).context("reading a name")?;
    Ok(ResourceKey {
        kind,
        organization: organization.map(Name::new).transpose().context("reading a name")?,
        name,
    })
}

/// Carries out the plan of a file.
pub(super) async fn carry_out(client: &Client, file: &Path, dry_run: bool) -> anyhow::Result<Applied> {
    let (plan, tried) = attempt(client, file).await?;
    if dry_run {
        return Ok(tried);
    }
    let options = ApplyOptions { force_grants: plan.force_grants, ..ApplyOptions::default() };
    client.request(&plan.request, &options).await.map_err(|error| moved(error, plan.base))
}

/// Keeps the plan of a file for the approval of a second owner.
pub(super) async fn propose(client: &Client, file: &Path, reason: &str) -> anyhow::Result<Proposal> {
    let (plan, _) = attempt(client, file).await?;
    let options = ApplyOptions { force_grants: plan.force_grants, ..ApplyOptions::default() };
    client.propose(&plan.request, &options, reason).await.map_err(|error| moved(error, plan.base))
}

/// Reads the plan of a file, and tries it: it must do what it did when it was made.
async fn attempt(client: &Client, file: &Path) -> anyhow::Result<(Plan, Applied)> {
    let name = file.display();
    let text = fs::read(file).map_err(|error| Failure::unreadable(&name, &error))?;
    let plan: Plan = serde_json::from_slice(&text).map_err(|_| {
        Failure::input(format!("{name} is no plan")).remedy("make one: hanse plan -f FILE -o PLAN")
    })?;
    let lineage = client.status().await?.lineage;
    if lineage != plan.lineage {
        let said = format!("{name} was made for another federation, or before this one was recovered");
        return Err(Failure::new(Exit::Conflict, said)
            .remedy("plan again: hanse plan -f FILE -o PLAN")
            .into());
    }
    let options = ApplyOptions { dry_run: true, prune: None, force_grants: plan.force_grants };
    let request = client.request(&plan.request, &options).await;
    let tried = request.map_err(|error| moved(error, plan.base))?;
    if plan::effects(&tried) != plan.effects {
        let said = format!(
            "since revision {}, which the plan was made at, it has come to do something else",
            plan.base
        );
        return Err(Failure::new(Exit::Conflict, format!("nothing was changed: {said}"))
            .remedy("plan again: hanse plan -f FILE -o PLAN")
            .into());
    }
    Ok((plan, tried))
}

/// A refusal because something is not as the plan found it.
fn moved(error: anyhow::Error, base: u64) -> anyhow::Error {
    if !matches!(problem_of(&error), Some(ProblemName::Stale | ProblemName::Conflict)) {
        return error;
    }
    match error.downcast::<Failure>() {
        Ok(failure) => Failure {
            message: format!(
                "nothing was changed: the plan of revision {base} is overtaken: {}",
                failure.message
            ),
            remedy: "plan again: hanse plan -f FILE -o PLAN".to_owned(),
            ..failure
        }
        .into(),
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{Router, extract::Request};
    use serde_json::json;

    use super::*;
    use crate::client::tests::client_of;

    /// What is asked for a prune, with a token of this organization.
    async fn asked(organization: Option<&str>) -> Vec<String> {
        let whoami = json!({"token": "ci", "owner": "ci", "role": "publisher", "organization": organization, "revision": 1});
        let asked = Arc::new(Mutex::new(Vec::new()));
        let paths = asked.clone();
        let router = Router::new().fallback(async move |request: Request| {
            let path = request.uri().path().to_owned();
            paths.lock().unwrap().push(path.clone());
            let organizations = json!([{"kind": "Organization", "name": "other", "labels": {}, "spec": {}, "revision": 1,
                "createdAt": "", "updatedAt": ""}]);
            match path.as_str() {
                "/v1/whoami" => whoami.to_string(),
                "/v1/organizations" => json!({"items": organizations, "revision": 1}).to_string(),
                _ => json!({"items": [], "revision": 1}).to_string(),
            }
        });
        let (client, _dir) = client_of(router).await;
        owned_by(&client, "ci").await.unwrap();
        let asked = asked.lock().unwrap();
        asked.clone()
    }

    #[test]
    fn a_plan_keeps_no_data_of_secrets() {
        let check = |value: &str| {
            let yaml = format!("{{kind: Secret, name: s, spec: {{type: opaque, data: {{a: {value}}}}}}}");
            let manifests =
                hanse_management::manifest::parse_yaml(&yaml, &Name::new("shop").unwrap()).unwrap();
            let sourced = |manifest| Sourced { source: "s.yaml".to_owned(), manifest };
            check_no_text(&manifests.into_iter().map(sourced).collect::<Vec<_>>())
        };
        let failure = check("private-90210").unwrap_err();
        assert!(
            failure.message.starts_with("s.yaml: Secret shop/s has its data in the clear"),
            "{failure:?}"
        );
        assert!(!format!("{failure:?}").contains("90210"));
        check("{sealed: true}").unwrap();
    }

    #[tokio::test]
    async fn a_token_of_one_organization_prunes_there() {
        let asked_for = async |organization| {
            let asked = asked(organization).await;
            assert!(asked.len() > 3, "{asked:?}");
            asked
        };
        let of_one = asked_for(Some("shop")).await;
        let own = |path: &String| path.starts_with("/v1/organizations/shop/") || path == "/v1/whoami";
        assert!(of_one.iter().all(own) && of_one.iter().any(|path| path.ends_with("/plans")), "{of_one:?}");
        let of_all = asked_for(None).await;
        assert!(of_all.iter().any(|path| path == "/v1/tokens"), "{of_all:?}");
    }
}
