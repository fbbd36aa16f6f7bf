//! `hanse status` for people.

use hanse_api::answer::{
    AgentStatus, DuplicateName, GatewayStatus, NodeState, NodeStatus, PartialReport, RegionStatus,
    ResponderStatus, Status,
};

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
        quorum(status),
    );
    let mut nodes: Vec<_> = status
        .nodes
        .iter()
        .map(|node| vec![node.name.clone(), node.role.clone(), state(node), node.api.clone()])
        .collect();
    nodes.sort();
    text += &table(titles(&["NODE", "ROLE", "STATE", "API"]), nodes.into_iter());
    text += "\n\n";
    text += &table(
        titles(&["REGION", "ROLE", "NAME", "STATE", "HEARD", "REVISION"]),
        status.regions.iter().flat_map(rows),
    );
    for region in &status.regions {
        text += &region.gateways.iter().map(|gateway| quarantined(&region.name, gateway)).collect::<String>();
        text +=
            &region.responders.iter().map(|responder| served(&region.name, responder)).collect::<String>();
    }
    text += &status.partial.iter().map(partial).collect::<String>();
    text += &status.duplicates.iter().map(duplicate).collect::<String>();
    text += &waiting(status.proposals);
    text
}

/// Whether changes are taken, and since when that is known.
fn quorum(status: &Status) -> String {
    /// A node that had no contact since it started says an age of a year.
    const NEVER_MS: u64 = 365 * 24 * 3_600 * 1_000;
    let age = seconds(status.as_of_age_ms);
    match (status.quorum, status.as_of_age_ms < NEVER_MS) {
        (true, _) => format!("quorum, as of {age} ago"),
        (false, true) => {
            format!("NO QUORUM here for {age}: this node refuses changes, gateways go on serving")
        }
        (false, false) => "NO QUORUM here: this node refuses changes, gateways go on serving".to_owned(),
    }
}

/// Whether a control node answers, and since when it does not.
fn state(node: &NodeStatus) -> String {
    if let (NodeState::Up, Some(version)) = (&node.state, node.lacks_key) {
        return format!("lacks federation key {version}");
    }
    match (&node.state, node.heard_ms_ago) {
        (NodeState::Silent, Some(ago)) => format!("silent for {}", seconds(ago)),
        (NodeState::Silent, None) => "not heard yet".to_owned(),
        (state, _) => state.to_string(),
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

/// What waits for a second owner.
fn waiting(proposals: u64) -> String {
    match proposals {
        0 => String::new(),
        1 => "\n1 proposal waits for an approval: hanse approval list".to_owned(),
        more => format!("\n{more} proposals wait for an approval: hanse approval list"),
    }
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

/// What a responder serves, and what it lacks.
fn served(region: &str, responder: &ResponderStatus) -> String {
    let name = &responder.name;
    let more = |named: usize, total: u64| match total.saturating_sub(named as u64) {
        0 => String::new(),
        left => format!(", and {left} more"),
    };
    let mut text = String::new();
    if !responder.zones.is_empty() {
        let zones: Vec<_> =
            responder.zones.iter().map(|zone| format!("{} at serial {}", zone.zone, zone.serial)).collect();
        let left = more(zones.len(), responder.zones_total);
        let geo =
            responder.geo.as_deref().map(|geo| format!("; places by {}", short(geo))).unwrap_or_default();
        text += &format!("\n{name} ({region}) answers for {}{left}{geo}", zones.join(", "));
    }
    if !responder.missing_keys.is_empty() {
        let left = more(responder.missing_keys.len(), responder.missing_keys_total);
        let keys = responder.missing_keys.join(", ");
        text += &format!("\n{name} ({region}) lacks TSIG key {keys}{left}: add it to its configuration");
    }
    for failed in &responder.failed {
        text += &format!("\nnot published by {name} ({region}): GlobalHost {}: {}", failed.host, failed.why);
    }
    let unnamed = responder.failed_total.saturating_sub(responder.failed.len() as u64);
    if unnamed > 0 {
        text += &format!("\nnot published by {name} ({region}): {unnamed} more");
    }
    text
}

/// The agents, gateways and responders of a region; one that has none has a row of its own.
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
    let responder = |responder: &ResponderStatus| {
        row(&region.name, "dns", &responder.name, responder.connected, responder.heard_ms_ago, None)
    };
    let gateways = region.gateways.iter().map(gateway);
    let responders = region.responders.iter().map(responder);
    let mut rows: Vec<_> = region.agents.iter().map(agent).chain(gateways).chain(responders).collect();
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
        format!("{} ago", seconds(heard_ms_ago)),
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
