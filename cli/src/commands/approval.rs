//! `hanse approval`: changes that wait for a second owner.

use std::collections::{BTreeMap, BTreeSet};

use hanse_api::answer::{AuditChange, BindingServes, Proposal, Proposals};

use crate::{
    args::{ApprovalArgs, ApprovalCommand, Form, Output},
    client::Client,
    commands::changes,
    convergence,
    import::printable,
    out::{data, say},
    render,
};

/// How many resources a row of the table names.
const NAMED: usize = 2;

/// Does what the arguments say.
pub(crate) async fn approval(client: &Client, args: &ApprovalArgs) -> anyhow::Result<()> {
    match &args.command {
        ApprovalCommand::List { output } => data(listed(&client.proposals().await?, *output))?,
        ApprovalCommand::Show { number, output } => {
            let proposal = client.proposal(*number).await?;
            match output {
                Some(form) => data(render::formed(&proposal, *form))?,
                None => data(shown(&proposal))?,
            }
        }
        ApprovalCommand::Approve { number, output, wait } => {
            let applied = client.approve(*number).await?;
            match output.output {
                Some(form) => data(render::formed(&applied, form))?,
                None => changes::print(&applied, false)?,
            }
            if let Some(timeout) = wait.wait {
                return convergence::wait(client, applied.revision, timeout).await;
            }
        }
        ApprovalCommand::Reject { number, reason } => {
            client.reject(*number, reason.as_deref()).await?;
            data(format!("proposal {number} rejected"))?;
        }
    }
    Ok(())
}

/// Says of a change that it was proposed: the answer as data in the form asked for, or a line for each resource.
pub(super) fn tell_proposed(proposal: &Proposal, form: Option<Form>) -> std::io::Result<()> {
    match form {
        Some(form) => data(render::formed(proposal, form))?,
        None => {
            proposal.changes.iter().try_for_each(|change| data(format!("{} (proposed)", line(change))))?
        }
    }
    say(waits(proposal));
    changes::warn(&proposal.warnings, proposal.warnings_left_out);
    Ok(())
}

/// What has to happen now.
fn waits(proposal: &Proposal) -> String {
    let Proposal { number, expires, owner, environments, plans, .. } = proposal;
    format!(
        "nothing was changed: proposal {number} waits until {expires} for a token of another owner than {}, because of {}: hanse \
         approval approve {number}",
        printable(owner),
        changes::because(environments, plans)
    )
}

fn listed(proposals: &Proposals, output: Output) -> String {
    let items = || proposals.items.iter();
    match output {
        Output::Json => render::pretty(proposals),
        Output::Yaml => render::yaml(proposals),
        Output::Name => items().map(|one| one.number.to_string()).collect::<Vec<_>>().join("\n"),
        Output::Table | Output::Wide => {
            let mut titles = vec!["NUMBER", "OWNER", "EXPIRES", "CONCERNS", "REASON", "CHANGES"];
            let is_wide = output == Output::Wide;
            if is_wide {
                titles.extend(["TOKEN", "PROPOSED"]);
            }
            let row = |one: &Proposal| {
                let mut row = vec![
                    one.number.to_string(),
                    printable(&one.owner),
                    one.expires.clone(),
                    changes::because(&one.environments, &one.plans),
                    printable(&one.reason),
                    named(one),
                ];
                if is_wide {
                    row.extend([one.token.clone(), one.time.clone()]);
                }
                row
            };
            render::table(titles.into_iter().map(str::to_owned).collect(), items().map(row))
        }
    }
}

/// The first of the resources that it changes.
fn named(proposal: &Proposal) -> String {
    let named: Vec<String> = proposal.changes.iter().take(NAMED).map(line).collect();
    let more = proposal.changes_total.saturating_sub(named.len() as u64);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}

/// `updated Plan shop/gold`.
fn line(change: &AuditChange) -> String {
    let owner = change.organization.as_ref().map(|name| format!("{name}/")).unwrap_or_default();
    format!("{} {} {owner}{}", change.action, change.kind, change.name)
}

/// A proposal for one who decides about it.
fn shown(proposal: &Proposal) -> String {
    let Proposal { number, owner, token, reason, time, expires, environments, plans, .. } = proposal;
    let mut lines = vec![
        format!("proposal {number} of {} (token {token}) at {time}", printable(owner)),
        format!("reason: {}", printable(reason)),
        format!("concerns: {}", changes::because(environments, plans)),
        format!("expires: {expires}"),
    ];
    if proposal.force_grants {
        lines.push(
            "force-grants: Bindings may lose requests to a HostGrant of another Organization".to_owned(),
        );
    }
    for change in &proposal.changes {
        lines.push(String::new());
        lines.push(line(change));
        let pointers: BTreeSet<&String> = change.before.keys().chain(change.after.keys()).collect();
        for pointer in pointers {
            let text = |value: Option<&serde_json::Value>| {
                value.map_or_else(|| "-".to_owned(), |value| printable(&value.to_string()))
            };
            let (was, is) = (text(change.before.get(pointer)), text(change.after.get(pointer)));
            lines.push(format!("  {}: {was} -> {is}", printable(pointer)));
        }
        if let Some(left_out) = &change.left_out {
            lines.push(format!("  {} bytes, {}: too long to be shown", left_out.bytes, left_out.digest));
        }
    }
    for change in &proposal.serves {
        lines.push(String::new());
        lines.push(format!("Binding {}/{} serves", change.organization, change.binding));
        lines.extend(served("now", change.before.as_ref()));
        lines.extend(served("then", change.after.as_ref()));
    }
    if !proposal.warnings.is_empty() {
        lines.push(String::new());
        lines.extend(changes::warnings(&proposal.warnings, proposal.warnings_left_out));
    }
    if let Some(refused) = &proposal.refused {
        lines.push(String::new());
        lines.push(format!("an approval would be refused: {} ({})", refused.detail, refused.remedy));
    }
    lines.join("\n")
}

/// What a Binding serves: a line for all regions with the same ApiRevision and Upstream.
fn served(when: &str, serves: Option<&BindingServes>) -> Vec<String> {
    let Some(BindingServes { environment, lifecycle, regions, sent_on_from }) = serves else {
        return vec![format!("  {when}: nothing: there is no such Binding")];
    };
    let mut alike: BTreeMap<(&str, Option<&str>), Vec<&str>> = BTreeMap::new();
    for at in regions {
        alike.entry((&at.api_revision, at.upstream.as_deref())).or_default().push(&at.region);
    }
    let lifecycle = lifecycle.as_deref().unwrap_or("served nowhere");
    if alike.is_empty() {
        return vec![format!("  {when}: in no region of {environment} ({lifecycle})")];
    }
    let line = |((revision, upstream), regions): ((&str, Option<&str>), Vec<&str>)| {
        let (upstream, regions) = (upstream.unwrap_or("no Upstream"), regions.join(", "));
        format!("  {when}: {revision} by {upstream} in {environment}: {regions} ({lifecycle})")
    };
    let sent_on = (!sent_on_from.is_empty()).then(|| sent_on_from.join(", "));
    let sent_on = sent_on.map(|regions| format!("  {when}: sent on to these from {regions}"));
    alike.into_iter().map(line).chain(sent_on).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn proposal() -> Proposal {
        serde_json::from_value(json!({
            "number": 7, "owner": "ann", "token": "ann-ci", "reason": "release\u{1b} 42",
            "time": "2026-01-01T00:00:00Z", "expires": "2026-01-02T00:00:00Z", "environments": ["production"], "forceGrants": true,
            "changesTotal": 3,
            "changes": [
                {"kind": "Binding", "organization": "shop", "name": "orders", "action": "updated",
                 "before": {"/spec/revision": 3}, "after": {"/spec/revision": 4, "/spec/upstream": "canary"}},
                {"kind": "Environment", "name": "production", "action": "deleted", "leftOut": {"bytes": 9, "digest": "sha256:00"}},
                {"kind": "Plan", "organization": "shop", "name": "gold", "action": "created"},
            ],
            "serves": [
                {"organization": "shop", "binding": "orders", "before": {"environment": "production", "lifecycle": "published", "regions": [
                    {"region": "eu", "apiRevision": "orders-r3", "upstream": "backend"},
                    {"region": "us", "apiRevision": "orders-r3", "upstream": "backend"}]},
                 "after": {"environment": "production", "lifecycle": "published", "regions": [
                    {"region": "eu", "apiRevision": "orders-r4", "upstream": "canary"},
                    {"region": "us", "apiRevision": "orders-r3", "upstream": "backend"}], "sentOnFrom": ["ap", "sa"]}},
                {"organization": "shop", "binding": "pay", "after": {"environment": "production", "regions": []}},
            ],
            "warnings": [{"kind": "Binding", "organization": "retail", "name": "old", "field": "spec.environment", "detail": "it loses requests"}],
            "refused": {"type": "urn:hanse:problem:stale", "title": "t", "status": 412, "detail": "D", "remedy": "R"},
        }))
        .unwrap()
    }

    #[test]
    fn a_proposal_is_shown_with_all_that_it_does() {
        let expected = "proposal 7 of ann (token ann-ci) at 2026-01-01T00:00:00Z\n\
             reason: release\\u{1b} 42\n\
             concerns: Environment production\n\
             expires: 2026-01-02T00:00:00Z\n\
             force-grants: Bindings may lose requests to a HostGrant of another Organization\n\
             \n\
             updated Binding shop/orders\n\
             \x20 /spec/revision: 3 -> 4\n\
             \x20 /spec/upstream: - -> \"canary\"\n\
             \n\
             deleted Environment production\n\
             \x20 9 bytes, sha256:00: too long to be shown\n\
             \n\
             created Plan shop/gold\n\
             \n\
             Binding shop/orders serves\n\
             \x20 now: orders-r3 by backend in production: eu, us (published)\n\
             \x20 then: orders-r3 by backend in production: us (published)\n\
             \x20 then: orders-r4 by canary in production: eu (published)\n\
             \x20 then: sent on to these from ap, sa\n\
             \n\
             Binding shop/pay serves\n\
             \x20 now: nothing: there is no such Binding\n\
             \x20 then: in no region of production (served nowhere)\n\
             \n\
             warning: Binding retail/old: spec.environment: it loses requests\n\
             \n\
             an approval would be refused: D (R)";
        assert_eq!(shown(&proposal()), expected);
    }

    #[test]
    fn a_list_names_the_first_resources_of_each() {
        let proposals = Proposals { items: vec![proposal()], revision: 9 };
        let table = listed(&proposals, Output::Table);
        let row = table.lines().nth(1).unwrap();
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(words[..4], ["7", "ann", "2026-01-02T00:00:00Z", "Environment"], "{table}");
        assert!(
            row.ends_with("updated Binding shop/orders, deleted Environment production and 1 more"),
            "{table}"
        );
        assert!(listed(&proposals, Output::Wide).contains("ann-ci"));
        assert_eq!(listed(&proposals, Output::Name), "7");
    }

    #[test]
    fn what_was_proposed_says_who_must_approve_it() {
        assert_eq!(
            waits(&proposal()),
            "nothing was changed: proposal 7 waits until 2026-01-02T00:00:00Z for a token of another owner than ann, because of \
             Environment production: hanse approval approve 7"
        );
    }
}
