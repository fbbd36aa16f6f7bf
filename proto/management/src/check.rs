//! What a resource must be like by itself to be accepted: each rule names the field and what to do.

pub(crate) mod header;
pub(crate) mod host;
mod limits;
pub(crate) mod path;
pub(crate) mod region;
pub(crate) mod text;

pub use limits::MAX_RESOURCE_BYTES;

use std::{collections::BTreeSet, fmt};

use hanse_topology::Labels;

use crate::{Problem, ProblemName, ResourceKey, Spec, Written};

/// A rule's verdict. The problem's field is a path that starts with `spec`.
pub type Verdict = Result<(), Problem>;

/// A value that a rule does not allow, below `spec`.
pub(crate) fn invalid(
    field: impl fmt::Display,
    detail: impl Into<String>,
    remedy: impl Into<String>,
) -> Problem {
    Problem::new(ProblemName::Invalid, detail).at(format!("spec.{field}")).remedy(remedy)
}

/// The key and the spec must be of one kind, with an owner just where there is one. A command may put the kind, unless the resource is
/// of a dump.
pub fn check_kind(key: &ResourceKey, spec: &Spec, restored: bool) -> Verdict {
    if !restored {
        check_changeable(key)?;
    }
    if spec.kind() != key.kind {
        return Err(Problem::new(ProblemName::Invalid, format!("its spec is that of kind {}", spec.kind()))
            .at(format!("{key}: kind"))
            .remedy(format!("give it the spec of kind {}", key.kind)));
    }
    if key.organization.is_some() == key.kind.is_global() {
        let (detail, remedy) = match key.kind.is_global() {
            true => ("belong to no organization", "leave the organization out"),
            false => ("belong to an organization", "name the organization"),
        };
        return Err(Problem::new(ProblemName::Invalid, format!("resources of kind {} {detail}", key.kind))
            .at(format!("{key}: organization"))
            .remedy(remedy));
    }
    Ok(())
}

/// No command puts or deletes what the state machine makes by itself.
pub fn check_changeable(key: &ResourceKey) -> Verdict {
    match key.kind.written() {
        Written::ByOperators | Written::ByHandlers => Ok(()),
        Written::ByApply => Err(made(key)),
    }
}

/// Operators write no resource that the control plane makes: neither what `apply` makes of other changes, nor a decision.
pub fn check_operators(key: &ResourceKey) -> Verdict {
    match key.kind.written() {
        Written::ByOperators => Ok(()),
        Written::ByApply | Written::ByHandlers => Err(made(key)),
    }
}

/// What the control plane writes is not protected: operators could not take the protection away again.
pub fn check_protected(key: &ResourceKey, protected: bool) -> Verdict {
    if !protected || key.kind.is_writable() {
        return Ok(());
    }
    let detail = format!("{key} is written by the control plane, and has no protection of its own");
    Err(Problem::new(ProblemName::Invalid, detail)
        .at(format!("{key}: protected"))
        .remedy("leave it out: protect what it is about"))
}

fn made(key: &ResourceKey) -> Problem {
    let remedy = match key.kind.written() {
        Written::ByHandlers => "leave it out: no manifest decides about failover",
        Written::ByApply | Written::ByOperators => {
            "leave it out: change the Api and its next revision is made"
        }
    };
    Problem::new(ProblemName::Forbidden, format!("{key} is written by the control plane only"))
        .at(key.to_string())
        .remedy(remedy)
}

/// Checks everything about a resource that can be judged without looking at others, and at any time.
pub fn check(key: &ResourceKey, labels: &Labels, spec: &Spec) -> Verdict {
    labels
        .check()
        .map_err(|error| {
            Problem::new(ProblemName::Invalid, error.to_string()).at("labels").remedy("change the label")
        })
        .and_then(|()| limits::check_resource(spec))
        .and_then(|()| spec.check(&key.name))
        .map_err(|problem| named(key, problem))
}

/// A line of text for people that is no part of a resource: `field` of a request.
pub fn check_line(field: &str, text: &str) -> Verdict {
    text::check_line(field, text).map_err(|problem| problem.at(field))
}

/// Checks what depends on when a resource is written: `now_ms` is the state's time.
pub fn check_time(key: &ResourceKey, spec: &Spec, now_ms: u64) -> Verdict {
    spec.check_time(now_ms).map_err(|problem| named(key, problem))
}

/// The problem, with the resource's key before its field.
fn named(key: &ResourceKey, problem: Problem) -> Problem {
    Problem { field: format!("{key}: {}", problem.field), ..problem }
}

/// No item of a list may come twice.
pub(crate) fn check_distinct<T: Ord + fmt::Debug>(field: &str, items: &[T]) -> Verdict {
    let mut seen = BTreeSet::new();
    match items.iter().enumerate().find(|(_, item)| !seen.insert(*item)) {
        None => Ok(()),
        Some((at, item)) => {
            Err(invalid(format_args!("{field}[{at}]"), format!("{item:?} is there already"), "name it once"))
        }
    }
}

#[cfg(test)]
mod tests;
