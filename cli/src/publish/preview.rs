//! What a plan means, for people and as JSON.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

use hanse_management::{
    Template,
    kinds::{ApiRevisionSpec, ApiSpec, Method, OperationSpec, UpstreamSpec},
    shape,
};
use hanse_topology::Name;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Bound, listed, upstream::from_origin};
use crate::import::printable;

/// How many operations of each kind of change people are shown: a screen. JSON has all of them.
const SHOWN: usize = 20;

/// What a plan means.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Preview {
    /// What each Binding serves before and after.
    pub(crate) bindings: Vec<Step>,
    /// What else people should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
}

/// One Binding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Step {
    /// The Binding.
    pub(crate) binding: Name,
    /// Its Environment.
    pub(crate) environment: Name,
    /// The number it serves now; absent: it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<u64>,
    /// The number it is to serve; absent: the one that the change makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<u64>,
    /// The operations that differ from those it serves now.
    pub(crate) operations: Operations,
    /// Per region, where requests go.
    pub(crate) regions: BTreeMap<Name, Vec<String>>,
}

/// Operations that differ, as `METHOD /path`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Operations {
    /// They are new.
    pub(crate) added: Vec<String>,
    /// They match the same requests as before, and say something else.
    pub(crate) changed: Vec<String>,
    /// They are gone.
    pub(crate) removed: Vec<String>,
}

/// What makes an operation the same: the requests that it matches. A path that cannot be used is itself alone.
pub(super) type Same = (Method, Result<Template, String>);

/// The requests that an operation matches.
pub(super) fn same(operation: &OperationSpec) -> Same {
    (operation.method, shape(&operation.path).map_err(|_| operation.path.clone()))
}

impl Operations {
    /// What differs between two lists.
    pub(crate) fn between(before: &[OperationSpec], after: &[OperationSpec]) -> Self {
        let mut gone: HashMap<Same, &OperationSpec> =
            before.iter().map(|operation| (same(operation), operation)).collect();
        let mut found = Self::default();
        for operation in after {
            match gone.remove(&same(operation)) {
                None => found.added.push(line(operation)),
                Some(before) if before != operation => found.changed.push(line(operation)),
                Some(_equal) => {}
            }
        }
        let is_gone = |operation: &&OperationSpec| gone.contains_key(&same(operation));
        found.removed = before.iter().filter(is_gone).map(line).collect();
        found
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        if self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty() {
            text.push_str("  operations: the same\n");
        }
        for (sign, lines) in [('+', &self.added), ('~', &self.changed), ('-', &self.removed)] {
            for line in lines.iter().take(SHOWN) {
                let _ = writeln!(text, "  {sign} {}", printable(line));
            }
            if lines.len() > SHOWN {
                let _ = writeln!(text, "  {sign} and {} more", lines.len() - SHOWN);
            }
        }
        text
    }
}

fn line(operation: &OperationSpec) -> String {
    format!("{} {}", operation.method, operation.path)
}

/// What differs for callers besides the operations, a note each.
pub(super) fn differing(
    bound: &Bound,
    before: Option<&ApiRevisionSpec>,
    after: Option<&ApiSpec>,
) -> Vec<String> {
    let (Some(before), Some(after)) = (before.map(|served| &served.spec), after) else { return Vec::new() };
    let fields = |spec: &ApiSpec| {
        [
            ("context", json!(spec.context)),
            ("hosts", json!(spec.hosts)),
            ("security", json!(spec.security)),
            ("policies", json!(spec.policies)),
        ]
    };
    let note = |((field, before), (_, after)): ((&str, Value), (&str, Value))| {
        let (environment, name) = (&bound.spec.environment, &bound.name);
        (before != after)
            .then(|| format!("{environment} ({name}): {field} {} -> {}", said(&before), said(&after)))
    };
    fields(before).into_iter().zip(fields(after)).filter_map(note).collect()
}

fn said(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        Value::Array(all) if all.is_empty() => "none".to_owned(),
        Value::Object(all) if all.is_empty() => "none".to_owned(),
        other => printable(&other.to_string()),
    }
}

/// The URLs that each of `regions` of an Environment sends requests to. `ORIGIN/NAME` stands for endpoints that an Origin publishes.
pub(super) fn places(
    upstream: Option<&UpstreamSpec>,
    regions: &[Name],
    environment: &Name,
) -> BTreeMap<Name, Vec<String>> {
    let urls = |region: &Name| {
        let endpoints = upstream.map(|upstream| upstream.endpoints_for(region, environment));
        let own = endpoints.into_iter().flatten().map(|endpoint| endpoint.url.clone());
        upstream.and_then(from_origin).into_iter().chain(own).collect()
    };
    regions.iter().map(|region| (region.clone(), urls(region))).collect()
}

impl Preview {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for step in &self.bindings {
            let _ = writeln!(text, "{}", step.text());
            text += &step.operations.text();
            for (region, urls) in &step.regions {
                let urls = if urls.is_empty() { "no endpoint".to_owned() } else { urls.join(", ") };
                let _ = writeln!(text, "  {region}: {urls}");
            }
        }
        for note in &self.notes {
            let _ = writeln!(text, "{note}");
        }
        text.trim_end().to_owned()
    }
}

impl Step {
    fn text(&self) -> String {
        let Self { binding, environment, from, to, regions, .. } = self;
        let to = to.map_or_else(|| "the new revision".to_owned(), |to| format!("r{to}"));
        let regions: Vec<Name> = regions.keys().cloned().collect();
        match from {
            None => format!("{environment} ({binding}, new) in {}: {to}", listed(&regions)),
            Some(from) if to == format!("r{from}") => {
                format!("{environment} ({binding}) in {}: stays at {to}", listed(&regions))
            }
            Some(from) => format!("{environment} ({binding}) in {}: r{from} -> {to}", listed(&regions)),
        }
    }
}
