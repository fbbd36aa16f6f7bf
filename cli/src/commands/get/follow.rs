//! `hanse get --watch`: each change as it happens.

use std::{collections::BTreeSet, time::Duration};

use hanse_api::answer::{ChangeEvent, Resource};
use hanse_management::{Kind, ProblemName};
use hanse_topology::{Labels, Name};
use serde_json::json;

use super::{Found, kinds};
use crate::{
    args::{Asked, GetArgs, Output},
    client::{Client, Said, Watch, problem_of},
    exit::{Exit, Failure, exit_of, explain},
    out::{data, say},
    render::{Rows, yaml},
};

/// Between two streams: one that a node ends as it stops leads to another node.
const PAUSE: Duration = Duration::from_millis(500);

/// Prints what was found and each change after the revision `from`, until it is interrupted.
pub(super) async fn follow(
    client: &Client,
    args: &GetArgs,
    asked: &Asked,
    found: Found,
    mut from: u64,
) -> anyhow::Result<()> {
    let mut follower = Follower::new(&client.organization, args, asked, &found);
    match args.output {
        Output::Table | Output::Wide => data(follower.rows.tables(&found.sections))?,
        // The whole output is one stream of changes.
        Output::Json | Output::Yaml | Output::Name => {
            for section in &found.sections {
                section.items.iter().map(|item| follower.shown(section.kind, item)).try_for_each(data)?;
            }
        }
    }
    loop {
        let mut watch = opened(client, &kinds(asked), from).await?;
        while let Some(said) = watch.next().await? {
            for one in said {
                match one {
                    Said::Change(change) => follower.line(&change).map_or(Ok(()), data)?,
                    Said::UpTo(revision) => from = revision,
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A stream of the changes after the revision `from`. No node answers for a while when a control plane restarts, and a watch goes on
/// after it.
async fn opened(client: &Client, kinds: &[Kind], from: u64) -> anyhow::Result<Watch> {
    let mut is_said = false;
    loop {
        match client.watch(kinds, from).await {
            Err(error) if exit_of(&error) == Exit::NoQuorum => {
                if !std::mem::replace(&mut is_said, true) {
                    say(explain(&error));
                    say("asking again until a node answers");
                }
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) if problem_of(&error) == Some(ProblemName::Gone) => {
                let message = format!("no node knows all changes since revision {from} any more");
                return Err(Failure::new(Exit::General, message).remedy("run the command again").into());
            }
            opened => return opened,
        }
    }
}

/// Which changes are shown, and how.
struct Follower {
    organization: Name,
    /// The resources that are meant; `None`: all of the kinds.
    named: Option<BTreeSet<(Kind, String)>>,
    labels: Labels,
    output: Output,
    rows: Rows,
    /// Those that were shown and not told gone.
    present: BTreeSet<(Kind, String)>,
}

impl Follower {
    fn new(organization: &Name, args: &GetArgs, asked: &Asked, found: &Found) -> Self {
        let named = match asked {
            Asked::Kinds(_) => None,
            Asked::Named(named) => Some(named.iter().map(|(kind, name)| (*kind, name.to_string())).collect()),
        };
        let pairs = args.selector.iter().flat_map(|text| text.split(','));
        let of_section = |section: &crate::render::Section| {
            let kind = section.kind;
            section.items.iter().map(move |item| (kind, item.name.clone())).collect::<Vec<_>>()
        };
        Self {
            organization: organization.clone(),
            named,
            labels: pairs.filter_map(|pair| pair.trim().split_once('=')).collect(),
            output: args.output,
            rows: Rows::of(&kinds(asked), &found.sections, args.output == Output::Wide),
            present: found.sections.iter().flat_map(of_section).collect(),
        }
    }

    /// What is printed of a change, if it is one of those that are meant.
    fn line(&mut self, change: &ChangeEvent) -> Option<String> {
        let kind: Kind = change.kind.parse().ok()?;
        let key = (kind, change.name.clone());
        let is_own = change.organization.as_ref().is_none_or(|owner| *owner == self.organization.as_str());
        if !is_own || self.named.as_ref().is_some_and(|named| !named.contains(&key)) {
            return None;
        }
        match &change.resource {
            Some(item) if item.labels.contains_all(&self.labels) => {
                self.present.insert(key);
                Some(self.shown(kind, item))
            }
            Some(_) => self.present.remove(&key).then(|| self.gone(kind, change, "has other labels"))?,
            None => self.present.remove(&key).then(|| self.gone(kind, change, "deleted"))?,
        }
    }

    fn shown(&self, kind: Kind, item: &Resource) -> String {
        match self.output {
            Output::Json => json!(item).to_string(),
            Output::Yaml => format!("---\n{}", yaml(item)),
            Output::Name => format!("{}/{}", kind.plural(), item.name),
            Output::Table | Output::Wide => self.rows.row(kind, item),
        }
    }

    /// `None` where each line is the name of a resource.
    fn gone(&self, kind: Kind, change: &ChangeEvent, why: &str) -> Option<String> {
        let data = json!({"kind": change.kind, "organization": change.organization, "name": change.name,
            "revision": change.revision, "gone": why});
        Some(match self.output {
            Output::Json => data.to_string(),
            Output::Yaml => format!("---\n{}", yaml(&data)),
            Output::Name => return None,
            Output::Table | Output::Wide => {
                self.rows.gone(kind, &change.name, format!("{why} at revision {}", change.revision))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client::tests::resource, render::Section};

    fn plan(name: &str, labels: serde_json::Value) -> Resource {
        let spec = json!({"rate": {"requests": 5, "per": "minute"}});
        resource(
            json!({"kind": "Plan", "name": name, "organization": "default", "labels": labels, "spec": spec}),
        )
    }

    fn change(name: &str, owner: &str, resource: Option<Resource>) -> ChangeEvent {
        let (kind, organization) = ("Plan".to_owned(), Some(owner.to_owned()));
        ChangeEvent { kind, organization, name: name.to_owned(), revision: 9, resource }
    }

    fn follower(asked: &Asked, output: Output, selector: Option<&str>) -> Follower {
        let section = Section::new(Kind::Plan, vec![plan("silver-and-gold", json!({"tier": "a"}))]);
        let found = Found { sections: vec![section], revision: 7, missing: Vec::new() };
        let args = GetArgs {
            what: Vec::new(),
            selector: selector.map(str::to_owned),
            watch: true,
            sort_by: None,
            output,
            stale: false,
            organization: crate::args::OrganizationFlag { organization: None },
        };
        Follower::new(&Name::new("default").unwrap(), &args, asked, &found)
    }

    #[test]
    fn changes_are_rows_below_the_table() {
        let mut all = follower(&Asked::Kinds(vec![Kind::Plan]), Output::Table, Some("tier=a"));
        let a = || json!({"tier": "a"});
        let mut line = |name: &str, owner: &str, item: Option<Resource>| all.line(&change(name, owner, item));
        assert_eq!(
            line("gold", "default", Some(plan("gold", a()))).unwrap(),
            "gold             5/minute  -      1"
        );
        assert_eq!(line("gold", "other", Some(plan("gold", a()))), None);
        assert_eq!(line("iron", "default", Some(plan("iron", json!({})))), None, "it was not shown");
        assert_eq!(
            line("gold", "default", Some(plan("gold", json!({})))).unwrap(),
            "gold             has other labels at revision 9"
        );
        assert_eq!(
            line("silver-and-gold", "default", None).unwrap(),
            "silver-and-gold  deleted at revision 9"
        );
        assert_eq!(line("silver-and-gold", "default", None), None, "it is told once");
    }

    #[test]
    fn only_what_is_named_is_followed() {
        let named = Asked::Named(vec![(Kind::Plan, Name::new("gold").unwrap())]);
        let mut one = follower(&named, Output::Name, None);
        assert_eq!(one.line(&change("iron", "default", Some(plan("iron", json!({}))))), None);
        let gold = || Some(plan("gold", json!({})));
        assert_eq!(one.line(&change("gold", "default", gold())).unwrap(), "plans/gold");
        assert_eq!(one.line(&change("gold", "default", None)), None, "a line is a name");
        let mut one = follower(&named, Output::Json, None);
        let line = one.line(&change("gold", "default", gold())).unwrap();
        assert_eq!(serde_json::from_str::<Resource>(&line).unwrap(), gold().unwrap());
    }
}
