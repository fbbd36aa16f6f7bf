//! What a description says of servers and security, as options ready to paste. None of it is used unasked: a document
//! comes from elsewhere, and says where its author's service is.
//!
//! An option is offered only if the command line and the control plane accept it. A remark has a line of its own, because an
//! interactive shell may take no comment.

mod servers;

#[cfg(test)]
mod tests;

use super::{ImportProblem, files::Place, problem::printable};
use crate::shell::quoted;

/// How many of a kind are shown. A person chooses among a few; a document may have any number.
const SHOWN: usize = 10;

/// What to tell the operator, one line each.
pub(super) fn advice(root: &Place) -> Vec<String> {
    let mut lines = servers::advice(root);
    let schemes = schemes(root);
    if !schemes.is_empty() {
        lines.push("the document says how callers are known:".to_owned());
        lines.extend(schemes);
    }
    lines
}

/// An option with its value, as a shell and the command line read it back.
fn option(name: &str, value: &str) -> String {
    let between = if value.starts_with('-') { '=' } else { ' ' };
    format!("  {name}{between}{}", quoted(value))
}

/// A line for what no option can be offered for.
fn refused(why: &str) -> String {
    format!("  no option does that: {}", printable(why))
}

/// The first lines, and how many more there are.
fn shortened(lines: impl ExactSizeIterator<Item = String>) -> impl Iterator<Item = String> {
    let more = lines.len().saturating_sub(SHOWN);
    lines.take(SHOWN).chain((more > 0).then(|| format!("  … and {more} more")))
}

/// The options for each security scheme.
fn schemes(root: &Place) -> Vec<String> {
    let defined = [root.below("components").below("securitySchemes"), root.below("securityDefinitions")];
    let schemes = defined.iter().flat_map(|schemes| schemes.members().into_iter().flatten());
    schemes.filter_map(|(name, scheme)| offered(name, &scheme).ok().flatten()).collect()
}

fn offered(name: &str, scheme: &Place) -> Result<Option<String>, ImportProblem> {
    let layers = scheme.layers()?;
    let said = |key: &str| {
        let member = Place::member(&layers, key);
        member.and_then(|member| member.value().as_str().map(printable))
    };
    let Some(kind) = said("type") else { return Ok(None) };
    let line = match (kind.as_str(), said("in").as_deref(), said("name"), said("scheme")) {
        ("apiKey", Some("header"), Some(header), _) => option("--api-key-header", &header),
        ("apiKey", Some("query"), Some(query), _) => option("--api-key-query", &query),
        (kind, place, _, scheme) => {
            let kind =
                scheme.or(place.map(str::to_owned)).map_or(kind.to_owned(), |more| format!("{kind} {more}"));
            format!("  {}, {kind}: no option does that yet", printable(name))
        }
    };
    Ok(Some(line))
}
