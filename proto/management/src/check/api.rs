//! Api.

use std::collections::BTreeMap;

use hanse_topology::Name;

use super::{Verdict, header, host, invalid, path, tenancy::check_distinct, text};
use crate::kinds::{ApiKeySpec, ApiSpec, OperationSpec};

/// The longest name of an Api: `NAME-rNUMBER` names its revisions, and a name has 63 bytes.
pub(crate) const MAX_API_NAME_BYTES: usize = 52;
/// How many operations an Api may have: eight times GitHub's.
const MAX_OPERATIONS: usize = 10_000;
/// The longest version, operation id or scope.
const MAX_WORD_BYTES: usize = 256;

pub(super) fn check(name: &Name, spec: &ApiSpec) -> Verdict {
    if name.as_str().len() > MAX_API_NAME_BYTES {
        let detail =
            format!("the name has {} bytes; an Api's has at most {MAX_API_NAME_BYTES}", name.as_str().len());
        let remedy = "choose a shorter name: its revisions are named after it";
        return Err(crate::Problem::new(crate::ProblemName::Invalid, detail).at("name").remedy(remedy));
    }
    path::check_context("context", &spec.context)?;
    text::check_line("version", &spec.version)?;
    host::check_patterns("hosts", &spec.hosts)?;
    check_distinct("policies", &spec.policies)?;
    if let Some(key) = &spec.security.api_key {
        check_api_key(key)?;
    }
    if spec.max_body_bytes == Some(0) {
        let remedy = "leave it out for the gateway's own limit";
        return Err(invalid("maxBodyBytes", "0 would refuse every body", remedy));
    }
    check_operations(&spec.operations)
}

fn check_operations(operations: &[OperationSpec]) -> Verdict {
    if operations.len() > MAX_OPERATIONS {
        let detail = format!("{} operations are more than {MAX_OPERATIONS}", operations.len());
        return Err(invalid("operations", detail, "split the Api by its base path"));
    }
    let mut seen = BTreeMap::new();
    for (at, operation) in operations.iter().enumerate() {
        let unnamed = path::check_template(&format!("operations[{at}].path"), &operation.path)?;
        if let Some(first) = seen.insert((operation.method, unnamed), at) {
            let detail = format!(
                "{} {} matches the same requests as operations[{first}], {}",
                operation.method, operation.path, operations[first].path
            );
            return Err(invalid(format_args!("operations[{at}]"), detail, "keep one of them"));
        }
        check_operation(at, operation)?;
    }
    Ok(())
}

fn check_operation(at: usize, operation: &OperationSpec) -> Verdict {
    let field = |name: &str| format!("operations[{at}].{name}");
    if let Some(id) = &operation.id {
        text::check_line(&field("id"), id)?;
    }
    for (second, scope) in operation.scopes.iter().enumerate() {
        // scope-token (RFC 6749, section 3.3)
        let sound = scope.bytes().all(|byte| (b'!'..=b'~').contains(&byte) && byte != b'"' && byte != b'\\');
        if !sound || scope.is_empty() || scope.len() > MAX_WORD_BYTES {
            let detail = format!("{scope:?} is not a scope");
            return Err(invalid(
                field(&format!("scopes[{second}]")),
                detail,
                "use one word, as in orders:read",
            ));
        }
    }
    check_distinct(&field("policies"), &operation.policies)?;
    operation.timeout.map_or(Ok(()), |span| text::check_timeout(&field("timeout"), span))
}

fn check_api_key(key: &ApiKeySpec) -> Verdict {
    if let Some(name) = &key.header {
        header::check_name("security.apiKey.header", name)?;
    }
    match &key.query {
        Some(name) if name.is_empty() || !name.bytes().all(is_query_char) => Err(invalid(
            "security.apiKey.query",
            format!("{name:?} is not a query parameter's name"),
            "use letters, digits and -._~",
        )),
        Some(_) | None => Ok(()),
    }
}

fn is_query_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}
