//! The operations of a document.

use hanse_management::kinds::{Method, OperationSpec};
use serde_json::{Map, Value};

use super::{
    ImportError,
    references::{References, escape},
};

/// The members of a path item that are operations (OpenAPI 3.0 and 3.1, §4.8.9).
const METHODS: [(&str, Method); 8] = [
    ("get", Method::Get),
    ("put", Method::Put),
    ("post", Method::Post),
    ("delete", Method::Delete),
    ("options", Method::Options),
    ("head", Method::Head),
    ("patch", Method::Patch),
    ("trace", Method::Trace),
];

/// What is taken from a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Imported {
    /// `info.title`.
    pub(crate) title: String,
    /// `info.version`.
    pub(crate) version: String,
    /// Every operation, in the document's order.
    pub(crate) operations: Vec<OperationSpec>,
    /// How many of them the document calls deprecated.
    pub(crate) deprecated: usize,
}

/// Reads what a document offers.
pub(crate) fn operations(document: &Value) -> Result<Imported, ImportError> {
    let references = References::new(document);
    references.check_loops()?;
    let info = object(document.get("info"), "/info")?;
    let mut imported = Imported {
        title: text(info, "title", "/info")?.unwrap_or_default(),
        version: text(info, "version", "/info")?
            .ok_or_else(|| ImportError::invalid("/info/version", "is required"))?,
        operations: Vec::new(),
        deprecated: 0,
    };
    // 3.1 allows a document without paths; it offers nothing to call either.
    let paths = match document.get("paths") {
        None => return Err(ImportError::invalid("/paths", "is missing: the document has no operations")),
        paths => object(paths, "/paths")?,
    };
    for (path, item) in paths.iter().filter(|(path, _)| !path.starts_with("x-")) {
        let pointer = format!("/paths/{}", escape(path));
        check_template(path, &pointer)?;
        read_path_item(&references, path, item, &pointer, &mut imported)?;
    }
    if imported.operations.is_empty() {
        return Err(ImportError::invalid("/paths", "is empty: the document has no operations"));
    }
    Ok(imported)
}

fn read_path_item<'a>(
    references: &References<'a>,
    path: &str,
    item: &'a Value,
    pointer: &str,
    imported: &mut Imported,
) -> Result<(), ImportError> {
    // A path item may refer to another and say more beside it: what it says itself wins.
    let layers = references.follow(item, pointer)?;
    let layers =
        layers.into_iter().map(|layer| object(Some(layer), pointer)).collect::<Result<Vec<_>, _>>()?;
    let member = |key: &str| layers.iter().find_map(|layer| layer.get(key));
    if let Some(parameters) = member("parameters") {
        check_parameters(references, parameters, &format!("{pointer}/parameters"))?;
    }
    for (key, method) in METHODS {
        let Some(operation) = member(key) else { continue };
        let pointer = format!("{pointer}/{key}");
        let operation = object(Some(operation), &pointer)?;
        if let Some(parameters) = operation.get("parameters") {
            check_parameters(references, parameters, &format!("{pointer}/parameters"))?;
        }
        imported.deprecated += usize::from(operation.get("deprecated") == Some(&Value::Bool(true)));
        imported.operations.push(OperationSpec {
            method,
            path: path.to_owned(),
            id: text(operation, "operationId", &pointer)?,
            scopes: Vec::new(),
            policies: Vec::new(),
            timeout: None,
            open: false,
        });
    }
    Ok(())
}

/// Parameters are not enforced, but a document whose parameters cannot be read is not to be trusted.
fn check_parameters<'a>(
    references: &References<'a>,
    parameters: &'a Value,
    pointer: &str,
) -> Result<(), ImportError> {
    let parameters =
        parameters.as_array().ok_or_else(|| ImportError::invalid(pointer, "must be an array"))?;
    for (index, parameter) in parameters.iter().enumerate() {
        let pointer = format!("{pointer}/{index}");
        let parameter = object(Some(references.resolve(parameter, &pointer)?), &pointer)?;
        for required in ["name", "in"] {
            if text(parameter, required, &pointer)?.is_none() {
                return Err(ImportError::invalid(format!("{pointer}/{required}"), "is required"));
            }
        }
    }
    Ok(())
}

fn check_template(path: &str, pointer: &str) -> Result<(), ImportError> {
    let invalid = |why: &str| Err(ImportError::invalid(pointer, why));
    if !path.starts_with('/') {
        return invalid("a path must start with \"/\"");
    }
    if path.contains(['?', '#']) {
        return invalid("a path must have no query and no fragment");
    }
    if path.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return invalid("a path must have no blanks");
    }
    let mut open = false;
    for c in path.chars() {
        match c {
            '{' if open => return invalid("\"{\" inside a parameter"),
            '{' => open = true,
            '}' if !open => return invalid("\"}\" without \"{\""),
            '}' => open = false,
            '/' if open => return invalid("a parameter must not span segments"),
            _ => {}
        }
    }
    if open { invalid("\"{\" without \"}\"") } else { Ok(()) }
}

fn object<'a>(value: Option<&'a Value>, pointer: &str) -> Result<&'a Map<String, Value>, ImportError> {
    match value {
        Some(Value::Object(members)) => Ok(members),
        Some(_) => Err(ImportError::invalid(pointer, "must be an object")),
        None => Err(ImportError::invalid(pointer, "is required")),
    }
}

/// A member that is text.
fn text(members: &Map<String, Value>, key: &str, pointer: &str) -> Result<Option<String>, ImportError> {
    match members.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(ImportError::invalid(format!("{pointer}/{key}"), "must be a string")),
    }
}
