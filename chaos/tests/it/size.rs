//! The largest Apis: as many operations as Microsoft Graph has, and as many as there may be, through two gateways.

use std::{
    env,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hanse_chaos::{Answer, Client, Federation, process::resident_bytes};
use serde_json::{Map, Value, json};

use crate::{eventually, say};

/// The variable that names other sizes, `11422,22361,25000`. The first two are those of Microsoft Graph, `v1.0` and `beta`.
const SIZES: &str = "HANSE_TEST_SIZES";
/// The most operations that an Api may have: enough for each run.
const DEFAULT_SIZES: &str = "25000";
/// An import, an update or a rollback is served everywhere within this time.
const WAIT: &str = "--wait=120s";
/// What a control node may have in memory afterwards: three revisions, and what the last command left.
const MOST_MEMORY: u64 = 512 << 20;

/// A machine that stands still causes an election too, but not in each of so many runs.
const RUNS: u32 = 3;

#[tokio::test]
async fn the_largest_apis_are_imported_updated_and_rolled_back() -> Result<()> {
    let sizes = env::var(SIZES).unwrap_or_else(|_| DEFAULT_SIZES.to_owned());
    for size in sizes.split(',') {
        let size = size.trim().parse().with_context(|| format!("{SIZES} says {sizes:?}"))?;
        let mut runs = 1;
        while published(size).await? > 0 {
            ensure!(runs < RUNS, "{size} operations: there were elections in each of {RUNS} runs");
            runs += 1;
        }
    }
    Ok(())
}

/// Publishes an Api of this size. How many elections there were.
async fn published(size: usize) -> Result<u64> {
    let federation = Federation::start(&[])?;
    let gateways = federation.gateways()?;
    ensure!(gateways.len() == 2, "two regions have a gateway each: {gateways:?}");
    let upstream = federation.process("upstream")?.http.context("the upstream has an address")?;
    let client = Client::new(None)?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("graph.json");
    let file = file.to_str().context("a plain path")?;
    let term = term(&federation)?;
    let called = async |path: &str, status: u16| -> Result<()> {
        for (name, gateway) in &gateways {
            let url = format!("{gateway}/graph{path}");
            let wanted = |answer: &Answer| answer.status == status;
            eventually(&client, &url, &[], Duration::from_secs(10), wanted)
                .await
                .with_context(|| format!("at {name}"))?;
        }
        Ok(())
    };

    let import = ["import", "openapi", file, "--as", "graph", "--context", "/graph", "--open"];
    let import = [&import[..], &["--upstream", &upstream, "--publish-to", "production", WAIT]].concat();
    let took = |what: &str, began: Instant| -> Result<u64> {
        let bytes = resident_bytes(u32::try_from(federation.process("cp-1")?.pid)?)?;
        say(format!("{size} operations: {what} took {:?}; cp-1 has {} MiB", began.elapsed(), bytes >> 20));
        Ok(bytes)
    };

    let first = Graph { size, renamed: None };
    std::fs::write(file, first.document("1").to_string())?;
    let began = Instant::now();
    federation.ok(&import)?;
    took("the import", began)?;
    for at in [0, size / 2, size - 1] {
        called(&first.call(at), 200).await?;
    }
    called("/drives", 404).await?;

    // The first path is another one now.
    let second = Graph { size, renamed: Some("/reports/{report-id}/rows") };
    std::fs::write(file, second.document("2").to_string())?;
    let began = Instant::now();
    federation.ok(&import)?;
    took("the update", began)?;
    called("/reports/7/rows", 200).await?;
    called(&first.call(0), 404).await?;
    called(&first.call(size - 1), 200).await?;

    let began = Instant::now();
    federation.ok(&["rollback", "graph", "--in", "production", WAIT])?;
    let bytes = took("the rollback", began)?;
    called(&first.call(0), 200).await?;
    called("/reports/7/rows", 404).await?;

    let shown = federation.ok(&["get", "api", "graph", "-o", "json"])?;
    let shown: Value = serde_json::from_str(&shown)?;
    let operations = shown["spec"]["operations"].as_array().map(Vec::len);
    ensure!(operations == Some(size), "the Api has {operations:?} operations");
    ensure!(bytes < MOST_MEMORY, "cp-1 has {bytes} bytes");
    let elections = self::term(&federation)?.saturating_sub(term);
    say(format!("{size} operations: {elections} elections"));
    Ok(elections)
}

/// The term of Raft: each election raises it.
fn term(federation: &Federation) -> Result<u64> {
    let status: Value = serde_json::from_str(&federation.ok(&["status", "-o", "json"])?)?;
    status["term"].as_u64().with_context(|| format!("no term in {status}"))
}

/// An API of nested collections, as Microsoft Graph is one.
struct Graph {
    size: usize,
    /// Stands for the first path.
    renamed: Option<&'static str>,
}

/// Collections at the top, below them, and below those: 16,000 paths with two methods each are more than are needed.
const COLLECTIONS: [usize; 3] = [40, 40, 10];
/// What each path can be called with. The last path of an odd number of operations has the first one only.
const METHODS: [&str; 2] = ["get", "patch"];

impl Graph {
    /// The path of operation number `at`.
    fn path(at: usize, parameters: [&str; 2]) -> String {
        let path = at / METHODS.len();
        let [_, middle, last] = COLLECTIONS;
        let (top, middle, last) = (path / last / middle, path / last % middle, path % last);
        let [first, second] = parameters;
        format!(
            "/directoryObjects{top}/{first}/managedDevices{middle}/{second}/deviceConfigurationStates{last}"
        )
    }

    /// What calls the path of operation number `at`.
    fn call(&self, at: usize) -> String {
        Self::path(at, ["a", "b"])
    }

    fn document(&self, version: &str) -> Value {
        let mut paths = Map::new();
        for at in 0..self.size {
            let path = match self.renamed {
                Some(renamed) if at < METHODS.len() => renamed.to_owned(),
                _ => Self::path(at, ["{first-id}", "{second-id}"]),
            };
            let id = format!("directoryObjects.managedDevices.deviceConfigurationStates.operation{at}");
            let item = paths.entry(path).or_insert_with(|| json!({}));
            item[METHODS[at % METHODS.len()]] =
                json!({"operationId": id, "responses": {"2XX": {"description": "done"}}});
        }
        json!({"openapi": "3.0.3", "info": {"title": "graph", "version": version}, "paths": paths})
    }
}
