//! `hanse status` for people.

use hanse_api::answer::{AgentStatus, DuplicateName, GatewayStatus, PartialReport, RegionStatus, Status};

use super::table;

/// The federation at a glance, from what `/v1/status` answers.
pub(crate) fn federation(status: &Status) -> String {
    let mut text = format!(
        "revision {}  lineage {}  {}\n\n",
        status.revision,
        match &status.lineage {
            Some(lineage) => format!("{}/{}", lineage.generation, short(&lineage.id)),
            None => "-".to_owned(),
        },
        match status.quorum {
            false => "NO QUORUM: changes are refused, gateways go on serving",
            true => "quorum",
        },
    );
    let mut nodes: Vec<_> = status
        .nodes
        .iter()
        .map(|node| {
            let leads = status.leader.as_ref() == Some(&node.name);
            let role = if leads { "leader" } else { &node.role };
            vec![node.name.clone(), role.to_owned(), node.api.clone()]
        })
        .collect();
    nodes.sort();
    text += &table(titles(&["NODE", "ROLE", "API"]), nodes.into_iter());
    text += "\n\n";
    text += &table(
        titles(&["REGION", "ROLE", "NAME", "STATE", "HEARD", "REVISION"]),
        status.regions.iter().flat_map(rows),
    );
    for region in &status.regions {
        text += &region.gateways.iter().map(|gateway| quarantined(&region.name, gateway)).collect::<String>();
    }
    text += &status.partial.iter().map(partial).collect::<String>();
    text += &status.duplicates.iter().map(duplicate).collect::<String>();
    text
}

/// An agent that cannot name all of its gateways.
fn partial(partial: &PartialReport) -> String {
    let PartialReport { agent, region, left_out, .. } = partial;
    format!(
        "\n{agent} ({region}) has {left_out} gateways more than its report takes: give the region another agent"
    )
}

/// A name that two processes have.
fn duplicate(duplicate: &DuplicateName) -> String {
    let DuplicateName { name, region, role, seen_at } = duplicate;
    format!(
        "\nDUPLICATE: {role} {name} ({region}) runs twice, as of {seen_at}: its data directory was copied. Stop one of the \
         two, remove its data directory, and let it join under a name of its own"
    )
}

/// What a gateway cannot use.
fn quarantined(region: &str, gateway: &GatewayStatus) -> String {
    let mut text = String::new();
    for found in &gateway.quarantined {
        let kind = found.kind.as_deref().unwrap_or_default();
        text += &format!(
            "\nquarantined by {} ({region}): {kind} {}: {} {}",
            gateway.name, found.name, found.field, found.reason
        );
    }
    let named = gateway.quarantined.len() as u64;
    if gateway.quarantined_total > named {
        text += &format!("\nquarantined by {}: {} more", gateway.name, gateway.quarantined_total - named);
    }
    text
}

/// The agents and gateways of a region; one that has none has a row of its own.
fn rows(region: &RegionStatus) -> Vec<Vec<String>> {
    let agent = |agent: &AgentStatus| {
        // An agent stands where the scope furthest behind stands.
        let revision = agent.scopes.iter().filter_map(|scope| scope.revision).min();
        row(&region.name, "agent", &agent.name, agent.connected, agent.heard_ms_ago, revision)
    };
    let gateway = |gateway: &GatewayStatus| {
        let furthest_behind = || gateway.scopes.iter().filter_map(|scope| scope.revision).min();
        let revision = gateway.revision.or_else(furthest_behind);
        row(&region.name, "gateway", &gateway.name, gateway.connected, gateway.heard_ms_ago, revision)
    };
    let mut rows: Vec<_> =
        region.agents.iter().map(agent).chain(region.gateways.iter().map(gateway)).collect();
    if rows.is_empty() {
        rows.push(vec![region.name.clone()]);
    }
    rows
}

fn row(
    region: &str,
    role: &str,
    name: &str,
    connected: bool,
    heard_ms_ago: u64,
    revision: Option<u64>,
) -> Vec<String> {
    vec![
        region.to_owned(),
        role.to_owned(),
        name.to_owned(),
        if connected { "connected" } else { "silent" }.to_owned(),
        format!("{}.{} s ago", heard_ms_ago / 1000, heard_ms_ago % 1000 / 100),
        revision.map(|revision| revision.to_string()).unwrap_or_default(),
    ]
}

fn titles(titles: &[&str]) -> Vec<String> {
    titles.iter().map(|&title| title.to_owned()).collect()
}

/// As many digits as tell two lineages apart at a glance.
fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
