//! Many Apis, and changes to one of them, over the operator API.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{Answer, Client, Role, World};

/// Apis made by one request: some 300 KB, well below what one command may hold.
const PER_REQUEST: usize = 500;
/// Operations of each Api: a small resource-oriented one.
const OPERATIONS: [(&str, &str); 5] = [
    ("GET", "/items"),
    ("POST", "/items"),
    ("GET", "/items/{id}"),
    ("PUT", "/items/{id}"),
    ("DELETE", "/items/{id}"),
];
/// The longest value a label may have is 63 bytes; a resource has at most 64 labels.
const LABEL_BYTES: usize = 60;
/// The most text that a write may carry, in labels.
pub(super) const MOST_WRITE_BYTES: usize = 64 * LABEL_BYTES;
/// The Api that is changed while it is watched.
const PROBE: &str = "probe";
const PROBE_PATH: &str = "/v1/organizations/default/apis/probe";
/// A rate that no caller reaches, so that the limit is kept but never hit.
const BOUNDLESS: u64 = 1_000_000;

/// The operator API of a federation.
#[derive(Debug, Clone)]
pub(super) struct Publisher {
    client: Client,
    servers: Vec<String>,
    bearer: String,
    upstream: String,
}

impl Publisher {
    /// For this federation; every Api goes to `upstream`.
    pub(super) fn new(world: &World, upstream: &str) -> Result<Self> {
        let servers =
            world.of_role(Role::Server).iter().map(|name| world.url(name)).collect::<Result<_>>()?;
        Ok(Self {
            client: Client::new(Some(&world.dir().join("ca.crt")))?,
            servers,
            bearer: format!("Bearer {}", world.token()?),
            upstream: upstream.to_owned(),
        })
    }

    /// What everything else refers to.
    pub(super) async fn base(&self) -> Result<()> {
        let endpoints = json!({"endpoints": [{"url": self.upstream}]});
        let rate = json!({"rate": {"requests": BOUNDLESS, "per": "second", "burst": BOUNDLESS}});
        self.apply(vec![
            json!({"kind": "Upstream", "name": "bulk", "spec": endpoints}),
            json!({"kind": "Plan", "name": "boundless", "spec": rate}),
        ])
        .await
    }

    /// Makes the Apis of these numbers, each with its Binding.
    pub(super) async fn bulk(&self, numbers: std::ops::Range<usize>) -> Result<()> {
        let numbers: Vec<_> = numbers.collect();
        for some in numbers.chunks(PER_REQUEST) {
            self.apply(some.iter().flat_map(|number| bulk_api(*number)).collect()).await?;
        }
        Ok(())
    }

    /// Makes the probe: an open Api, bound everywhere.
    pub(super) async fn make_probe(&self) -> Result<()> {
        let binding = json!({"api": PROBE, "environment": "production", "upstream": "bulk"});
        self.apply(vec![
            json!({"kind": "Api", "name": PROBE, "spec": probe(0)}),
            json!({"kind": "Binding", "name": PROBE, "spec": binding}),
        ])
        .await
    }

    /// Makes an open Api of one path, whose upstream is elsewhere.
    pub(super) async fn make_open(&self, name: &str, upstream: &str) -> Result<()> {
        let operations = json!([{"method": "GET", "path": "/item"}]);
        let api = json!({"context": format!("/{name}"), "version": "1", "operations": operations});
        let binding = json!({"api": name, "environment": "production", "upstream": name});
        self.apply(vec![
            json!({"kind": "Upstream", "name": name, "spec": {"endpoints": [{"url": upstream}]}}),
            json!({"kind": "Api", "name": name, "spec": api}),
            json!({"kind": "Binding", "name": name, "spec": binding}),
        ])
        .await
    }

    /// The version of the probe that is to be replaced.
    pub(super) async fn probe_etag(&self) -> Result<String> {
        Ok(self.call(0, "GET", PROBE_PATH, &[], String::new(), 200).await?.header("etag").to_owned())
    }

    /// Gives the probe one path, of that number. The answer to a PUT waits for the commit and no more.
    pub(super) async fn change_probe(&self, etag: &str, number: usize) -> Result<()> {
        let body = json!({"spec": probe(number)}).to_string();
        self.call(0, "PUT", PROBE_PATH, &[("if-match", etag)], body, 200).await.map(drop)
    }

    /// Where the probe of that number answers.
    pub(super) fn probe_path(number: usize) -> String {
        format!("/{PROBE}/at-{number}")
    }

    async fn apply(&self, resources: Vec<Value>) -> Result<()> {
        let body = json!({"resources": resources}).to_string();
        self.call(0, "POST", "/v1/apply", &[], body, 200).await.map(drop)
    }

    /// Creates a Plan with so many bytes of labels by way of one of the servers.
    pub(super) async fn create_plan(&self, server: usize, name: &str, bytes: usize) -> Result<()> {
        let path = format!("/v1/organizations/default/plans/{name}");
        let words = bytes.div_ceil(LABEL_BYTES);
        let labels: serde_json::Map<_, _> =
            (0..words).map(|word| (format!("l{word}"), "x".repeat(LABEL_BYTES).into())).collect();
        let body = json!({"labels": labels, "spec": {}}).to_string();
        self.call(server, "PUT", &path, &[("if-none-match", "*")], body, 201).await.map(drop)
    }

    async fn call(
        &self,
        server: usize,
        method: &str,
        path: &str,
        further: &[(&str, &str)],
        body: String,
        wanted: u16,
    ) -> Result<Answer> {
        let url = format!("{}{path}", self.servers[server % self.servers.len()]);
        let own = [("authorization", self.bearer.as_str()), ("content-type", "application/json")];
        let answer = self.client.call(method, &url, &[&own, further].concat(), body).await?;
        ensure!(answer.status == wanted, "{method} {path}: {answer:?}");
        Ok(answer)
    }
}

fn probe(number: usize) -> Value {
    let operations = json!([{"method": "GET", "path": format!("/at-{number}")}]);
    json!({"context": format!("/{PROBE}"), "version": "1", "operations": operations})
}

/// An Api that asks for a key, and its Binding.
fn bulk_api(number: usize) -> [Value; 2] {
    let name = bulk_name(number);
    let operations: Vec<_> =
        OPERATIONS.iter().map(|(method, path)| json!({"method": method, "path": path})).collect();
    let spec = json!({
        "context": format!("/{name}"), "version": "1", "operations": operations, "security": {"apiKey": {}},
    });
    let binding = json!({"api": name, "environment": "production", "upstream": "bulk"});
    [
        json!({"kind": "Api", "name": name, "spec": spec}),
        json!({"kind": "Binding", "name": name, "spec": binding}),
    ]
}

/// The name of the Api of that number, and its context.
pub(super) fn bulk_name(number: usize) -> String {
    format!("bulk-{number}")
}

/// A path of the Api of that number.
pub(super) fn bulk_path(number: usize) -> String {
    format!("/{}/items/7", bulk_name(number))
}

/// A key for the first Api, under a plan whose rate is never reached.
pub(super) fn key(world: &World) -> Result<String> {
    let name = bulk_name(0);
    let arguments = ["subscribe", &name, "--application", "bench", "--plan", "boundless", "--wait=60s"];
    let printed = world.operator().ok(&arguments).context("subscribing")?;
    Ok(printed.trim().to_owned())
}
