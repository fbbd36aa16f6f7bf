//! How the document says that callers are known.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{SHOWN, option, refused, shortened};
use crate::import::{files::Place, judge, operations::Operation, problem::printable};

/// What a `security` asks of callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::import) struct Asked {
    /// The security schemes it names.
    schemes: BTreeSet<String>,
    /// Whether callers may show nothing.
    is_open: bool,
}

impl Asked {
    /// Reads a `security`. `None`: it says nothing.
    pub(in crate::import) fn by(security: &Place) -> Option<Self> {
        let alternatives: Vec<_> = match security.value() {
            Value::Array(list) => list.iter().filter_map(Value::as_object).collect(),
            Value::Object(one) => vec![one],
            _ => return None,
        };
        Some(Self {
            schemes: alternatives.iter().flat_map(|all| all.keys().cloned()).collect(),
            is_open: alternatives.is_empty() || alternatives.iter().any(|all| all.is_empty()),
        })
    }
}

/// Lines about the schemes in use, and about the operations that may be called without any.
pub(super) fn advice(root: &Place, operations: &[Operation]) -> Vec<String> {
    let of_all = Asked::by(&root.below("security"));
    let asked: Vec<_> =
        of_all.iter().chain(operations.iter().filter_map(|operation| operation.asked.as_ref())).collect();
    if asked.is_empty() {
        return Vec::new();
    }
    let mut lines = Vec::new();
    let names: BTreeSet<&str> =
        asked.iter().flat_map(|asked| asked.schemes.iter().map(String::as_str)).collect();
    if !names.is_empty() {
        let defined = defined(root);
        lines.push("the document says how callers are known:".to_owned());
        lines.extend(shortened(names.into_iter().map(|name| scheme(name, &defined))));
    }
    let is_open = |operation: &&Operation| {
        operation.asked.as_ref().or(of_all.as_ref()).is_none_or(|asked| asked.is_open)
    };
    let open: Vec<_> =
        operations.iter().filter(is_open).map(|operation| printable(&operation.name)).collect();
    if !open.is_empty() {
        let more = open.len().saturating_sub(SHOWN);
        let shown = open[..open.len() - more].join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.push(format!("the document lets these be called without a key: {shown}{more}"));
    }
    lines
}

/// The mappings that define schemes.
fn defined(root: &Place) -> Vec<Place> {
    let below = |path: &[&str]| {
        path.iter().fold(vec![root.clone()], |layers, key| {
            let members = layers.iter().map(|layer| layer.below(key));
            members.flat_map(|member| member.layers().unwrap_or_default()).collect()
        })
    };
    [below(&["components", "securitySchemes"]), below(&["securityDefinitions"])].concat()
}

/// A line about the scheme of that name.
fn scheme(name: &str, defined: &[Place]) -> String {
    let line = match Place::member(defined, name) {
        Some(scheme) => offered(&scheme),
        None => Err("the document does not define it".to_owned()),
    };
    line.unwrap_or_else(|why| refused(&format!("{name}: {why}")))
}

/// The option for a scheme, or why there is none.
fn offered(scheme: &Place) -> Result<String, String> {
    let layers = scheme.layers().map_err(|problem| problem.why)?;
    let said = |key: &str| {
        let member = Place::member(&layers, key);
        member.and_then(|member| member.value().as_str().map(str::to_owned)).unwrap_or_default()
    };
    let (kind, place, name) = (said("type"), said("in"), said("name"));
    let flag = match (kind.as_str(), place.as_str()) {
        ("apiKey", "header") => "--api-key-header",
        ("apiKey", "query") => "--api-key-query",
        _ => return Err(format!("{kind} {}{place}", said("scheme")).trim_end().to_owned()),
    };
    judge::api_key(&place, &name).map_err(|problem| problem.detail)?;
    Ok(option(flag, &name))
}
