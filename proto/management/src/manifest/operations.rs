//! The operations of an Api, read one at a time.
//!
//! An operation takes 1,500 bytes as a tree and a fifth of that as a spec. So each becomes a spec as soon as it is read, and an
//! Api of 25,000 operations fits into the budget of one resource.

use serde_json::Value;

use super::tree::TEXT;
use crate::{Problem, Spec, json, kinds::OperationSpec};

/// Those of one resource, up to the first that is none.
#[derive(Debug, Default)]
pub(super) struct Operations {
    read: Vec<OperationSpec>,
    problem: Option<Problem>,
}

impl Operations {
    /// Adds the next one, if none was refused before it. How much memory it takes.
    pub(super) fn push(&mut self, operation: &Value) -> usize {
        if self.problem.is_some() {
            return 0;
        }
        match json::read::<OperationSpec, _>(operation) {
            Ok(operation) => {
                let bytes = bytes(&operation);
                self.read.push(operation);
                bytes
            }
            Err(problem) => {
                let rest = problem.field.strip_prefix("spec").unwrap_or_default();
                let field = format!("operations[{}]{rest}", self.read.len());
                *self = Self { read: Vec::new(), problem: Some(Problem { field, ..problem }) };
                0
            }
        }
    }

    /// Puts them into the spec that they were read for.
    pub(super) fn put_into(self, spec: &mut Spec) -> Result<(), Problem> {
        let (operations, place) = match spec {
            Spec::Api(api) => (&mut api.operations, "spec"),
            Spec::ApiRevision(revision) => (&mut revision.spec.operations, "spec.spec"),
            // The spec of another kind was refused for its field `operations`.
            _without_operations => return Ok(()),
        };
        if let Some(problem) = self.problem {
            return Err(Problem { field: format!("{place}.{}", problem.field), ..problem });
        }
        if !self.read.is_empty() {
            *operations = self.read;
            operations.shrink_to_fit();
        }
        Ok(())
    }
}

/// What an operation takes: its place in a list that grows by doubling, and its texts.
fn bytes(operation: &OperationSpec) -> usize {
    let text = |text: &str| TEXT + text.len();
    let place = 2 * size_of::<String>();
    let scopes = operation.scopes.iter().map(|scope| place + text(scope));
    let policies = operation.policies.iter().map(|policy| place + text(policy.as_str()));
    2 * size_of::<OperationSpec>()
        + text(&operation.path)
        + operation.id.as_deref().map_or(0, text)
        + scopes.chain(policies).sum::<usize>()
}
