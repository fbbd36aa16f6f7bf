//! Judges values as the control plane will, before anything is sent.

use hanse_management::{Kind, Problem, ResourceKey, Spec, check, kinds::OperationSpec};
use hanse_topology::{Labels, Name};
use serde_json::{Value, json};

/// An Api's version.
pub(super) fn version(version: &str) -> Result<(), Problem> {
    judge(Kind::Api, &json!({"context": "/", "version": version, "operations": []}))
}

/// An Api's base path.
pub(super) fn context(context: &str) -> Result<(), Problem> {
    judge(Kind::Api, &json!({"context": context, "version": "1", "operations": []}))
}

/// All operations of an Api: how many they are, and how large.
pub(super) fn operations(operations: &[OperationSpec]) -> Result<(), Problem> {
    judge(Kind::Api, &json!({"context": "/", "version": "1", "operations": operations}))
}

/// The name of an API key's place: `header` or `query`.
pub(super) fn api_key(place: &str, name: &str) -> Result<(), Problem> {
    let security = json!({"apiKey": {place: name}});
    judge(Kind::Api, &json!({"context": "/", "version": "1", "operations": [], "security": security}))
}

/// The URL of an Upstream's endpoint.
pub(super) fn upstream(url: &str) -> Result<(), Problem> {
    judge(Kind::Upstream, &json!({"endpoints": [{"url": url}]}))
}

fn judge(kind: Kind, spec: &Value) -> Result<(), Problem> {
    let name = Name::new("api").expect("a word is a name");
    let key = ResourceKey { kind, organization: None, name };
    check::check(&key, &Labels::default(), &Spec::from_json(kind, spec)?)
}
