//! YAML text → documents, with bounds on what a text may unfold to.

use serde_saphyr::{Error, MessageFormatter, Options, UserMessageFormatter};

use super::{
    MAX_MANIFEST_BYTES,
    document::Document,
    tree::{self, MAX_DEPTH, TOO_DEEP, TOO_LARGE},
};
use crate::{Problem, ProblemName, words};

/// How many nodes a text may have: eight bytes each in a text of the largest size. It bounds time; memory is bounded by what
/// is kept of them (`tree.rs`, `document.rs`).
const MAX_NODES: usize = MAX_MANIFEST_BYTES / 8;
/// How many documents: more than a command can carry.
const MAX_DOCUMENTS: usize = 100_000;
/// How many aliases: people write a handful.
const MAX_ALIASES: usize = 1_000;
/// How many nodes aliases may stand for in all: what stops a text that unfolds without end.
const MAX_ALIASED_NODES: usize = 100_000;

/// The documents of a text that are not empty, each given to the collection before the next one is read.
pub(super) fn documents<C: Default + Extend<Document>>(text: &str) -> Result<C, Problem> {
    if text.len() > MAX_MANIFEST_BYTES {
        let detail = format!(
            "a manifest has at most {} MiB; this one has {} MiB",
            MAX_MANIFEST_BYTES >> 20,
            text.len() >> 20
        );
        return Err(Problem::new(ProblemName::TooLarge, detail)
            .remedy("split it and apply the parts one after the other"));
    }
    serde_saphyr::from_str_multiple_with_options::<Document, C>(text, options())
        .map_err(|error| problem(&error))
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 4 * MAX_NODES,
            max_nodes: MAX_NODES,
            max_documents: MAX_DOCUMENTS,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_recorded_anchor_events: MAX_ALIASED_NODES,
            max_total_scalar_bytes: MAX_MANIFEST_BYTES,
            max_depth: MAX_DEPTH,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_ALIASED_NODES,
        },
        strict_booleans: true, // Norway's code is "NO"
        with_snippet: false,
    }
}

fn problem(error: &Error) -> Problem {
    let cause = innermost(error);
    let words = UserMessageFormatter.format_message(cause);
    let problem = match cause {
        _ if words.contains(TOO_LARGE) || words.contains(TOO_DEEP) => {
            let detail = if words.contains(TOO_LARGE) { TOO_LARGE } else { TOO_DEEP };
            Problem::new(ProblemName::TooLarge, detail).remedy(super::SMALLER)
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            let detail = "this YAML unfolds to more, or goes deeper, than a manifest may";
            Problem::new(ProblemName::TooLarge, detail)
                .remedy("write out what its aliases stand for, or split it")
        }
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            Problem::new(ProblemName::BadRequest, tree::twice(key)).remedy("write it once")
        }
        // The crate repeats the number, which may be private: a token such as `8271e4093` without quotes reads as one.
        Error::NonFiniteFloat { .. } | Error::QuotingRequired { .. } => {
            Problem::new(ProblemName::BadRequest, "this is not YAML: a number is too large or is no number")
                .remedy("put it in quotes, if it is text")
        }
        // What the crate has to say of its own errors; it may learn to say more.
        _ => {
            let (detail, remedy) =
                words::of_yaml(&words).unwrap_or((words.as_ref(), "correct the text there"));
            Problem::new(ProblemName::BadRequest, format!("this is not YAML: {detail}")).remedy(remedy)
        }
    };
    match error.location().filter(|location| location.line() > 0) {
        Some(location) => problem.at(format!("line {}, column {}", location.line(), location.column())),
        None => problem,
    }
}

/// What went wrong, without where it was referred to.
fn innermost(error: &Error) -> &Error {
    match error.without_snippet() {
        Error::AliasError { error, .. } => innermost(error),
        other => other,
    }
}
