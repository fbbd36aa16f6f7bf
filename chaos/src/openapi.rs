//! The operations of an OpenAPI document, read without any code of the product: the tests' own view of it.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// One operation and a concrete path for it.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Its `operationId`; empty when it has none.
    pub id: String,
    /// Upper case.
    pub method: String,
    /// The template.
    pub template: String,
    /// The template with each parameter replaced by a value that occurs in no other operation.
    pub path: String,
}

/// Every operation of the JSON document at `path`.
pub fn operations(path: &Path) -> Result<Vec<Operation>> {
    const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
    let text = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let document: Value = serde_json::from_slice(&text)?;
    let paths = document["paths"].as_object().context("no paths")?;
    let mut found = Vec::new();
    for (template, item) in paths {
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
                let path = concrete(template, found.len());
                let method = method.to_uppercase();
                found.push(Operation { id, method, template: template.clone(), path });
            }
        }
    }
    Ok(found)
}

/// Replaces `{name}` by `vN-INDEX`, N counting the parameters.
fn concrete(template: &str, index: usize) -> String {
    let mut path = String::new();
    let mut rest = template;
    let mut count = 0;
    while let Some((before, after)) = rest.split_once('{') {
        let (_, tail) = after.split_once('}').unwrap_or((after, ""));
        path.push_str(before);
        path.push_str(&format!("v{count}-{index}"));
        count += 1;
        rest = tail;
    }
    path + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_get_values_of_their_own() {
        assert_eq!(concrete("/repos/{owner}/compare/{base}...{head}", 7), "/repos/v0-7/compare/v1-7...v2-7");
        assert_eq!(concrete("/meta", 7), "/meta");
    }
}
