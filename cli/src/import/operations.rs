//! The operations of a description.

use std::collections::BTreeSet;

use hanse_management::{
    check_operation,
    kinds::{Method, OperationSpec},
};
use serde::{
    Deserialize as _,
    de::{IntoDeserializer, value},
};

use super::{ImportProblem, files::Place};

/// The members of a path item that are operations (OpenAPI 3.1, section 4.8.9).
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// What a description offers, and every part of it that cannot be imported.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) operations: Vec<Operation>,
    pub(super) problems: Vec<ImportProblem>,
    /// How many operations, or path items that cannot be read, have problems.
    pub(super) unusable: usize,
}

/// An operation that can be imported.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) spec: OperationSpec,
    pub(super) place: String,
    pub(super) deprecated: bool,
}

/// Reads the operations of a document, all of them, whatever is wrong with some.
pub(super) fn operations(document: &Place) -> Offer {
    let mut offer = Offer { operations: Vec::new(), problems: Vec::new(), unusable: 0 };
    let paths = document.below("paths");
    match paths.members() {
        Err(problem) => offer.problems.push(problem),
        Ok(items) => {
            for (path, item) in items.filter(|(path, _)| !path.starts_with("x-")) {
                if let Err(problem) = offer.read_item(path, &item) {
                    offer.refuse(path, vec![problem]);
                }
            }
        }
    }
    if offer.operations.is_empty() && offer.problems.is_empty() {
        let problem = ImportProblem::new(&paths, "the document offers nothing to call", "add an operation");
        offer.problems.push(problem);
    }
    offer
}

impl Offer {
    /// A path item may refer to another and say more beside it: what it says itself wins.
    fn read_item(&mut self, path: &str, item: &Place) -> Result<(), ImportProblem> {
        let mut taken: BTreeSet<String> = BTreeSet::new();
        for layer in item.clone().follow()? {
            let operations: Vec<_> =
                layer.members()?.filter(|(key, _)| METHODS.contains(key) && !taken.contains(*key)).collect();
            for (key, place) in &operations {
                self.read_operation(&key.to_ascii_uppercase(), path, item, place);
            }
            taken.extend(operations.into_iter().map(|(key, _)| key.to_owned()));
        }
        Ok(())
    }

    fn read_operation(&mut self, method: &str, path: &str, item: &Place, place: &Place) {
        match operation(method, path, item, place) {
            Ok(operation) => self.operations.push(operation),
            Err(problems) => self.refuse(&format!("{method} {path}"), problems),
        }
    }

    fn refuse(&mut self, operation: &str, problems: Vec<ImportProblem>) {
        self.unusable += 1;
        self.problems.extend(problems.into_iter().map(|problem| problem.of(operation)));
    }
}

/// One operation, or everything that is wrong with it.
fn operation(method: &str, path: &str, item: &Place, place: &Place) -> Result<Operation, Vec<ImportProblem>> {
    drop(place.members().map_err(|problem| vec![problem])?);
    let id = place.below("operationId");
    let mut problems = Vec::new();
    let spec = OperationSpec {
        method: method_of(method).ok_or_else(|| {
            let why = format!("gateways know no method {method}");
            vec![ImportProblem::new(place, why, "call it with another method")]
        })?,
        path: path.to_owned(),
        id: id
            .text()
            .unwrap_or_else(|problem| {
                problems.push(problem);
                None
            })
            .map(str::to_owned),
        scopes: Vec::new(),
        policies: Vec::new(),
        timeout: None,
        open: false,
    };
    problems.extend(check_operation(&spec).into_iter().map(|problem| {
        let at = match problem.field.as_str() {
            "spec.path" => item,
            "spec.id" => &id,
            _ => place,
        };
        ImportProblem::new(at, problem.detail, problem.remedy)
    }));
    if !problems.is_empty() {
        return Err(problems);
    }
    let deprecated = place.below("deprecated").value().as_bool() == Some(true);
    Ok(Operation { spec, place: place.to_string(), deprecated })
}

/// The method of that name, if gateways know it.
fn method_of(name: &str) -> Option<Method> {
    Method::deserialize(IntoDeserializer::<value::Error>::into_deserializer(name)).ok()
}
