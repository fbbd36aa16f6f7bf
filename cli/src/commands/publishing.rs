//! What import, promote and rollback share: they read what is there, plan, try, and then do it.

use std::collections::BTreeSet;

use anyhow::Context as _;
use hanse_api::answer::{Action, Applied, Proposal, Resource};
use hanse_management::{Kind, ProblemName, kinds::ApiRevisionSpec};
use hanse_topology::Name;
use serde::Serialize;

use crate::{
    args::{Form, ProposeFlag},
    client::{ApplyOptions, Client, problem_of},
    commands::{approval::tell_proposed, changes},
    out::{data, say},
    publish::{self, Bound, Found, Observed, Plan, Preview, Regions},
    render,
};

/// How often an import starts again because another one changed the same resources in between. Of those that run at the same time,
/// one succeeds each time.
const RACES: usize = 32;

/// What a command needs to know.
#[derive(Debug)]
pub(super) struct Question<'a> {
    /// The Api.
    pub(super) api: &'a Name,
    /// The Environments whose Bindings it is about.
    pub(super) environments: Vec<&'a Name>,
    /// Upstreams that it may write.
    pub(super) upstreams: Vec<Name>,
    /// Whether it needs the ApiRevisions that were served before, too.
    pub(super) before: bool,
    /// An ApiRevision beside those that are served.
    pub(super) number: Option<u64>,
}

/// Reads what is there.
pub(super) async fn observe(client: &Client, question: &Question<'_>) -> anyhow::Result<Observed> {
    let Question { api, environments, upstreams, before, number } = question;
    let regions = regions(client).await?;
    let mut observed = Observed { environments: regions.environments().clone(), ..Observed::default() };
    let mut bindings = Vec::new();
    for found in client.list(Kind::Binding, false).await?.items {
        match Bound::read(&found, |spec| regions.of(spec)) {
            Ok(bound) => bindings.push(bound),
            // One of another Api may have fields of a later version: it is not written.
            Err(error) if is_of(&found, api) => return Err(error),
            Err(_) => {}
        }
    }
    observed.bindings = bindings;
    if let Some(found) = client.find(&client.key(Kind::Api, (*api).clone())).await? {
        observed.latest = found.status.as_ref().and_then(|status| status["latestRevision"].as_u64());
        observed.api = Some(Found::read(&found)?);
    }
    let concerned: Vec<&Bound> = observed
        .bindings
        .iter()
        .filter(|bound| bound.spec.api == **api && environments.contains(&&bound.spec.environment))
        .collect();
    let named = concerned.iter().filter_map(|bound| bound.spec.upstream.clone());
    let mut names: BTreeSet<Name> = named.chain(upstreams.iter().cloned()).collect();
    if !upstreams.is_empty() {
        // An Upstream may have its Binding's name, too.
        names.extend(concerned.iter().map(|bound| bound.name.clone()));
    }
    let mut numbers: BTreeSet<u64> =
        concerned.iter().filter_map(|bound| bound.serving).chain(*number).collect();
    if *before {
        numbers.extend(concerned.iter().filter_map(|bound| bound.before()));
    }
    for name in names {
        if let Some(found) = client.find(&client.key(Kind::Upstream, name.clone())).await? {
            observed.upstreams.insert(name, Found::read(&found)?);
        }
    }
    for number in numbers {
        let key = ApiRevisionSpec::key(&client.organization, api, number).context("naming a revision")?;
        if let Some(found) = client.find(&key).await? {
            observed.revisions.insert(number, Found::read(&found)?);
        }
    }
    Ok(observed)
}

/// Reads which regions there are.
pub(super) async fn regions(client: &Client) -> anyhow::Result<Regions> {
    let environments = client.list(Kind::Environment, false).await?.items;
    let regions = client.list(Kind::Region, false).await?.items;
    Regions::read(&environments, &regions)
}

fn is_of(binding: &Resource, api: &Name) -> bool {
    binding.spec["api"] == api.as_str()
}

/// What was done, or would be.
#[derive(Debug, Serialize)]
pub(super) struct Done {
    /// The answer of the federation.
    #[serde(flatten)]
    pub(super) applied: Applied,
    /// Where it was kept for a second owner: the proposal. `applied` is then what it would do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) proposal: Option<Proposal>,
    /// What it means.
    pub(super) preview: Preview,
    /// What was there before.
    #[serde(skip)]
    pub(super) observed: Observed,
}

/// What to do with a change once it was tried.
#[derive(Debug, Clone, Copy)]
pub(super) enum How<'a> {
    /// Nothing.
    Try,
    /// It is made.
    Make,
    /// It is kept for the approval of a second owner; with the reason.
    Propose(&'a str),
}

impl<'a> How<'a> {
    /// As the flags say. They exclude each other.
    pub(super) fn of(dry_run: bool, propose: &'a ProposeFlag) -> Self {
        match &propose.propose {
            Some(reason) => Self::Propose(reason),
            None if dry_run => Self::Try,
            None => Self::Make,
        }
    }
}

/// [`carry_out`], begun anew where another writer came in between.
pub(super) async fn carry_out_with_retries(
    client: &Client,
    question: &Question<'_>,
    also: &[Name],
    how: How<'_>,
    plan: impl Fn(&Observed) -> anyhow::Result<Plan>,
) -> anyhow::Result<Done> {
    let mut races = Races::default();
    loop {
        match carry_out(client, question, also, how, &plan).await {
            Err(error) if races.begin_anew(problem_of(&error), &error.to_string()) => {}
            done => return done,
        }
    }
}

/// What an import has run into.
#[derive(Debug, Default)]
struct Races {
    count: usize,
    /// The last conflict.
    conflict: Option<String>,
}

impl Races {
    /// Whether a failure may be over when the import begins anew. A name may have been taken meanwhile: then it is among what is
    /// there now. A conflict that stays is one.
    fn begin_anew(&mut self, problem: Option<ProblemName>, message: &str) -> bool {
        let may_pass = match problem {
            Some(ProblemName::Stale) => true,
            Some(ProblemName::Conflict) => {
                self.conflict.replace(message.to_owned()).as_deref() != Some(message)
            }
            _ => false,
        };
        self.count += 1;
        may_pass && self.count <= RACES
    }
}

/// Plans on what is there, tries it, and then does what `how` says. What was changed meanwhile makes it fail as stale.
pub(super) async fn carry_out(
    client: &Client,
    question: &Question<'_>,
    also: &[Name],
    how: How<'_>,
    plan: impl Fn(&Observed) -> anyhow::Result<Plan>,
) -> anyhow::Result<Done> {
    let observed = observe(client, question).await?;
    let Plan { request, mut preview } = plan(&observed)?;
    let tried = client.request(&request, &ApplyOptions { dry_run: true, ..ApplyOptions::default() }).await?;
    publish::check_moves(&observed, question.api, &tried, also)?;
    let options = ApplyOptions::default();
    let (applied, proposal) = match how {
        How::Try => (tried, None),
        How::Make => (client.request(&request, &options).await?, None),
        How::Propose(reason) => (tried, Some(client.propose(&request, &options, reason).await?)),
    };
    let number = made(&applied, question.api).or(observed.latest);
    for step in &mut preview.bindings {
        step.to = step.to.or(number);
    }
    Ok(Done { applied, proposal, preview, observed })
}

/// The number of the ApiRevision that a change made.
fn made(applied: &Applied, api: &Name) -> Option<u64> {
    let prefix = format!("{api}-r");
    applied
        .changes
        .iter()
        .filter(|change| change.kind == Kind::ApiRevision.as_str() && change.action == Action::Created)
        .find_map(|change| change.name.strip_prefix(&prefix)?.parse().ok())
}

/// Prints what was done: the answer as data in the form asked for, or a line for each resource.
pub(super) fn tell(done: &Done, form: Option<Form>) -> anyhow::Result<()> {
    match form {
        Some(form) => data(render::formed(done, form))?,
        None => {
            say(done.preview.text());
            match &done.proposal {
                Some(proposal) => tell_proposed(proposal, None)?,
                None => changes::print(&done.applied, done.applied.dry_run)?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_begins_anew_while_it_runs_into_something_else() {
        let (stale, conflict) = (Some(ProblemName::Stale), Some(ProblemName::Conflict));
        let mut races = Races::default();
        assert!(races.begin_anew(conflict, "the Api exists already"));
        assert!(
            races.begin_anew(conflict, "the Binding exists already"),
            "the import is further than before"
        );
        assert!(!races.begin_anew(conflict, "the Binding exists already"), "a conflict that stays");
        assert!(!races.begin_anew(Some(ProblemName::InUse), "x") && !races.begin_anew(None, "x"));

        let mut races = Races::default();
        assert_eq!((0..100).take_while(|_| races.begin_anew(stale, "it was changed")).count(), RACES);
    }
}
