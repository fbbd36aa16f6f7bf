//! One operation against the operator API, and what its answer means.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::time::timeout;

use super::operation::{Action, Operation, Outcome, Seen};
use crate::http::{Answer, Client, never_sent};

/// A client gives up after so long: longer than a node waits for a leader (3.5 s), so that most operations learn their
/// outcome.
const GIVES_UP: Duration = Duration::from_secs(5);

/// Keys are Plans of the default organization: small, and nothing refers to them.
const PLANS: &str = "/v1/organizations/default/plans";

/// The label that holds the number of the operation that wrote a key.
const WRITTEN_BY: &str = "written-by";

/// Does operations and says what became of each. Nothing is sent again: a client that repeats by itself makes its own history
/// untrue.
#[derive(Debug, Clone)]
pub(super) struct HistoryClient {
    client: Client,
    bearer: String,
    /// The control nodes: name and `https://ADDRESS:PORT`.
    nodes: Vec<(String, String)>,
    epoch: Instant,
}

/// What an operation needs beside what it asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Who {
    pub(super) id: u64,
    pub(super) client: u64,
    /// Which control node to ask.
    pub(super) node: usize,
}

impl HistoryClient {
    pub(super) fn new(ca_file: &Path, token: &str, nodes: Vec<(String, String)>) -> Result<Self> {
        let client = Client::without_retries(Some(ca_file))?;
        Ok(Self { client, bearer: format!("Bearer {token}"), nodes, epoch: Instant::now() })
    }

    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The name of a node.
    pub(super) fn name(&self, node: usize) -> &str {
        &self.nodes[node].0
    }

    /// Asks a node for something that is no operation of the history.
    pub(super) async fn get(&self, node: usize, path: &str) -> Result<Answer> {
        let url = format!("{}{path}", self.nodes[node].1);
        timeout(GIVES_UP, self.client.get(&url, &[("authorization", &self.bearer)])).await?
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Does one operation.
    pub(super) async fn execute(&self, who: Who, action: Action) -> Operation {
        let (node, url) = &self.nodes[who.node];
        let start_ns = self.now_ns();
        let answer = timeout(GIVES_UP, self.ask(url, who.id, &action)).await;
        let outcome = match answer {
            Ok(Ok(answer)) => outcome(&action, &answer)
                .unwrap_or_else(|error| Outcome::Unknown { why: format!("{error:#}") }),
            Ok(Err(error)) if never_sent(&error) => Outcome::Refused { why: "not-sent".to_owned() },
            Ok(Err(error)) => Outcome::Unknown { why: format!("{error:#}") },
            Err(_) => Outcome::Unknown { why: "gave up".to_owned() },
        };
        let (id, client, node) = (who.id, who.client, node.clone());
        Operation { id, client, node, action, start_ns, end_ns: self.now_ns(), outcome }
    }

    async fn ask(&self, url: &str, id: u64, action: &Action) -> Result<Answer> {
        let plans = format!("{url}{PLANS}");
        let if_match;
        let mut headers = vec![("authorization", self.bearer.as_str())];
        let (method, url, body) = match action {
            Action::Read { key } => ("GET", format!("{plans}/{key}"), String::new()),
            Action::StaleRead { key } => ("GET", format!("{plans}/{key}?consistency=stale"), String::new()),
            Action::List => ("GET", format!("{plans}?limit=1000"), String::new()),
            Action::StaleList => ("GET", format!("{plans}?limit=1000&consistency=stale"), String::new()),
            Action::Cas { key, expected_revision, .. } => {
                if_match = format!("\"{expected_revision}\"");
                headers.push(("if-match", &if_match));
                headers.push(("content-type", "application/json"));
                ("PUT", format!("{plans}/{key}"), content(id).to_string())
            }
            Action::Write { .. } | Action::Apply { .. } => {
                headers.push(("content-type", "application/json"));
                let resources: Vec<_> = action.writes().iter().map(|key| resource(key, id)).collect();
                let body = serde_json::json!({ "resources": resources });
                ("POST", format!("{url}/v1/apply"), body.to_string())
            }
        };
        self.client.call(method, &url, &headers, body).await
    }
}

fn content(id: u64) -> Value {
    serde_json::json!({"labels": {WRITTEN_BY: id.to_string()}, "spec": {}})
}

fn resource(key: &str, id: u64) -> Value {
    let mut resource = content(id);
    resource["kind"] = "Plan".into();
    resource["name"] = key.into();
    resource
}

/// What an answer means.
fn outcome(action: &Action, answer: &Answer) -> Result<Outcome> {
    let restarted = answer.header("hanse-restarted") == "true";
    if answer.status.is_success() {
        let revision = answer.header("hanse-revision").parse().context("Hanse-Revision")?;
        let seen = if action.writes().is_empty() { seen(action, &answer.json()?)? } else { BTreeMap::new() };
        return Ok(Outcome::Ok { revision, seen, restarted });
    }
    let problem = answer.json()?;
    let problem = problem["type"].as_str().context("a problem has a type")?;
    let name = problem.strip_prefix("urn:hanse:problem:").context("a problem of Hanse")?;
    Ok(match (answer.status.as_u16(), name) {
        (404, _) if action.writes().is_empty() => Outcome::Missing { restarted },
        // A deadline or a defect: it may have happened.
        (500.., "unknown-fate" | "internal") => Outcome::Unknown { why: name.to_owned() },
        _ => Outcome::Refused { why: name.to_owned() },
    })
}

/// What a read shows, of the keys that operations write.
fn seen(action: &Action, body: &Value) -> Result<BTreeMap<String, Seen>> {
    let resources = match action.is_list() {
        true => body["items"].as_array().context("items")?.as_slice(),
        false => std::slice::from_ref(body),
    };
    let mut seen = BTreeMap::new();
    for resource in resources {
        let Some(value) = resource["labels"][WRITTEN_BY].as_str() else { continue };
        let value = value.parse().context("the number of an operation")?;
        let revision = resource["revision"].as_u64().context("a revision")?;
        let name = resource["name"].as_str().context("a name")?;
        seen.insert(name.to_owned(), Seen { value, revision });
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: body.to_owned().into() }
    }

    #[test]
    fn answers_are_read_for_what_they_say() {
        let key = || "k1".to_owned();
        let read = Action::Read { key: key() };
        let shown = r#"{"name": "k1", "labels": {"written-by": "5"}, "revision": 40, "spec": {}}"#;
        let seen = |restarted| Outcome::Ok {
            revision: 41,
            seen: [("k1".to_owned(), Seen { value: 5, revision: 40 })].into(),
            restarted,
        };
        let refused = |why: &str| Outcome::Refused { why: why.into() };
        let unknown = |why: &str| Outcome::Unknown { why: why.into() };
        let problem = |name: &str| format!(r#"{{"type": "urn:hanse:problem:{name}"}}"#);
        let check = |action: &Action, answer: Answer, expected: Outcome| {
            assert_eq!(outcome(action, &answer).unwrap(), expected, "{answer:?}");
        };
        check(&read, answer(200, &[("hanse-revision", "41")], shown), seen(false));
        let headers = [("hanse-revision", "41"), ("hanse-restarted", "true")];
        check(&read, answer(200, &headers, shown), seen(true));
        let list =
            format!(r#"{{"items": [{shown}, {{"name": "unlimited", "labels": {{}}, "revision": 3}}]}}"#);
        check(&Action::List, answer(200, &[("hanse-revision", "41")], &list), seen(false));
        let missing = Outcome::Missing { restarted: false };
        check(&read, answer(404, &[], &problem("not-found")), missing);
        let write = Action::Write { key: key() };
        let done = Outcome::Ok { revision: 42, seen: BTreeMap::new(), restarted: false };
        check(&write, answer(200, &[("hanse-revision", "42")], "{}"), done);
        check(&write, answer(412, &[], &problem("stale")), refused("stale"));
        check(&write, answer(503, &[], &problem("no-quorum")), refused("no-quorum"));
        check(&write, answer(504, &[], &problem("unknown-fate")), unknown("unknown-fate"));
        check(&write, answer(500, &[], &problem("internal")), unknown("internal"));
        assert!(outcome(&write, &answer(502, &[], "bad gateway")).is_err());
    }
}
