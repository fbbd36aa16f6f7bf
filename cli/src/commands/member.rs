//! `hanse member`: who takes part, and who of them is refused.

use serde_json::Value;

use crate::{
    args::{MemberArgs, MemberCommand, Output},
    client::Client,
    out::{data, say},
    render,
};

/// Lists, revokes or readmits.
pub(crate) async fn member(client: &Client, args: &MemberArgs) -> anyhow::Result<()> {
    match &args.command {
        MemberCommand::List { output } => {
            let members = client.members().await?;
            data(listed(&members, *output))?;
        }
        MemberCommand::Revoke { identity } => {
            let revision = client.revoke(identity).await?;
            data(format!("{identity} revoked"))?;
            say(format!(
                "control nodes and its region's agents refuse it by name from revision {revision} on"
            ));
        }
        MemberCommand::Readmit { identity } => {
            let revision = client.readmit(identity).await?;
            data(format!("{identity} readmitted"))?;
            say(format!("it may come back from revision {revision} on"));
        }
    }
    Ok(())
}

fn listed(members: &Value, output: Output) -> String {
    let items = || members["items"].as_array().into_iter().flatten();
    match output {
        Output::Json => render::pretty(members),
        Output::Yaml => render::yaml(members),
        Output::Name => {
            items().map(|member| render::text_of(&member["identity"])).collect::<Vec<_>>().join("\n")
        }
        Output::Table | Output::Wide => {
            let titles = ["IDENTITY", "STATE", "TOKEN", "REVOKED"].map(str::to_owned).into();
            render::table(titles, items().map(row))
        }
    }
}

fn row(member: &Value) -> Vec<String> {
    let revoked = member["revokedAt"].is_string();
    let state = match (revoked, member["connected"].as_bool()) {
        (true, _) => "revoked",
        (false, Some(true)) => "connected",
        (false, Some(false)) => "silent",
        (false, None) => "",
    };
    let revocation =
        revoked.then(|| ["revokedAt", "revokedBy"].map(|key| render::text_of(&member[key])).join(" by "));
    vec![
        render::text_of(&member["identity"]),
        state.to_owned(),
        render::text_of(&member["token"]),
        revocation.unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_shown_with_who_revoked_them() {
        let members = json!({"revision": 9, "items": [
            {"identity": "agent-1.agent.eu.hanse.internal", "token": "t-1", "connected": true},
            {"identity": "g-1.gateway.eu.hanse.internal", "connected": false,
             "revokedBy": "root", "revokedAt": "2026-01-01T00:00:00Z"},
            {"identity": "cp-1.server.control.hanse.internal"},
        ]});
        let table = listed(&members, Output::Table);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["agent-1.agent.eu.hanse.internal", "connected", "t-1", "-"]);
        assert_eq!(
            lines[2],
            ["g-1.gateway.eu.hanse.internal", "revoked", "-", "2026-01-01T00:00:00Z", "by", "root"]
        );
        assert_eq!(lines[3], ["cp-1.server.control.hanse.internal", "-", "-", "-"]);
        assert!(listed(&members, Output::Name).starts_with("agent-1.agent.eu.hanse.internal\ng-1."));
    }
}
