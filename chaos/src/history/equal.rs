//! Whether all nodes hold the same in the end: the same revision, and every resource of every kind.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::client::HistoryClient;
use crate::process::until;

/// The organization of every resource that belongs to one.
const ORGANIZATION: &str = "default";

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Held {
    pub(super) node: String,
    /// The revision it has applied.
    pub(super) revision: u64,
    /// Resources by path.
    pub(super) resources: BTreeMap<String, Value>,
}

/// Waits until every node holds the same by its own stale lists; an error names the first difference.
pub(super) async fn wait(client: &HistoryClient, within: Duration) -> Result<()> {
    let document = client.get(0, "/openapi.json").await?.json()?;
    let lists = lists(&document)?;
    ensure!(!lists.is_empty(), "the API has no lists");
    let lists = &lists;
    until("all nodes hold the same", within, || async {
        let mut held = Vec::new();
        for node in 0..client.nodes() {
            held.push(read(client, node, lists).await?);
        }
        match difference(&held) {
            Some(difference) => bail!(difference),
            None => Ok(()),
        }
    })
    .await
}

/// The first difference between nodes.
pub(super) fn difference(held: &[Held]) -> Option<String> {
    let (first, others) = held.split_first()?;
    for other in others {
        let (a, b) = (&first.node, &other.node);
        if first.revision != other.revision {
            return Some(format!("{a} has revision {}, {b} {}", first.revision, other.revision));
        }
        for path in first.resources.keys().chain(other.resources.keys()) {
            match (first.resources.get(path), other.resources.get(path)) {
                (Some(there), Some(here)) if there == here => {}
                (there, here) => {
                    let shown = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
                    return Some(format!("{path} is {} at {a} and {} at {b}", shown(there), shown(here)));
                }
            }
        }
    }
    None
}

/// The paths of everything that is listed, as one document of JSON, at a consistency of the client's choice.
fn lists(document: &Value) -> Result<Vec<String>> {
    let paths = document["paths"].as_object().context("no paths")?;
    let is_list = |path: &str, item: &Value| {
        let mut parameters = item["get"]["parameters"].as_array().into_iter().flatten();
        let is_json = item["get"]["responses"]["200"]["content"].get("application/json").is_some();
        is_json
            && !path.contains("{name}")
            && !path.contains("{number}")
            && parameters.any(|parameter| parameter["name"] == "consistency")
    };
    let listed = paths.iter().filter(|(path, item)| is_list(path, item));
    Ok(listed.map(|(path, _)| path.replace("{organization}", ORGANIZATION)).collect())
}

/// What one node holds. While it changes between two lists, the revisions tell.
async fn read(client: &HistoryClient, node: usize, lists: &[String]) -> Result<Held> {
    let mut held = Held { node: client.name(node).to_owned(), revision: 0, resources: BTreeMap::new() };
    for path in lists {
        // Revocations and proposals, which are not resources, come in one page.
        let is_whole = path.ends_with("/revocations") || path.ends_with("/approvals");
        let page = if is_whole { "" } else { "&limit=1000" };
        let answer = client.get(node, &format!("{path}?consistency=stale{page}")).await?;
        ensure!(answer.status == 200, "{}: {path}: {answer:?}", held.node);
        let revision = answer.header("hanse-revision").parse().context("Hanse-Revision")?;
        ensure!(held.revision == 0 || held.revision == revision, "{} goes on changing", held.node);
        held.revision = revision;
        let body = answer.json()?;
        if path.ends_with("/audit") {
            // The hash of the last entry rests on all entries before it.
            held.resources.insert(format!("{path}/head"), body["head"].clone());
            continue;
        }
        ensure!(body["continue"].is_null(), "{path} has more than one page");
        for resource in body["items"].as_array().with_context(|| format!("{path}: {body}"))? {
            let name = resource["name"].as_str().or(resource["identity"].as_str()).map(str::to_owned);
            let name = name.or_else(|| Some(resource["number"].as_u64()?.to_string()));
            let name = name.with_context(|| format!("{path}: {resource}"))?;
            held.resources.insert(format!("{path}/{name}"), resource.clone());
        }
    }
    ensure!(!held.resources.is_empty(), "{} shows nothing", held.node);
    Ok(held)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, revision: u64, resources: &[(&str, u64)]) -> Held {
        let resource = |(path, value): &(&str, u64)| ((*path).to_owned(), json!({ "value": value }));
        Held { node: name.into(), revision, resources: resources.iter().map(resource).collect() }
    }

    #[test]
    fn a_node_that_differs_is_named_with_what_differs() {
        let one = || node("cp-1", 9, &[("/a", 1), ("/b", 2)]);
        let check = |other: Held, expected: Option<&str>| {
            let second = Held { node: "cp-2".into(), ..one() };
            let found = difference(&[one(), second, other]);
            assert_eq!(found.as_deref(), expected);
        };
        check(node("cp-3", 9, &[("/a", 1), ("/b", 2)]), None);
        check(node("cp-3", 8, &[("/a", 1), ("/b", 2)]), Some("cp-1 has revision 9, cp-3 8"));
        check(
            node("cp-3", 9, &[("/a", 1), ("/b", 3)]),
            Some(r#"/b is {"value":2} at cp-1 and {"value":3} at cp-3"#),
        );
        check(node("cp-3", 9, &[("/a", 1)]), Some(r#"/b is {"value":2} at cp-1 and nothing at cp-3"#));
        check(
            node("cp-3", 9, &[("/a", 1), ("/b", 2), ("/c", 4)]),
            Some(r#"/c is nothing at cp-1 and {"value":4} at cp-3"#),
        );
    }

    #[test]
    fn every_list_of_the_document_is_read() {
        let answering = |form: &str| {
            let parameters = json!([{"name": "limit"}, {"name": "consistency"}]);
            json!({"get": {"parameters": parameters, "responses": {"200": {"content": {form: {}}}}}})
        };
        let list = answering("application/json");
        let document = json!({"paths": {
            "/v1/regions": list, "/v1/regions/{name}": list, "/v1/organizations/{organization}/plans": list,
            "/v1/dump": answering("application/x-ndjson"), "/v1/status": {"get": {}}, "/v1/apply": {"post": {}},
        }});
        let mut found = lists(&document).unwrap();
        found.sort_unstable();
        assert_eq!(found, ["/v1/organizations/default/plans", "/v1/regions"]);
    }
}
