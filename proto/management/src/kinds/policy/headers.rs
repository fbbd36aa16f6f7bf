//! Rules for header fields (RFC 9110, section 5).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::check::{Verdict, header, invalid};

/// Header rules for both directions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct HeadersSpec {
    /// On the way to the upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<HeaderRulesSpec>,
    /// On the way back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<HeaderRulesSpec>,
}

/// Applied in this order: remove, set, add.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct HeaderRulesSpec {
    /// Replaces the header.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Adds a value beside those there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub add: BTreeMap<String, String>,
    /// Removes the header.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

impl HeadersSpec {
    pub(super) fn check(&self) -> Verdict {
        for (direction, rules) in [("request", &self.request), ("response", &self.response)] {
            if let Some(rules) = rules {
                check_rules(&format!("headers.{direction}"), rules)?;
            }
        }
        Ok(())
    }
}

/// Rules for one direction.
fn check_rules(field: &str, rules: &HeaderRulesSpec) -> Verdict {
    for (list, headers) in [("set", &rules.set), ("add", &rules.add)] {
        let mut seen = BTreeSet::new();
        for (name, value) in headers {
            let field = format!("{field}.{list}.{name}");
            header::check_ours(&field, name)?;
            check_value(&field, value)?;
            if !seen.insert(name.to_ascii_lowercase()) {
                return Err(invalid(
                    field,
                    format!("{name:?} is there already in other letters: names do not differ by case"),
                    "name it once",
                ));
            }
        }
    }
    rules
        .remove
        .iter()
        .enumerate()
        .try_for_each(|(at, name)| header::check_ours(format_args!("{field}.remove[{at}]"), name))
}

fn check_value(field: &str, value: &str) -> Verdict {
    let sound = value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
    if !sound {
        return Err(invalid(
            field,
            "the value has characters that a header may not carry",
            "use printable ASCII on one line",
        ));
    }
    if value.trim() != value {
        return Err(invalid(
            field,
            "the value starts or ends with white space",
            "leave it out: it does not arrive",
        ));
    }
    Ok(())
}
