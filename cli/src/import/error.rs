//! Why a document cannot be imported.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{ImportProblem, printable, reader::Unreadable};
use crate::exit::{Exit, Failure};

/// What is wrong with an OpenAPI document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ImportError {
    /// No text of a description.
    #[error("the document cannot be imported: {}", printable(&.0.to_string()))]
    Unreadable(#[from] Unreadable),
    /// Well-formed, but something else.
    #[error("the document is not OpenAPI: {0}")]
    NotOpenApi(&'static str),
    /// A version that this importer does not know.
    #[error("/{key}: version {version:?} is not supported")]
    Version {
        /// `openapi` or `swagger`.
        key: &'static str,
        /// What it says.
        version: String,
    },
    /// Every part that cannot be imported.
    #[error("{}", listed(problems, *unusable, *operations))]
    Problems {
        /// In the document's order.
        problems: Vec<ImportProblem>,
        /// How many operations have some.
        unusable: usize,
        /// How many operations there are.
        operations: usize,
    },
}

/// Every problem, one a line.
fn listed(problems: &[ImportProblem], unusable: usize, operations: usize) -> String {
    let mut text = match unusable {
        0 => "the document cannot be imported:".to_owned(),
        _ => format!("{unusable} of {operations} operations cannot be imported:"),
    };
    for problem in problems {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {problem}");
    }
    text
}

impl ImportError {
    /// What to do about it.
    fn remedy(&self) -> String {
        let remedy = match self {
            Self::Unreadable(why) => why.fix().unwrap_or(
                "give an OpenAPI 3 or Swagger 2 document in JSON or YAML; if it is one, mend it at that place",
            ),
            Self::NotOpenApi(_) => {
                "give an OpenAPI 3 or Swagger 2 document in JSON or YAML; Hanse manifests go to `hanse apply -f`"
            }
            Self::Version { .. } => "give an OpenAPI document of version 3.0, 3.1 or 3.2, or Swagger 2.0",
            Self::Problems { problems, unusable, operations } => return steps(problems, unusable < operations),
        };
        remedy.to_owned()
    }
}

/// What to do about problems: which options to correct, and whether options can say what the document does not. `others`: operations
/// without problems are left.
fn steps(problems: &[ImportProblem], others: bool) -> String {
    let (of_options, of_document): (Vec<_>, Vec<_>) =
        problems.iter().partition(|problem| problem.is_of_option());
    let at_fault: BTreeSet<&str> = of_options.iter().map(|problem| problem.place.as_str()).collect();
    let mut steps = Vec::new();
    if !at_fault.is_empty() {
        steps.push(format!("correct {}", at_fault.into_iter().collect::<Vec<_>>().join(" and ")));
    }
    if !of_document.is_empty() {
        let helpful: BTreeSet<&str> =
            of_document.iter().filter_map(|problem| problem.option(others)).collect();
        let options = helpful.into_iter().collect::<Vec<_>>().join(" ");
        let all = of_document.iter().all(|problem| problem.option(others).is_some());
        steps.push(match (options.as_str(), all) {
            ("", _) => "mend the document and import it again".to_owned(),
            (options, true) => format!("mend the document, or import it with {options}"),
            (options, false) => {
                format!("mend the document and import it again; for some of its problems {options} will do")
            }
        });
    }
    steps.join("; ")
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        Failure::new(Exit::General, error.to_string()).remedy(error.remedy())
    }
}
