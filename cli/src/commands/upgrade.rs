//! `hanse upgrade`: what the control nodes run, and putting the version of a new release in force.

use hanse_api::answer::{Blocker, Finalized, NodeBuild, ScopeEffect, Upgrade};

use crate::{
    args::{Output, UpgradeArgs, UpgradeCommand},
    client::Client,
    exit::{Exit, Failure},
    out::{data, say},
    render,
};

/// Shows, checks or finalizes.
pub(crate) async fn upgrade(client: &Client, args: &UpgradeArgs) -> anyhow::Result<()> {
    match &args.command {
        UpgradeCommand::Status { output } => {
            let upgrade = client.upgrade().await?;
            data(shown(&upgrade, *output, nodes))?;
            say(standing(&upgrade));
        }
        UpgradeCommand::Check { output } => {
            let upgrade = client.upgrade().await?;
            let shown = shown(&upgrade, *output, scopes);
            if !shown.is_empty() {
                data(shown)?;
            }
            say(standing(&upgrade));
            if let Some(why) = unseen(&upgrade) {
                say(why);
            }
            blocked(&upgrade.blockers)?;
        }
        UpgradeCommand::Finalize => {
            let upgrade = client.upgrade().await?;
            let Some(next) = upgrade.next else {
                data(format!("version {}", upgrade.version))?;
                say(standing(&upgrade));
                return Ok(());
            };
            let Finalized { version, release, revision } = client.finalize(next).await?;
            data(format!("version {version}"))?;
            say(format!("it is in force at revision {revision}: no release before {release} runs any more"));
        }
    }
    Ok(())
}

/// One sentence on where the upgrade stands.
fn standing(upgrade: &Upgrade) -> String {
    let Upgrade { version, release, .. } = upgrade;
    match (upgrade.next, upgrade.blockers.len()) {
        (None, _) => format!(
            "version {version} (release {release}) is in force, and no control node knows a later one"
        ),
        (Some(next), 0) => {
            format!("version {version} is in force; all are ready for version {next}: hanse upgrade finalize")
        }
        (Some(next), many) => {
            format!("version {version} is in force; {many} not ready for version {next}: hanse upgrade check")
        }
    }
}

/// Why the changes of the next version are not shown, if they are not.
fn unseen(upgrade: &Upgrade) -> Option<String> {
    let next = upgrade.next.filter(|_| upgrade.scopes.is_none())?;
    Some(format!("this control node does not know what version {next} changes: ask one of the new release"))
}

/// Fails if anything stands in the way.
fn blocked(blockers: &[Blocker]) -> Result<(), Failure> {
    if blockers.is_empty() {
        return Ok(());
    }
    let each: Vec<_> =
        blockers.iter().map(|blocker| format!("{} {}", blocker.identity, blocker.reason)).collect();
    Err(Failure::new(Exit::Conflict, each.join("\n"))
        .remedy("start what is down, and roll out the new release everywhere"))
}

fn shown(upgrade: &Upgrade, output: Output, table: impl Fn(&Upgrade) -> String) -> String {
    match output {
        Output::Json => render::pretty(upgrade),
        Output::Yaml => render::yaml(upgrade),
        Output::Name => upgrade.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join("\n"),
        Output::Table | Output::Wide => table(upgrade),
    }
}

fn nodes(upgrade: &Upgrade) -> String {
    let row = |node: &NodeBuild| {
        vec![
            node.name.clone(),
            node.role.clone(),
            node.release.clone().unwrap_or_default(),
            node.knows.map(|version| version.to_string()).unwrap_or_default(),
        ]
    };
    let titles = ["NODE", "ROLE", "RELEASE", "KNOWS VERSION"].map(str::to_owned).into();
    render::table(titles, upgrade.nodes.iter().map(row))
}

/// The scopes that the next version changes. Empty where the control node that answered does not know that version.
fn scopes(upgrade: &Upgrade) -> String {
    let Some(scopes) = &upgrade.scopes else { return String::new() };
    let row = |scope: &ScopeEffect| {
        vec![
            scope.region.clone(),
            scope.environment.clone().unwrap_or_default(),
            scope.upserts.to_string(),
            scope.removals.to_string(),
        ]
    };
    let titles = ["REGION", "ENVIRONMENT", "CHANGED", "REMOVED"].map(str::to_owned).into();
    render::table(titles, scopes.iter().map(row))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn upgrade() -> Upgrade {
        serde_json::from_value(json!({
            "version": 1, "release": "0.1.0", "next": 2, "revision": 9,
            "nodes": [
                {"name": "cp-1", "role": "leader", "release": "0.2.0", "knows": 2},
                {"name": "cp-2", "role": "voter"},
            ],
            "blockers": [{"identity": "cp-2.server.control.hanse.internal", "reason": "did not answer"}],
            "scopes": [{"region": "eu", "environment": "production", "upserts": 3, "removals": 0}],
        }))
        .unwrap()
    }

    #[test]
    fn nodes_and_scopes_are_shown() {
        let words = |table: &str, line: usize| -> Vec<String> {
            table.lines().nth(line).unwrap().split_whitespace().map(str::to_owned).collect()
        };
        let table = shown(&upgrade(), Output::Table, nodes);
        assert_eq!(words(&table, 1), ["cp-1", "leader", "0.2.0", "2"]);
        assert_eq!(words(&table, 2), ["cp-2", "voter", "-", "-"]);
        let table = shown(&upgrade(), Output::Table, scopes);
        assert_eq!(words(&table, 1), ["eu", "production", "3", "0"]);
        assert_eq!(shown(&upgrade(), Output::Name, nodes), "cp-1\ncp-2");
        assert_eq!(unseen(&upgrade()), None);
        let by_an_older = Upgrade { scopes: None, ..upgrade() };
        assert_eq!(shown(&by_an_older, Output::Table, scopes), "", "it does not say that nothing changes");
        assert!(unseen(&by_an_older).unwrap().contains("what version 2 changes"));
        assert_eq!(unseen(&Upgrade { next: None, ..by_an_older }), None);
    }

    #[test]
    fn what_stands_in_the_way_is_named() {
        let mut upgrade = upgrade();
        assert!(standing(&upgrade).contains("1 not ready for version 2"), "{}", standing(&upgrade));
        let failure = blocked(&upgrade.blockers).unwrap_err();
        assert_eq!(failure.exit, Exit::Conflict);
        assert!(failure.message.contains("cp-2.server.control.hanse.internal did not answer"), "{failure}");
        upgrade.blockers.clear();
        assert!(standing(&upgrade).contains("hanse upgrade finalize"));
        blocked(&upgrade.blockers).unwrap();
        upgrade.next = None;
        assert!(standing(&upgrade).contains("no control node knows a later one"));
    }
}
