//! JSON text → documents and trees.

use std::cell::RefCell;

use serde::de::DeserializeSeed as _;
use serde_json::{Deserializer, Error, Value};

use super::{
    document::Document,
    operations::Operations,
    tree::{self, Budget, Place, TOO_DEEP, TOO_LARGE, Tree},
};
use crate::{Problem, ProblemName};

/// The text as one document.
pub(super) fn document(bytes: &[u8]) -> Result<Document, Problem> {
    serde_json::from_slice(bytes).map_err(|error| problem(&error, bytes))
}

/// The text as one tree, within the budget of a resource.
pub(super) fn tree(bytes: &[u8]) -> Result<Value, Problem> {
    tree_at(bytes, Place::Elsewhere)
}

/// The text as the tree of one resource, and the operations that are read apart from it.
pub(super) fn resource(bytes: &[u8]) -> Result<(Value, Operations), Problem> {
    let operations = RefCell::default();
    let tree = tree_at(bytes, Place::Resource(&operations))?;
    Ok((tree, operations.into_inner()))
}

fn tree_at(bytes: &[u8], place: Place<'_>) -> Result<Value, Problem> {
    let budget = Budget::of_one_resource();
    let mut text = Deserializer::from_slice(bytes);
    let tree = Tree::new(&budget, 0, place).deserialize(&mut text);
    tree.and_then(|tree| text.end().map(|()| tree)).map_err(|error| problem(&error, bytes))
}

fn problem(error: &Error, bytes: &[u8]) -> Problem {
    // The parser's words end with the place, which is the field.
    let words = error.to_string();
    let words = words.rsplit_once(" at line ").map_or(words.as_str(), |(words, _)| words);
    let problem = match words {
        TOO_LARGE | TOO_DEEP => Problem::new(ProblemName::TooLarge, words).remedy(super::SMALLER),
        _ if tree::is_twice(words) => Problem::new(ProblemName::BadRequest, words).remedy("write it once"),
        _ => Problem::new(ProblemName::BadRequest, format!("the body is not JSON: {words}")).remedy(
            if bytes.is_empty() {
                "send a body"
            } else {
                "correct it there; YAML needs Content-Type: application/yaml"
            },
        ),
    };
    problem.at(format!("line {}, column {}", error.line(), error.column()))
}
