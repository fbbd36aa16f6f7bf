//! `hanse get --watch`: each change as it happens.

use std::{collections::BTreeSet, time::Duration};

use hanse_api::answer::{ChangeEvent, Resource};
use hanse_management::{Kind, ProblemName};
use hanse_topology::{Labels, Name};
use serde_json::json;

use super::{Found, kinds, look};
use crate::{
    args::{Asked, GetArgs, Output},
    client::{Client, Said, Watch, problem_of},
    exit::{Exit, exit_of, explain},
    out::say,
    render::{Rows, yaml},
};

/// Between two streams: one that a node ends as it stops leads to another node.
const PAUSE: Duration = Duration::from_millis(500);

/// Where the output goes, a line or several at a time.
type Print<'a> = &'a mut dyn FnMut(String) -> std::io::Result<()>;

/// Prints what was found and each change after the revision `from`, until it is interrupted.
pub(super) async fn follow(
    client: &Client,
    args: &GetArgs,
    asked: &Asked,
    found: Found,
    mut from: u64,
    print: Print<'_>,
) -> anyhow::Result<()> {
    let kinds = kinds(asked);
    let mut follower = Follower::new(&client.organization, args, asked, &found);
    match args.output {
        Output::Table | Output::Wide => print(follower.rows.tables(&found.sections))?,
        // The whole output is one stream of changes.
        Output::Json | Output::Yaml | Output::Name => {
            follower.each(&found).into_iter().try_for_each(&mut *print)?
        }
    }
    drop(found);
    loop {
        match persistently(async || client.watch(&kinds, from).await).await {
            Ok(watch) => tell(watch, &mut follower, &mut from, print).await?,
            Err(error) if problem_of(&error) == Some(ProblemName::Gone) => {
                say(format!(
                    "the node does not know all changes since revision {from} any more: this is what is there now"
                ));
                let (found, now) = persistently(async || look(client, args, asked).await).await?;
                follower.again(&found, now).into_iter().try_for_each(&mut *print)?;
                from = now;
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Prints the changes of a stream until it ends. `from` is the revision up to which all of them were printed.
async fn tell(
    mut watch: Watch,
    follower: &mut Follower,
    from: &mut u64,
    print: Print<'_>,
) -> anyhow::Result<()> {
    while let Some(said) = watch.next().await? {
        for one in said {
            match one {
                Said::Change(change) => follower.line(&change).map_or(Ok(()), &mut *print)?,
                Said::UpTo(revision) => *from = revision,
            }
        }
    }
    Ok(())
}

/// Asks until a node answers: none does for a while when a control plane restarts, and a watch goes on after it.
async fn persistently<T>(ask: impl AsyncFn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut is_said = false;
    loop {
        match ask().await {
            Err(error) if exit_of(&error) == Exit::NoQuorum => {
                if !std::mem::replace(&mut is_said, true) {
                    say(explain(&error));
                    say("asking again until a node answers");
                }
                tokio::time::sleep(PAUSE).await;
            }
            answered => return answered,
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
        Self {
            organization: organization.clone(),
            named,
            labels: pairs.filter_map(|pair| pair.trim().split_once('=')).collect(),
            output: args.output,
            rows: Rows::of(&kinds(asked), &found.sections, args.output == Output::Wide),
            present: found.each().map(|(kind, item)| (kind, item.name.clone())).collect(),
        }
    }

    /// A line for each resource that was found.
    fn each(&self, found: &Found) -> Vec<String> {
        found.each().map(|(kind, item)| self.shown(kind, item)).collect()
    }

    /// What is printed of a second look, at a revision: what went since, and all that is there.
    fn again(&mut self, found: &Found, revision: u64) -> Vec<String> {
        let now = found.each().map(|(kind, item)| (kind, item.name.clone())).collect();
        let before = std::mem::replace(&mut self.present, now);
        let why = if self.labels.is_empty() { "not found" } else { "not found with these labels" };
        let gone = before.difference(&self.present).filter_map(|(kind, name)| {
            let organization = (!kind.is_global()).then(|| self.organization.to_string());
            let (name, resource) = (name.clone(), None);
            self.gone(
                *kind,
                &ChangeEvent { kind: kind.to_string(), organization, name, revision, resource },
                why,
            )
        });
        gone.chain(self.each(found)).collect()
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
    use std::{
        collections::VecDeque,
        sync::{Arc, Mutex},
    };

    use http::StatusCode;

    use super::*;
    use crate::{
        client::tests::{client_of, resource},
        render::Section,
    };

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

    fn args(output: Output, selector: Option<&str>) -> GetArgs {
        GetArgs {
            what: Vec::new(),
            selector: selector.map(str::to_owned),
            watch: true,
            sort_by: None,
            output,
            stale: false,
            organization: crate::args::OrganizationFlag { organization: None },
        }
    }

    fn found(plans: Vec<Resource>) -> Found {
        Found { sections: vec![Section::new(Kind::Plan, plans)], revision: 7, missing: Vec::new() }
    }

    fn follower(asked: &Asked, output: Output, selector: Option<&str>) -> Follower {
        let found = found(vec![plan("silver-and-gold", json!({"tier": "a"}))]);
        Follower::new(&Name::new("default").unwrap(), &args(output, selector), asked, &found)
    }

    /// Follows all Plans, of which `silver` was there at revision 7. The servers' answers come in order, the last of them a refusal.
    /// What was asked and what was printed.
    async fn followed(output: Output, answers: Vec<(u16, String)>) -> (Vec<String>, Vec<String>, Exit) {
        let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let play = {
            let asked = asked.clone();
            move |request: axum::extract::Request| {
                asked.lock().unwrap().push(request.uri().to_string());
                let (status, text) = answers.lock().unwrap().pop_front().unwrap();
                std::future::ready((StatusCode::from_u16(status).unwrap(), text))
            }
        };
        let (client, _dir) = client_of(axum::Router::new().fallback(play)).await;
        let mut printed = Vec::new();
        let plans = Asked::Kinds(vec![Kind::Plan]);
        let found = found(vec![plan("silver", json!({}))]);
        let args = args(output, None);
        let mut print = |line| {
            printed.push(line);
            Ok(())
        };
        let ended = follow(&client, &args, &plans, found, 7, &mut print);
        let error = tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap().unwrap_err();
        let asked = asked.lock().unwrap().clone();
        (asked, printed, exit_of(&error))
    }

    /// Events with the revision that each completes; 0: none, more of its revision follows.
    fn stream(said: &[(&str, u64, Option<ChangeEvent>)]) -> (u16, String) {
        let event = |(event, id, change): &(&str, u64, Option<ChangeEvent>)| {
            let data = change.as_ref().map_or_else(|| json!({"revision": id}), |change| json!(change));
            let id = if *id == 0 { String::new() } else { format!("id: {id}\n") };
            format!("event: {event}\n{id}data: {data}\n\n")
        };
        (200, said.iter().map(event).collect())
    }

    fn refusal(name: &str, status: u16) -> (u16, String) {
        (status, json!({"type": format!("urn:hanse:problem:{name}"), "status": status}).to_string())
    }

    fn put(name: &str) -> Option<ChangeEvent> {
        Some(change(name, "default", Some(plan(name, json!({})))))
    }

    const PLANS: &str = "/v1/organizations/default/plans?limit=1000";

    fn watched(from: u64) -> String {
        format!("/v1/watch?from={from}&kinds=plans")
    }

    #[tokio::test]
    async fn a_stream_that_ends_is_gone_on_with_where_it_ended() {
        let quiet = stream(&[("bookmark", 9, None)]);
        let (asked, printed, exit) = followed(
            Output::Name,
            vec![
                stream(&[("bookmark", 7, None), ("put", 9, put("gold"))]),
                quiet.clone(),
                // No quorum anywhere: the watch waits for one.
                refusal("no-quorum", 503),
                quiet,
                // It ends amid a revision, whose changes are told again.
                stream(&[("put", 0, put("iron"))]),
                stream(&[("put", 0, put("iron")), ("put", 11, put("lead"))]),
                refusal("unauthenticated", 401),
            ],
        )
        .await;
        assert_eq!(asked, [7, 9, 9, 9, 9, 9, 11].map(watched));
        let wanted = ["plans/silver", "plans/gold", "plans/iron", "plans/iron", "plans/lead"];
        assert_eq!(printed, wanted, "a bookmark is no change");
        assert_eq!(exit, Exit::Auth);
    }

    #[tokio::test]
    async fn what_changed_too_long_ago_is_listed_again() {
        let listed = json!({"items": [plan("gold", json!({}))], "revision": 30_000});
        let (asked, printed, exit) = followed(
            Output::Table,
            vec![
                stream(&[("put", 8, put("iron"))]),
                refusal("gone", 410),
                refusal("no-quorum", 503), // to the list, three times
                refusal("no-quorum", 503),
                refusal("no-quorum", 503),
                (200, listed.to_string()),
                stream(&[("delete", 30_001, Some(change("gold", "default", None)))]),
                refusal("forbidden", 403),
            ],
        )
        .await;
        let wanted =
            [vec![watched(7), watched(8)], vec![PLANS.to_owned(); 4], vec![watched(30_000), watched(30_001)]];
        assert_eq!(asked, wanted.concat());
        let (table, lines) = printed.split_first().unwrap();
        assert_eq!(
            table.lines().collect::<Vec<_>>(),
            ["NAME    RATE      BURST  REVISION", "silver  5/minute  -      1"]
        );
        assert_eq!(
            lines,
            [
                "iron    5/minute  -      1",
                "iron    not found at revision 30000",
                "silver  not found at revision 30000",
                "gold    5/minute  -      1",
                "gold    deleted at revision 9",
            ]
        );
        assert_eq!(exit, Exit::Auth);
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
