//! What a description says of servers, security and parameters of several segments, as options ready to paste. None of it is used
//! unasked: a document comes from elsewhere, and says where its author's service is.
//!
//! An option is offered only if the command line and the control plane accept it. A remark has a line of its own, because an
//! interactive shell may take no comment.

mod security;
pub(super) mod segments;
mod servers;

#[cfg(test)]
mod tests;

pub(super) use security::Asked;

use super::{files::Place, operations::Operation, problem::printable};
use crate::shell::quoted;

/// How many of a kind are shown. A person chooses among a few; a document may have any number.
const SHOWN: usize = 10;

/// What to tell the operator, one line each.
pub(super) fn advice(root: &Place, operations: &[Operation]) -> Vec<String> {
    let mut lines = servers::advice(root, operations);
    lines.extend(security::advice(root, operations));
    lines.extend(segments::advice(operations));
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
pub(super) fn shortened(lines: impl ExactSizeIterator<Item = String>) -> impl Iterator<Item = String> {
    let more = lines.len().saturating_sub(SHOWN);
    lines.take(SHOWN).chain((more > 0).then(|| format!("  … and {more} more")))
}
