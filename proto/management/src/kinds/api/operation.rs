//! The operations of an Api.

use std::{collections::BTreeMap, fmt};

use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Bound, Bounded, Duration, Problem,
    check::{Verdict, check_distinct, invalid, path, text},
};

/// How many operations an Api may have: Microsoft Graph, the largest public one, has 22,361.
const MAX_OPERATIONS: usize = 25_000;
/// The longest version, operation id or scope.
const MAX_WORD_BYTES: usize = 256;

/// What holds of operations.
pub(super) const BOUNDS: [Bounded; 4] = [
    ("ApiSpec", "operations", Bound::Items(0, MAX_OPERATIONS)),
    ("OperationSpec", "path", Bound::Text(1, path::MAX_PATH_BYTES)),
    ("OperationSpec", "id", Bound::Text(1, text::MAX_TEXT_BYTES)),
    ("OperationSpec", "scopes", Bound::Each(1, MAX_WORD_BYTES)),
];

/// One method on one path template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OperationSpec {
    /// The HTTP method; `*` for every one.
    pub method: Method,
    /// Below the context: `/orders/{id}`, `/compare/{base}...{head}`, `/files/{path+}`, `/*`.
    pub path: String,
    /// The `operationId`, for metrics and logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// OAuth scopes a token needs. Accepted with a warning: no gateway of this version asks for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Policies after the API's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Name>,
    /// Instead of the upstream's timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub timeout: Option<Duration>,
    /// Every client may call it, also where the API asks for a key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
}

/// An HTTP method (RFC 9110 §9, RFC 5789, and QUERY), or `*` for every one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)] // the names say it
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Trace,
    Query,
    #[serde(rename = "*")]
    Every,
}

impl Method {
    /// As on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Query => "QUERY",
            Self::Every => "*",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

pub(super) fn check_all(operations: &[OperationSpec]) -> Verdict {
    if operations.len() > MAX_OPERATIONS {
        let detail = format!("{} operations are more than {MAX_OPERATIONS}", operations.len());
        return Err(invalid("operations", detail, "leave out operations that no client calls"));
    }
    let mut seen = BTreeMap::new();
    for (at, operation) in operations.iter().enumerate() {
        let within = |problem: Problem| within(at, problem);
        let shape = path::shape(&operation.path).map_err(within)?;
        check_rest(operation).map_err(within)?;
        if let Some(first) = seen.insert((operation.method, shape), at) {
            let detail = format!(
                "{} {} matches the same requests as operations[{first}], {}",
                operation.method, operation.path, operations[first].path
            );
            return Err(invalid(format_args!("operations[{at}]"), detail, "keep one of them"));
        }
    }
    Ok(())
}

/// The problem of one operation as that of the Api whose operation `at` it is.
fn within(at: usize, problem: Problem) -> Problem {
    let field = problem.field.strip_prefix("spec.").unwrap_or(&problem.field);
    Problem { field: format!("spec.operations[{at}].{field}"), ..problem }
}

/// What is wrong with an operation by itself: all problems of its path, and at most one of the rest. Their fields start at the
/// operation: `spec.path`.
pub fn check_operation(operation: &OperationSpec) -> Vec<Problem> {
    let mut problems = path::template_problems("path", &operation.path);
    problems.extend(check_rest(operation).err());
    problems
}

/// Whether an operation takes more paths than its text says, without a key, while others ask for one.
pub(super) fn is_open_tail(operation: &OperationSpec) -> bool {
    operation.open && path::shape(&operation.path).is_ok_and(|shape| shape.tail().is_some())
}

/// All of an operation but its path.
fn check_rest(operation: &OperationSpec) -> Verdict {
    if let Some(id) = &operation.id {
        text::check_line("id", id)?;
    }
    for (second, scope) in operation.scopes.iter().enumerate() {
        // scope-token (RFC 6749, section 3.3)
        let sound = scope.bytes().all(|byte| (b'!'..=b'~').contains(&byte) && byte != b'"' && byte != b'\\');
        if !sound || scope.is_empty() || scope.len() > MAX_WORD_BYTES {
            let detail = format!("{scope:?} is not a scope");
            return Err(invalid(format_args!("scopes[{second}]"), detail, "use one word, as in orders:read"));
        }
    }
    check_distinct("policies", &operation.policies)?;
    operation.timeout.map_or(Ok(()), |span| text::check_timeout("timeout", span))
}
