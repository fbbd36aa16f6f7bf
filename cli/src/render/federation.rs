//! `hanse status` for people.

use serde_json::Value;

use super::{table, text_of};

/// The federation at a glance, from what `/v1/status` answers.
pub(crate) fn federation(status: &Value) -> String {
    let lineage = &status["lineage"];
    let mut text = format!(
        "revision {}  lineage {}  {}\n\n",
        text_of(&status["revision"]),
        match lineage.is_object() {
            true => format!("{}/{}", text_of(&lineage["generation"]), short(&text_of(&lineage["id"]))),
            false => "-".to_owned(),
        },
        match status["quorum"].as_bool() {
            Some(false) => "NO QUORUM: changes are refused, gateways go on serving",
            _ => "quorum",
        },
    );
    let leader = &status["leader"];
    let mut nodes: Vec<_> = each(&status["nodes"])
        .map(|node| {
            let leads = leader.is_string() && &node["name"] == leader;
            let role = if leads { "leader".to_owned() } else { text_of(&node["role"]) };
            vec![text_of(&node["name"]), role, text_of(&node["api"])]
        })
        .collect();
    nodes.sort();
    text += &table(titles(&["NODE", "ROLE", "API"]), nodes.into_iter());
    text += "\n\n";
    let rows = each(&status["regions"]).flat_map(|region| {
        let name = text_of(&region["name"]);
        let agents = each(&region["agents"]).map(|agent| row(&name, "agent", agent)).collect::<Vec<_>>();
        let gateways =
            each(&region["gateways"]).map(|gateway| row(&name, "gateway", gateway)).collect::<Vec<_>>();
        let empty = agents.is_empty() && gateways.is_empty();
        agents.into_iter().chain(gateways).chain(empty.then(|| vec![name.clone()]))
    });
    text += &table(titles(&["REGION", "ROLE", "NAME", "STATE", "HEARD", "REVISION"]), rows);
    for (region, gateway) in each(&status["regions"])
        .flat_map(|region| each(&region["gateways"]).map(move |gateway| (region, gateway)))
    {
        for quarantined in each(&gateway["quarantined"]) {
            let said = ["kind", "name", "field", "reason"].map(|key| text_of(&quarantined[key]));
            let (region, gateway) = (text_of(&region["name"]), text_of(&gateway["name"]));
            text += &format!(
                "\nquarantined by {gateway} ({region}): {} {}: {} {}",
                said[0], said[1], said[2], said[3]
            );
        }
        let total = gateway["quarantinedTotal"].as_u64().unwrap_or_default();
        let named = each(&gateway["quarantined"]).count() as u64;
        if total > named {
            text += &format!("\nquarantined by {}: {} more", text_of(&gateway["name"]), total - named);
        }
    }
    text += &each(&status["partial"]).map(partial).collect::<String>();
    text += &each(&status["duplicates"]).map(duplicate).collect::<String>();
    text
}

/// An agent that cannot name all of its gateways.
fn partial(partial: &Value) -> String {
    let said = ["agent", "region", "leftOut"].map(|key| text_of(&partial[key]));
    format!(
        "\n{} ({}) has {} gateways more than its report takes: give the region another agent",
        said[0], said[1], said[2]
    )
}

/// A name that two processes have.
fn duplicate(duplicate: &Value) -> String {
    let said = ["role", "name", "region", "seenAt"].map(|key| text_of(&duplicate[key]));
    format!(
        "\nDUPLICATE: {} {} ({}) runs twice, as of {}: its data directory was copied. Stop one of the two, remove its data \
         directory, and let it join under a name of its own",
        said[0], said[1], said[2], said[3]
    )
}

fn row(region: &str, role: &str, node: &Value) -> Vec<String> {
    let state = match node["connected"].as_bool() {
        Some(true) => "connected",
        Some(false) => "silent",
        None => "",
    };
    let heard = node["heardMsAgo"]
        .as_u64()
        .map(|ms| format!("{}.{} s ago", ms / 1000, ms % 1000 / 100))
        .unwrap_or_default();
    let revision = match &node["revision"] {
        // An agent stands where the scope furthest behind stands.
        Value::Null => each(&node["scopes"])
            .filter_map(|scope| scope["revision"].as_u64())
            .min()
            .map(|n| n.to_string())
            .unwrap_or_default(),
        revision => text_of(revision),
    };
    vec![region.to_owned(), role.to_owned(), text_of(&node["name"]), state.to_owned(), heard, revision]
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn titles(titles: &[&str]) -> Vec<String> {
    titles.iter().map(|&title| title.to_owned()).collect()
}

/// As many digits as tell two lineages apart at a glance.
fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
