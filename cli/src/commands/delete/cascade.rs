//! `hanse delete --cascade`: lists what goes, asks, and deletes exactly that.

use std::collections::{BTreeMap, BTreeSet};

use hanse_api::answer::{Applied, ApplyRequest, AtRevision, Change, Proposal};
use hanse_management::{Kind, ProblemName, ResourceKey, Written};
use hanse_topology::Name;

use super::{made, preview, say_if_any, tell};
use crate::{
    args::DeleteArgs,
    client::{ApplyOptions, Client, problem_of},
    commands::approval::tell_proposed,
    exit::{Exit, Failure},
    out::{ask, say},
};

/// How often it lists anew because something came to refer to what is listed, or changed.
const RACES: usize = 8;

/// What goes: each resource with the revision it is at.
pub(super) type Listed = BTreeMap<ResourceKey, u64>;

/// How it ended.
pub(super) enum Ended {
    /// Nothing of it is there.
    Nothing,
    /// It waits for the approval of a second owner.
    Proposed,
    /// It is gone, or would be, at this revision.
    Deleted(u64),
}

/// What became of a request.
enum Sent {
    Proposed(Proposal),
    Applied(Applied),
}

/// Deletes `keys` and what needs them, or proposes that.
pub(super) async fn run(client: &Client, args: &DeleteArgs, keys: &[ResourceKey]) -> anyhow::Result<Ended> {
    let mut before: Option<(Listed, anyhow::Error)> = None;
    let mut races = 0;
    loop {
        let mut listed = list(client, keys, args.force.force_grants).await?;
        let extra = made::for_apis(client, &listed, made::Apis::Going, args.force.force_grants).await?;
        if args.with_made {
            listed.extend(extra.iter().map(|(key, revision)| (key.clone(), *revision)));
        }
        if listed.is_empty() {
            return Ok(Ended::Nothing);
        }
        if let Some((before, error)) = before.take() {
            if before == listed {
                return Err(error); // the next try would fail as this one
            }
            if args.yes {
                check_no_more(&before, &listed)?;
            }
        }
        say(shown(&listed));
        let preview = preview::losses(client, &listed).await?;
        say_if_any(preview.text());
        if !args.with_made && !extra.is_empty() {
            say(format!(
                "made for it, and used by nothing else: {}; --with-made deletes them, too",
                named(&extra)
            ));
        }
        if !args.dry_run && args.propose.propose.is_none() {
            agree(args.yes, count(&listed), ask)?;
        }
        let force_grants = args.force.force_grants;
        let options = ApplyOptions { dry_run: args.dry_run, prune: None, force_grants };
        let request = request(&listed);
        let sent = match &args.propose.propose {
            Some(reason) => client.propose(&request, &options, reason).await.map(Sent::Proposed),
            None => client.request(&request, &options).await.map(Sent::Applied),
        };
        match sent {
            Err(error) if is_race(&error) && races < RACES => {
                races += 1;
                before = Some((listed, error));
            }
            Err(error) => return Err(error),
            Ok(Sent::Proposed(proposal)) => {
                tell_proposed(&proposal, args.change.form())?;
                return Ok(Ended::Proposed);
            }
            Ok(Sent::Applied(applied)) => {
                let outcome = preview::Outcome { applied, preview };
                tell(&outcome, args.change.form())?;
                if !args.with_made && !args.dry_run {
                    made::offer(&extra);
                }
                return Ok(Ended::Deleted(outcome.applied.revision));
            }
        }
    }
}

/// Whether what was listed is no longer all that goes.
fn is_race(error: &anyhow::Error) -> bool {
    matches!(problem_of(error), Some(ProblemName::Stale | ProblemName::InUse))
}

/// Refuses to delete more than was listed first. `--yes` agrees to that list, and no terminal is asked about another one.
fn check_no_more(before: &Listed, listed: &Listed) -> Result<(), Failure> {
    let more = listed.iter().filter(|(key, _)| is_shown(key) && !before.contains_key(*key));
    let more: Listed = more.map(|(key, revision)| (key.clone(), *revision)).collect();
    if more.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Conflict,
        format!("nothing was deleted: {} came to need it meanwhile", named(&more)),
    )
    .remedy("look at the list with --dry-run, and do it again"))
}

/// Whether a resource may go only with others: it is in use, or it is a HostGrant that keeps two Bindings apart.
fn needs_others(error: &anyhow::Error) -> bool {
    matches!(problem_of(error), Some(ProblemName::InUse | ProblemName::Conflict))
}

/// What would go with each of `keys`. A key may be in use by another one of them, such as a Policy by an Api that lists it. It is
/// listed alone then, and the request for all of them tells whether it can go. Of several keys, those that do not exist are
/// passed over.
async fn list(client: &Client, keys: &[ResourceKey], force_grants: bool) -> anyhow::Result<Listed> {
    let mut listed = Listed::new();
    for key in keys {
        match client.try_delete(key, force_grants).await {
            Ok(tried) => listed.extend(tried.changes.iter().filter_map(listed_one)),
            Err(error) if problem_of(&error) == Some(ProblemName::NotFound) && keys.len() > 1 => {
                say(format!("{key} is not there"));
            }
            Err(error) if needs_others(&error) && keys.len() > 1 => {
                listed.extend(client.find(key).await?.map(|found| (key.clone(), found.revision)));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(listed)
}

fn listed_one(change: &Change) -> Option<(ResourceKey, u64)> {
    let kind: Kind = change.kind.parse().ok()?;
    let organization = change.organization.as_ref().map(Name::new).transpose().ok()?;
    let name = Name::new(&change.name).ok()?;
    Some((ResourceKey { kind, organization, name }, change.revision?))
}

/// The deletes of what is listed, each at its revision. What the control plane made of a resource goes with it: ApiRevisions with their
/// Api, decisions with their FailoverPlan.
pub(super) fn request(listed: &Listed) -> ApplyRequest {
    let written = listed.iter().filter(|(key, _)| key.kind.is_writable());
    let delete = written.map(|(key, revision)| AtRevision {
        kind: key.kind.as_str().to_owned(),
        organization: key.organization.as_ref().map(ToString::to_string),
        name: key.name.to_string(),
        revision: *revision,
    });
    ApplyRequest { delete: delete.collect(), ..ApplyRequest::of(Vec::new()) }
}

/// Whether a resource has a line of its own. An Api may have a hundred ApiRevisions: they are counted.
fn is_shown(key: &ResourceKey) -> bool {
    key.kind.written() != Written::ByApply
}

fn count(listed: &Listed) -> usize {
    listed.keys().filter(|key| is_shown(key)).count()
}

/// What goes, what depends on others first.
fn shown(listed: &Listed) -> String {
    let count = count(listed);
    let mut lines = vec![format!("{count} {} go:", if count == 1 { "resource" } else { "resources" })];
    lines.extend(listed.keys().rev().filter(|key| is_shown(key)).map(|key| format!("  {key}")));
    let revisions = listed.len() - count;
    if revisions > 0 {
        lines.push(format!("  and the ApiRevisions of these Apis: {revisions}"));
    }
    lines.join("\n")
}

/// Names, each once.
pub(super) fn named(keys: &Listed) -> String {
    let named: BTreeSet<String> = keys.keys().map(ToString::to_string).collect();
    named.into_iter().collect::<Vec<_>>().join(", ")
}

/// Asks at a terminal. Elsewhere `--yes` must have been said.
fn agree(yes: bool, count: usize, ask: impl FnOnce(String) -> Option<String>) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let what = if count == 1 { "it".to_owned() } else { format!("these {count} resources") };
    match ask(format!("delete {what}? [y/N] ")).as_deref() {
        Some("y" | "Y" | "yes") => Ok(()),
        Some(_) => Err(Failure::new(Exit::General, "nothing was deleted")),
        None => Err(Failure::usage("--cascade needs --yes where no terminal can be asked")
            .remedy("look at the list above, or at that of --dry-run, and add --yes")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{
        Router,
        extract::Request,
        response::{IntoResponse as _, Response},
    };
    use clap::Parser as _;
    use http::{Method, StatusCode};
    use serde_json::json;

    use super::*;
    use crate::{
        args::{Cli, Command},
        client::tests::client_of,
    };

    fn listed(changes: serde_json::Value) -> Listed {
        let changes: Vec<Change> = serde_json::from_value(changes).unwrap();
        changes.iter().filter_map(listed_one).collect()
    }

    #[test]
    fn what_goes_is_listed_and_deleted_at_its_revision() {
        let mut changes =
            vec![json!({"kind": "Organization", "name": "shop", "action": "deleted", "revision": 2})];
        for number in 0..51 {
            let name = format!("api-{number:02}");
            changes.push(json!({"kind": "Api", "organization": "shop", "name": name, "action": "deleted", "revision": 5}));
            let name = format!("{name}-r1");
            changes.push(json!({"kind": "ApiRevision", "organization": "shop", "name": name, "action": "deleted", "revision": 5}));
        }
        let listed = listed(changes.into());
        let text = shown(&listed);
        assert!(text.starts_with("52 resources go:\n  Api shop/api-50\n"), "{text}");
        assert!(text.ends_with("  Organization shop\n  and the ApiRevisions of these Apis: 51"), "{text}");
        let request = request(&listed);
        assert_eq!(request.delete.len(), 52, "ApiRevisions go by themselves");
        let organization = json!({"kind": "Organization", "name": "shop", "revision": 2});
        assert_eq!(json!(request.delete[0]), organization);
    }

    #[test]
    fn a_decision_is_listed_and_goes_with_its_plan() {
        let gone = |kind: &str| json!({"kind": kind, "name": "orders", "action": "deleted", "revision": 5});
        let listed = listed(json!([gone("FailoverPlan"), gone("Failover")]));
        assert_eq!(shown(&listed), "2 resources go:\n  Failover orders\n  FailoverPlan orders");
        let deleted: Vec<_> = request(&listed).delete.into_iter().map(|one| one.kind).collect();
        assert_eq!(deleted, ["FailoverPlan"]);
    }

    #[test]
    fn what_was_agreed_to_is_not_widened() {
        let api = || json!({"kind": "Api", "organization": "shop", "name": "orders", "action": "deleted", "revision": 5});
        let revision = |number: u64| {
            let name = format!("orders-r{number}");
            json!({"kind": "ApiRevision", "organization": "shop", "name": name, "action": "deleted", "revision": 5})
        };
        let binding = json!({"kind": "Binding", "organization": "shop", "name": "orders-x", "action": "deleted", "revision": 9});
        let before = listed(json!([api(), revision(1)]));
        check_no_more(&before, &listed(json!([api(), revision(1), revision(2)]))).unwrap();
        let refused = check_no_more(&before, &listed(json!([api(), revision(1), binding]))).unwrap_err();
        assert_eq!(refused.exit, Exit::Conflict);
        assert!(refused.to_string().contains("Binding shop/orders-x came to need it"), "{refused}");
    }

    /// A server where the Plan `gold` changes between the first list and the first proposal.
    async fn play(script: Arc<Mutex<Vec<String>>>, request: Request) -> Response {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let tries = {
            let mut script = script.lock().unwrap();
            script.push(format!("{method} {path}"));
            script.iter().filter(|asked| asked.starts_with("POST")).count()
        };
        let change = json!({"kind": "Plan", "organization": "default", "name": "gold", "action": "deleted", "revision": 5 + tries});
        let (status, body) = match (method, tries) {
            (Method::DELETE, _) => (200, json!({"revision": 9, "changes": [change]})),
            (_, 1) => {
                (412, json!({"type": "urn:hanse:problem:stale", "status": 412, "detail": "D", "remedy": "R"}))
            }
            _ => {
                let proposal = Proposal { number: 7, ..Proposal::default() };
                (200, json!(proposal))
            }
        };
        (StatusCode::from_u16(status).unwrap(), body.to_string()).into_response()
    }

    #[tokio::test]
    async fn a_proposal_is_made_anew_after_a_race_as_a_delete_is() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let script = asked.clone();
        let router = Router::new().fallback(move |request: Request| play(script.clone(), request));
        let (client, _dir) = client_of(router).await;
        let line = ["hanse", "delete", "plan", "gold", "--cascade", "--yes", "--propose", "why"];
        let Command::Delete(args) = Cli::try_parse_from(line).unwrap().command else { panic!() };
        let key = ResourceKey::owned(Kind::Plan, client.organization.clone(), Name::new("gold").unwrap());
        let ended = run(&client, &args, &[key]).await.unwrap();
        assert!(matches!(ended, Ended::Proposed));
        let proposals = asked.lock().unwrap().iter().filter(|asked| *asked == "POST /v1/apply").count();
        assert_eq!(proposals, 2, "{asked:?}");
    }

    #[test]
    fn off_a_terminal_it_must_be_said() {
        let refused = agree(false, 52, |_| None).unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
        assert!(refused.to_string().contains("--yes"), "{refused}");
        agree(true, 52, |_| panic!("it is not asked")).unwrap();
    }

    #[test]
    fn at_a_terminal_it_is_asked() {
        let says = |answer: &'static str| {
            move |question: String| {
                assert_eq!(question, "delete these 52 resources? [y/N] ");
                Some(answer.to_owned())
            }
        };
        agree(false, 52, says("y")).unwrap();
        for no in ["", "n", "Y?"] {
            let refused = agree(false, 52, says(no)).unwrap_err();
            assert_eq!((refused.exit, refused.message.as_str()), (Exit::General, "nothing was deleted"));
        }
    }
}
