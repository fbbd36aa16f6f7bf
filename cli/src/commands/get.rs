//! `hanse get`.

mod follow;

use hanse_api::answer::Resource;
use hanse_management::{Kind, ProblemName};
use hanse_topology::Name;

use crate::{
    args::{Asked, GetArgs, Output, distinct},
    client::{Client, problem_of},
    exit::explain,
    out::{data, say},
    render::{self, Section, SortBy},
    served,
};

/// What was found.
struct Found {
    sections: Vec<Section>,
    revision: u64,
    /// Why resources that were named are not among it.
    missing: Vec<anyhow::Error>,
}

/// Lists kinds, or shows the resources that are named.
pub(crate) async fn get(client: &Client, args: &GetArgs) -> anyhow::Result<()> {
    let asked = args.asked()?;
    let (mut found, from) = look(client, args, &asked).await?;
    if args.watch {
        found.missing.iter().map(explain).for_each(say);
        return follow::follow(client, args, &asked, found, from, &mut |text| data(text)).await;
    }
    let text = text(client, args, &asked, &mut found).await?;
    if !text.is_empty() {
        data(text)?;
    }
    // Each one that is missing is told, the last of them as the command's failure.
    let Some(last) = found.missing.pop() else { return Ok(()) };
    found.missing.iter().map(explain).for_each(say);
    Err(last)
}

/// What is there, in order, and the revision from which changes are told: no later than what is shown, so that one may be told
/// twice, and none is missed.
async fn look(client: &Client, args: &GetArgs, asked: &Asked) -> anyhow::Result<(Found, u64)> {
    let sort_by = args.sort_by.as_deref().map(|text| SortBy::read(text, &kinds(asked))).transpose()?;
    let (mut found, from) = match asked {
        Asked::Kinds(kinds) => {
            let found = list(client, kinds, args).await?;
            let from = found.revision;
            (found, from)
        }
        Asked::Named(named) => {
            let from = if args.watch { client.latest_revision().await? } else { 0 };
            (find(client, named, args.stale).await?, from)
        }
    };
    if let Some(sort_by) = sort_by {
        found.sections.iter_mut().for_each(|section| sort_by.sort(section.kind, &mut section.items));
    }
    client.restart_note().into_iter().for_each(say);
    Ok((found, from))
}

/// What was found, in the form asked for. Tables of Apis also say where those are served.
async fn text(client: &Client, args: &GetArgs, asked: &Asked, found: &mut Found) -> anyhow::Result<String> {
    if found.sections.is_empty() {
        return Ok(String::new());
    }
    let is_table = matches!(args.output, Output::Table | Output::Wide);
    for section in found.sections.iter_mut().filter(|section| is_table && section.kind == Kind::Api) {
        section.beside = Some(served::environments(&client.list(Kind::Binding, args.stale).await?.items));
    }
    let sections = found.sections.as_slice();
    let (Asked::Named(named), [Section { kind, items, .. }]) = (asked, sections) else {
        return Ok(render::sections(sections, found.revision, args.output));
    };
    let ([_], [item]) = (named.as_slice(), items.as_slice()) else {
        return Ok(render::sections(sections, found.revision, args.output));
    };
    if !is_table {
        return Ok(render::resource(*kind, item, args.output));
    }
    let mut text = render::sections(sections, found.revision, args.output);
    // Which gateways serve it is known only where there is a quorum.
    if *kind == Kind::Api
        && !args.stale
        && let Some(table) = super::served::table(client, item).await?
    {
        text += &format!("\n\n{table}");
    }
    Ok(text)
}

/// The kinds that are asked for, each once.
fn kinds(asked: &Asked) -> Vec<Kind> {
    match asked {
        Asked::Kinds(kinds) => kinds.clone(),
        Asked::Named(named) => distinct(named.iter().map(|(kind, _)| *kind)),
    }
}

/// All resources of these kinds.
async fn list(client: &Client, kinds: &[Kind], args: &GetArgs) -> anyhow::Result<Found> {
    let mut found = Found { sections: Vec::new(), revision: u64::MAX, missing: Vec::new() };
    for kind in kinds {
        let page = client.labelled(*kind, args.selector.as_deref(), args.stale).await?;
        // The oldest: everything shown is at least that new.
        found.revision = found.revision.min(page.revision);
        found.sections.push(Section::new(*kind, page.items));
    }
    Ok(found)
}

/// The resources of these names.
async fn find(client: &Client, named: &[(Kind, Name)], stale: bool) -> anyhow::Result<Found> {
    let mut found = Found { sections: Vec::new(), revision: 0, missing: Vec::new() };
    for (kind, name) in named {
        match client.get(&client.key(*kind, name.clone()), stale).await {
            Ok(resource) => {
                found.revision = found.revision.max(resource.revision);
                found.take(*kind, resource);
            }
            Err(error) if problem_of(&error) == Some(ProblemName::NotFound) => found.missing.push(error),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

impl Found {
    /// Each resource, with its kind.
    fn each(&self) -> impl Iterator<Item = (Kind, &Resource)> {
        self.sections.iter().flat_map(|section| section.items.iter().map(|item| (section.kind, item)))
    }

    /// Puts a resource to those of its kind.
    fn take(&mut self, kind: Kind, resource: Resource) {
        match self.sections.iter_mut().find(|section| section.kind == kind) {
            Some(section) => section.items.push(resource),
            None => self.sections.push(Section::new(kind, vec![resource])),
        }
    }
}
