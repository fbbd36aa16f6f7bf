//! What a document is.

use serde_json::Value;

use super::{ImportError, reader};

/// The largest document read: GitHub's, the largest in use that we know, has 13 MB; with every reference written out
/// it has 73 MB and says nothing more.
pub(crate) const MAX_DOCUMENT_BYTES: u64 = 64 << 20;

/// Reads JSON or YAML and makes sure that it is OpenAPI 3.0 or 3.1.
pub(crate) fn parse(text: &str) -> Result<Value, ImportError> {
    let document = reader::tree(text)?;
    check_version(&document)?;
    Ok(document)
}

fn check_version(document: &Value) -> Result<(), ImportError> {
    let Value::Object(members) = document else {
        return Err(ImportError::NotOpenApi("it is not an object"));
    };
    let version = |key: &str| match members.get(key)? {
        Value::String(text) => Some(text.clone()),
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
