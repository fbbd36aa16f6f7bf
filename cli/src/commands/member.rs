//! `hanse member`: who takes part, and who of them is refused.

use std::collections::BTreeMap;

use hanse_api::answer::{Member, Members};

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
            if matches!(output, Output::Table | Output::Wide) {
                without_relay(&members).iter().for_each(say);
            }
        }
        MemberCommand::Revoke { identity, keys } => {
            let (revision, keys) = client.revoke(identity, keys).await?;
            data(format!("{identity} revoked"))?;
            say(refused(&keys, revision));
        }
        MemberCommand::Readmit { identity } => {
            let revision = client.readmit(identity).await?;
            data(format!("{identity} readmitted"))?;
            say(format!("it may come back from revision {revision} on"));
        }
    }
    Ok(())
}

/// What is refused from now on.
fn refused(keys: &[String], revision: u64) -> String {
    let by = format!("control nodes and its region's agents refuse it from revision {revision} on");
    if keys.is_empty() {
        format!(
            "{by}, by name only: its key is not known yet. It is refused too as soon as an agent reports it; to refuse it \
             now, name it with --key"
        )
    } else {
        format!("{by}, by name and by key: {}", keys.join(", "))
    }
}

/// Says of each region with several agents and no relay that its agents do not find one another, and why.
fn without_relay(members: &Members) -> Vec<String> {
    let mut regions: BTreeMap<&str, Vec<&Member>> = BTreeMap::new();
    let agents = members.items.iter().filter(|member| member.role == "agent" && member.revoked_at.is_none());
    for agent in agents {
        regions.entry(agent.region.as_deref().unwrap_or_default()).or_default().push(agent);
    }
    let is_told = |agents: &Vec<&Member>| agents.len() > 1 && !agents.iter().any(|agent| agent.relay);
    let may_learn_all = |agent: &&Member| agent.environments.as_ref().is_none_or(Vec::is_empty);
    let tell = |(region, agents): (&str, Vec<&Member>)| {
        let why = match agents.iter().any(may_learn_all) {
            true => {
                "set advertise.federation in the configuration of its agents, to an address that the others reach"
            }
            false => "all of its agents may learn some environments only, and none of these is a relay",
        };
        format!("region {region} has no relay, so its agents do not follow one another: {why}")
    };
    regions.into_iter().filter(|(_, agents)| is_told(agents)).map(tell).collect()
}

fn listed(members: &Members, output: Output) -> String {
    let items = || members.items.iter();
    match output {
        Output::Json => render::pretty(members),
        Output::Yaml => render::yaml(members),
        Output::Name => items().map(|member| member.identity.as_str()).collect::<Vec<_>>().join("\n"),
        Output::Table => {
            let titles = ["IDENTITY", "STATE", "TOKEN", "REVOKED"].map(str::to_owned).into();
            render::table(titles, items().map(row))
        }
        Output::Wide => {
            let titles =
                ["IDENTITY", "STATE", "TOKEN", "REVOKED", "KEY", "ADDRESS"].map(str::to_owned).into();
            let with_key = |member: &Member| {
                let mut row = row(member);
                row.push(member.key.clone().unwrap_or_default());
                row.push(member.address.clone().unwrap_or_default());
                row
            };
            render::table(titles, items().map(with_key))
        }
    }
}

fn row(member: &Member) -> Vec<String> {
    let state = match (member.revoked_at.is_some(), member.connected) {
        (true, _) => "revoked",
        (false, Some(true)) if member.relay => "connected, relay",
        (false, Some(true)) => "connected",
        (false, Some(false)) if member.relay => "silent, relay",
        (false, Some(false)) => "silent",
        (false, None) => "",
    };
    let revocation = member.revoked_at.as_ref().map(|at| {
        let by = member.revoked_by.as_deref().unwrap_or_default();
        format!("{at} by {by}")
    });
    vec![
        member.identity.clone(),
        state.to_owned(),
        member.token.clone().unwrap_or_default(),
        revocation.unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_shown_with_who_revoked_them() {
        let members: Members = serde_json::from_value(json!({"revision": 9, "items": [
            {"identity": "agent-1.agent.eu.hanse.internal", "name": "agent-1", "role": "agent", "token": "t-1", "connected": true, "key": "sha256:07"},
            {"identity": "g-1.gateway.eu.hanse.internal", "name": "g-1", "role": "gateway", "connected": false,
             "revokedBy": "root", "revokedAt": "2026-01-01T00:00:00Z"},
            {"identity": "cp-1.server.control.hanse.internal", "name": "cp-1", "role": "server"},
            {"identity": "agent-2.agent.eu.hanse.internal", "name": "agent-2", "role": "agent", "token": "t-1", "connected": true,
             "key": "sha256:08", "address": "agent-2.example:7444", "relay": true},
        ]}))
        .unwrap();
        let table = listed(&members, Output::Table);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["agent-1.agent.eu.hanse.internal", "connected", "t-1", "-"]);
        assert_eq!(
            lines[2],
            ["g-1.gateway.eu.hanse.internal", "revoked", "-", "2026-01-01T00:00:00Z", "by", "root"]
        );
        assert_eq!(lines[3], ["cp-1.server.control.hanse.internal", "-", "-", "-"]);
        assert_eq!(lines[4], ["agent-2.agent.eu.hanse.internal", "connected,", "relay", "t-1", "-"]);
        let wide = listed(&members, Output::Wide);
        let ends = |at: usize, end: [&str; 2]| {
            let words: Vec<&str> = wide.lines().nth(at).unwrap().split_whitespace().collect();
            assert!(words.ends_with(&end), "{wide}");
        };
        ends(1, ["sha256:07", "-"]);
        ends(4, ["sha256:08", "agent-2.example:7444"]);
        assert!(listed(&members, Output::Name).starts_with("agent-1.agent.eu.hanse.internal\ng-1."));
    }

    #[test]
    fn a_region_of_several_agents_without_a_relay_is_told() {
        let agent = |name: &str, region: &str| Member {
            identity: format!("{name}.agent.{region}.hanse.internal"),
            role: "agent".to_owned(),
            region: Some(region.to_owned()),
            ..Member::default()
        };
        let restricted = |name: &str, region: &str| Member {
            environments: Some(vec!["sandbox".to_owned()]),
            ..agent(name, region)
        };
        let items = vec![
            agent("one", "alone"),
            agent("one", "mixed"),
            restricted("two", "mixed"),
            restricted("one", "restricted"),
            restricted("two", "restricted"),
            agent("one", "well"),
            Member { relay: true, ..agent("two", "well") },
            agent("one", "gone"),
            Member { revoked_at: Some("2026-01-01T00:00:00Z".to_owned()), ..agent("two", "gone") },
            Member { role: "gateway".to_owned(), ..agent("g", "alone") },
        ];
        let said = without_relay(&Members { items, revision: 9 });
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("region mixed") && said[0].contains("advertise.federation"), "{said:?}");
        assert!(said[1].contains("region restricted") && said[1].contains("some environments"), "{said:?}");
    }

    #[test]
    fn a_revocation_says_whether_the_key_is_known() {
        let known = refused(&["sha256:01".to_owned(), "sha256:02".to_owned()], 9);
        assert!(known.contains("revision 9") && known.ends_with("by key: sha256:01, sha256:02"), "{known}");
        let unknown = refused(&[], 9);
        assert!(unknown.contains("by name only") && unknown.contains("--key"), "{unknown}");
    }
}
