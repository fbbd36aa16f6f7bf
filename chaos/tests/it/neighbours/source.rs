//! The source of one agent: the file that its test origin reads.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use hanse_proto::{
    nested,
    runtime::{self, resource::Kind, security::Scheme},
};
use serde_json::{Value, json};

/// The Route that every wish has: it must answer throughout.
pub(super) const STEADY: &str = "/steady";

/// What one agent is told to publish.
pub(super) struct Source {
    file: PathBuf,
    endpoint: runtime::Endpoint,
}

impl Source {
    /// That of an agent, whose Routes lead to this upstream.
    pub(super) fn of(dir: &Path, agent: &str, upstream: &str) -> Result<Self> {
        let authority = upstream.strip_prefix("http://").context("a plain URL")?;
        let (host, port) = authority.split_once(':').context("with a port")?;
        let endpoint =
            runtime::Endpoint { weight: 1, host: host.to_owned(), port: port.parse()?, ..Default::default() };
        let dir = dir.join(agent).join("pods");
        fs::create_dir_all(&dir)?;
        Ok(Self { file: dir.join("production.json"), endpoint })
    }

    /// Wishes for Routes with these contexts, by number, beside the steady one.
    pub(super) fn wish(&self, term: u64, contexts: &[(usize, String)]) -> Result<()> {
        let upstream = runtime::Upstream {
            organization: "default".to_owned(),
            name: "pods".to_owned(),
            endpoints: vec![self.endpoint.clone()],
            timeout_ms: 5_000,
            connect_timeout_ms: 1_000,
            ..Default::default()
        };
        let mut resources = vec![
            resource("upstream/default/pods", Kind::Upstream(upstream)),
            resource("route/default/steady", Kind::Route(route("steady", STEADY))),
        ];
        resources.extend(contexts.iter().map(|(number, context)| {
            let name = format!("pods-{number}");
            resource(&format!("route/default/{name}"), Kind::Route(route(&name, context)))
        }));
        let written = self.file.with_extension("new");
        fs::write(&written, json!({"term": term, "resources": resources}).to_string())?;
        fs::rename(written, &self.file)?;
        Ok(())
    }

    /// Wishes for one Route with this context beside the steady one.
    pub(super) fn wish_one(&self, term: u64, context: &str) -> Result<()> {
        self.wish(term, &[(0, context.to_owned())])
    }

    /// Wishes for nothing more: the agent follows.
    pub(super) fn rest(&self) -> Result<()> {
        Ok(fs::remove_file(&self.file)?)
    }
}

/// An open Route with one operation, `GET CONTEXT/now`.
fn route(name: &str, context: &str) -> runtime::Route {
    let operation =
        runtime::Operation { method: "GET".to_owned(), path: "/now".to_owned(), ..Default::default() };
    runtime::Route {
        organization: "default".to_owned(),
        binding: name.to_owned(),
        api: name.to_owned(),
        version: "1".to_owned(),
        api_revision: 1,
        context: context.to_owned(),
        operations: vec![operation],
        security: Some(runtime::Security { scheme: Some(Scheme::Open(runtime::Open {})) }),
        upstream: "upstream/default/pods".to_owned(),
        ..Default::default()
    }
}

fn resource(key: &str, kind: Kind) -> Value {
    let resource = runtime::Resource { kind: Some(kind), requires: Vec::new() };
    json!({"key": key, "hex": hex::encode(nested::to_bytes(&resource))})
}
