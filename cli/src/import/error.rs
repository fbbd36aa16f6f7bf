//! Why a document cannot be imported.

use std::fmt::Write as _;

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
    fn remedy(&self) -> &'static str {
        match self {
            Self::Unreadable(why) => why.fix().unwrap_or(
                "give an OpenAPI 3 or Swagger 2 document in JSON or YAML; if it is one, mend it at that place",
            ),
            Self::NotOpenApi(_) => {
                "give an OpenAPI 3 or Swagger 2 document in JSON or YAML; Hanse manifests go to `hanse apply -f`"
            }
            Self::Version { .. } => "give an OpenAPI document of version 3.0, 3.1 or 3.2, or Swagger 2.0",
            Self::Problems { problems, unusable, operations } => {
                let skippable = unusable < operations && problems.iter().all(ImportProblem::can_be_left_out);
                if problems.iter().all(ImportProblem::is_of_option) {
                    "correct the options"
                } else if skippable {
                    "mend the document, or import the other operations with --skip-unusable"
                } else {
                    "mend the document and import it again"
                }
            }
        }
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        Failure::new(Exit::General, error.to_string()).remedy(error.remedy())
    }
}
