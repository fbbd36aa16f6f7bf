//! Reading the text of a document.

use serde_json::Value;
use serde_saphyr::{Error, budget::BudgetBreach};

use super::ImportError;

/// The largest document read: GitHub's, the largest in use that we know, has 13 MB; with every reference written out
/// it has 73 MB and says nothing more.
pub(crate) const MAX_DOCUMENT_BYTES: u64 = 64 << 20;

/// Nesting beyond this is no API description. serde_json's own bound for JSON.
const MAX_YAML_DEPTH: usize = 128;
/// The reader calls itself for each level, and a debug build takes more than 16 KiB for that: enough for all of them.
const YAML_STACK_BYTES: usize = 32 << 20;
/// A YAML document of [`MAX_DOCUMENT_BYTES`] in two-byte nodes, so that the size is the only bound a document meets.
const MAX_YAML_NODES: usize = 32 << 20;

/// Reads JSON or YAML and makes sure that it is OpenAPI 3.0 or 3.1.
pub(crate) fn parse(text: &str) -> Result<Value, ImportError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document = if text.trim_start().starts_with(['{', '[']) { json(text)? } else { yaml(text)? };
    check_version(&document)?;
    Ok(document)
}

fn json(text: &str) -> Result<Value, ImportError> {
    serde_json::from_str(text).map_err(|error| {
        let why = error.to_string();
        let why = why.rsplit_once(" at line ").map_or(why.as_str(), |(why, _)| why).to_owned();
        ImportError::Syntax { format: "JSON", line: error.line() as u64, column: error.column() as u64, why }
    })
}

/// On a thread of its own, whose stack holds the deepest document.
fn yaml(text: &str) -> Result<Value, ImportError> {
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().stack_size(YAML_STACK_BYTES);
        let reading = reader.spawn_scoped(scope, || read_yaml(text));
        let read = reading.map(|reading| reading.join());
        read.ok().and_then(Result::ok).unwrap_or(Err(ImportError::NoReader))
    })
}

fn read_yaml(text: &str) -> Result<Value, ImportError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_YAML_DEPTH,
            max_nodes: MAX_YAML_NODES,
            max_events: 2 * MAX_YAML_NODES,
            max_documents: 1,
        },
        strict_booleans: true, // `title: y` is a letter, as in YAML 1.2 and in manifests
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| match error.without_snippet() {
        Error::MultipleDocuments { .. } | Error::Budget { breach: BudgetBreach::Documents { .. }, .. } => {
            ImportError::NotOpenApi("it is several YAML documents, and a description is one")
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            ImportError::NotOpenApi("as YAML it unfolds to more, or goes deeper, than a description does")
        }
        other => {
            let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
            ImportError::Syntax { format: "YAML", line, column, why: other.to_string() }
        }
    })
}

fn check_version(document: &Value) -> Result<(), ImportError> {
    let Value::Object(members) = document else {
        return Err(ImportError::NotOpenApi("it is not an object"));
    };
    // YAML reads an unquoted 3.1 or 2.0 as a number.
    let version = |key: &str| match members.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        other => Some(other.to_string()),
    };
    if let Some(version) = version("openapi") {
        let sound = ["3.0", "3.1"].iter().any(|minor| {
            version.strip_prefix(minor).is_some_and(|patch| patch.is_empty() || patch.starts_with(['.', '-']))
        });
        return if sound { Ok(()) } else { Err(ImportError::Version(version)) };
    }
    match version("swagger") {
        Some(_) => Err(ImportError::Swagger),
        None if members.contains_key("kind") && members.contains_key("spec") => {
            Err(ImportError::NotOpenApi("it is a Hanse manifest"))
        }
        None => Err(ImportError::NotOpenApi("it has no member \"openapi\"")),
    }
}
