//! Why a document cannot be imported.

use crate::exit::{Exit, Failure};

/// What is wrong with an OpenAPI document. Places are JSON pointers (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ImportError {
    /// Neither JSON nor YAML.
    #[error(
        "the document is not OpenAPI: it cannot be read as {format}: line {line}, column {column}: {why}"
    )]
    Syntax {
        /// `JSON` or `YAML`.
        format: &'static str,
        /// From 1.
        line: u64,
        /// From 1.
        column: u64,
        /// The parser's words.
        why: String,
    },
    /// The system gives no thread, or the reader failed.
    #[error("the document could not be read: the system is short of memory or threads")]
    NoReader,
    /// Well-formed, but something else.
    #[error("the document is not OpenAPI: {0}")]
    NotOpenApi(&'static str),
    /// OpenAPI's ancestor.
    #[error("the document is Swagger 2.0, not OpenAPI 3")]
    Swagger,
    /// A version that this importer does not know.
    #[error("/openapi: version {0:?} is not supported")]
    Version(String),
    /// Something has the wrong form.
    #[error("{pointer}: {why}")]
    Invalid {
        /// Where.
        pointer: String,
        /// What is wrong.
        why: String,
    },
    /// References that lead back to themselves.
    #[error("{pointer}: $ref loop: {}", chain.join(" -> "))]
    Loop {
        /// Where it was entered.
        pointer: String,
        /// Every reference on the way, the first one again at the end.
        chain: Vec<String>,
    },
    /// A chain of references too long to be meant.
    #[error("{pointer}: more than {limit} $refs in a row")]
    TooDeep {
        /// Where it was entered.
        pointer: String,
        /// The bound.
        limit: usize,
    },
    /// A reference to nothing.
    #[error("{pointer}: $ref {reference:?} leads nowhere")]
    Dangling {
        /// Where it stands.
        pointer: String,
        /// What it says.
        reference: String,
    },
    /// A reference out of the document.
    #[error("{pointer}: $ref {reference:?} leads to another file")]
    External {
        /// Where it stands.
        pointer: String,
        /// What it says.
        reference: String,
    },
}

impl ImportError {
    /// Something of the wrong form at `pointer`.
    pub(crate) fn invalid(pointer: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid { pointer: pointer.into(), why: why.into() }
    }

    /// What to do about it.
    fn remedy(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => {
                "give an OpenAPI 3.0 or 3.1 document in JSON or YAML; if it is one, mend it at that place"
            }
            Self::NoReader => "try again when fewer programs run",
            Self::Invalid { .. } | Self::Dangling { .. } => "mend the document and import it again",
            Self::NotOpenApi(_) => {
                "give an OpenAPI 3.0 or 3.1 document in JSON or YAML; Hanse manifests go to `hanse apply -f`"
            }
            Self::Swagger => "convert it first, for example with `npx swagger2openapi FILE`",
            Self::Version(_) => "give an OpenAPI 3.0 or 3.1 document",
            Self::Loop { .. } | Self::TooDeep { .. } => "a chain of $refs must end at an object that is none",
            Self::External { .. } => {
                "bundle the document into one file first, for example with `npx @redocly/cli bundle FILE`"
            }
        }
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        Failure::new(Exit::General, error.to_string()).remedy(error.remedy())
    }
}
